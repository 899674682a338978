"""The worker whose threads do not wait: one thread is enough for many who do, and none of them stops the others.

The test holds the lock of the event, so that orders wait for exactly as long as it wants.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests

from service.flock import flock
from tests.connections import BODY, BUY, CLIENTS, HEAD, Client, clients, held, look, service
from tests.later_program import UNSAYABLE
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path

LARGE_BODY = json.dumps({"quantity": 100, "buyer": "b" * 100}).encode()
LARGE = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(LARGE_BODY), LARGE_BODY)
LAZY = 6000
"""Several times as many replies as the kernel keeps for a connection."""
STUCK = 20
"""One that was not served for so many orders of another waits for itself."""


def test_one_thread_serves_all_who_wait_and_those_who_only_look(tmp_path: Path) -> None:
    """Twenty orders wait for the lock, and a look is answered meanwhile; then all are sold, each with its own reply."""
    with service(tmp_path) as started, ExitStack() as stack:
        crowd = clients(stack, started.url)
        with held(tmp_path):
            for each in crowd:
                each.send()
            for _ in range(3):
                assert look(started.url)["version"] == 0
        replies = [each.reply() for each in crowd]
        assert {status for status, _, _ in replies} == {201}
        assert sorted(body["tickets"] for _, _, body in replies) == [[number] for number in range(1, CLIENTS + 1)]  # type: ignore[type-var]
        assert all(headers["Turnstile-Worker"].isdigit() for _, headers, _ in replies)
        assert all(headers["Location"] == f"/orders/{body['order']}" for _, headers, body in replies)
        for each in crowd:  # and the connections are as good as before
            each.send()
            assert each.reply()[0] == 201


def test_who_waits_past_the_deadline_is_told_and_nothing_was_done(tmp_path: Path) -> None:
    """503 for all, though the thread that waits for the lock cannot be woken; the next order is sold."""
    with service(tmp_path, wait_s=0.2) as started, ExitStack() as stack:
        crowd = clients(stack, started.url)
        with held(tmp_path):
            began = time.monotonic()
            for each in crowd:
                each.send()
            replies = [each.reply() for each in crowd]
            assert time.monotonic() - began >= 0.2
        assert {(status, headers["Retry-After"], body["type"]) for status, headers, body in replies} == {
            (503, "1", "urn:turnstile:problem:busy")
        }
        told: list[tuple[int, dict[str, object]]] = []

        def is_served() -> bool:
            crowd[0].send()
            status, _, body = crowd[0].reply()
            told.append((status, body))
            return status != 503

        until(is_served)  # its patience is so short that a busy machine may come to it too late
        status, body = told[-1]
        assert (status, body["version"], body["tickets"]) == (201, 1, [1])


def test_a_refusal_comes_later_too(tmp_path: Path) -> None:
    """409 with its count, and 404 for an event that does not exist, as from any other worker."""
    (tmp_path / "data").mkdir()
    with service(tmp_path) as started, Client(started.url) as client, held(tmp_path):
        client.send(BUY.replace(b"/buy", b"/events/nothing/buy"))
        assert client.reply()[0] == 404
    (tmp_path / "data" / "small.json").write_text('{"count": 0}')
    with service(tmp_path) as started, Client(started.url) as client:
        with flock(tmp_path / "data" / "small.flock", wait=True):
            client.send(BUY.replace(b"/buy", b"/events/small/buy"))
            assert look(started.url)["version"] == 0
        status, headers, body = client.reply()
        assert (status, body["count"], headers["Content-Type"]) == (409, 0, "application/problem+json")


def test_who_hangs_up_while_waiting_stops_nobody(tmp_path: Path) -> None:
    """Its order is placed, for nobody can know that it is not wanted; the others are answered."""
    with service(tmp_path) as started, ExitStack() as stack:
        crowd = clients(stack, started.url)
        with held(tmp_path):
            for each in crowd:
                each.send()
            for each in crowd[::2]:
                each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
                each.socket.close()
            look(started.url)
        assert {each.reply()[0] for each in crowd[1::2]} == {201}
        until(lambda: look(started.url)["version"] == CLIENTS)


@pytest.mark.parametrize("mode", ["group_commit", "later"])
def test_who_does_not_read_its_replies_holds_up_only_itself(tmp_path: Path, mode: str) -> None:
    """It asks thousands of times and reads nothing, until there is no more room for its replies: in the thread that
    asked, or, later, in the one that sends for all. Others buy meanwhile. When it reads at last, no reply is missing,
    cut, or mixed with another.
    """
    with service(tmp_path, mode, threads=2) as started, ExitStack() as stack:
        lazy = stack.enter_context(Client(started.url, receive_bytes=4096))
        other = stack.enter_context(Client(started.url))
        lazy.send(LARGE * LAZY)
        others, without_it = 0, [0]  # how many orders were not the other's, each time that it bought
        while len(set(without_it[-STUCK:])) > 1 or len(without_it) < STUCK:
            other.send()
            status, _, body = other.reply()
            assert status == 201
            others += 1
            without_it.append(int(str(body["version"])) - others)
            time.sleep(0.01)
        assert without_it[-1] < LAZY
        replies = [lazy.reply() for _ in range(LAZY)]
        assert {status for status, _, _ in replies} == {201}
        assert len({body["version"] for _, _, body in replies}) == LAZY


@pytest.mark.parametrize("ends", [b"Connection: close\r\n", b""])
def test_a_connection_is_kept_or_closed_as_it_was_asked(tmp_path: Path, ends: bytes) -> None:
    """Also when the reply comes later; a body in chunks is read to its end before."""
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    with service(tmp_path) as started, Client(started.url) as client:
        with held(tmp_path):
            client.send(HEAD + ends + chunks)
            look(started.url)
        status, headers, _ = client.reply()
        assert (status, headers["Connection"]) == (201, "close" if ends else "keep-alive")
        if ends:
            assert client.ended()
        else:
            client.send()
            assert client.reply()[0] == 201


@pytest.mark.parametrize("released", [True, False])
def test_a_stopping_service_answers_those_who_wait(tmp_path: Path, *, released: bool) -> None:
    """SIGTERM while they wait: they get what they waited for, or are told that nothing was done; then it ends."""
    with service(tmp_path, wait_s=PATIENCE_S if released else 1.0) as started, ExitStack() as stack:
        crowd = clients(stack, started.url)
        with held(tmp_path):
            for each in crowd:
                each.send()
            assert look(started.url)["version"] == 0
            started.process.send_signal(signal.SIGTERM)
            if not released:
                assert {each.reply()[0] for each in crowd} == {503}
        if released:
            assert {each.reply()[0] for each in crowd} == {201}
        assert started.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("mode", ["group_commit", "single_writer", "ticket_lock", "later"])
def test_a_thousand_orders_through_one_thread(tmp_path: Path, mode: str) -> None:
    """Fifty connections take turns in bursts: versions without a gap, each order told to the one who asked."""
    with service(tmp_path, mode, trace=tmp_path) as started, ExitStack() as stack:
        crowd = clients(stack, started.url, 50)
        versions = []
        for _ in range(20):
            for each in crowd:
                each.send()
            replies = [each.reply() for each in crowd]
            assert {status for status, _, _ in replies} == {201}
            versions += [body["version"] for _, _, body in replies]
        assert sorted(versions) == list(range(1, 1001))  # type: ignore[type-var]
    noted = [json.loads(line) for path in tmp_path.glob("trace-*.jsonl") for line in path.read_text().splitlines()]
    assert len({each["order"] for each in noted}) == len(noted) == 1000
    assert all(each["asked"] <= each["entered"] <= each["left"] for each in noted)


def test_a_reply_that_cannot_be_made_ends_its_connection_alone(tmp_path: Path) -> None:
    """The thread that sends for all goes on: one hears that nobody knows, those before and behind are sold to."""
    body = json.dumps({"quantity": 1, "buyer": UNSAYABLE}).encode()
    with service(tmp_path, "later") as started, ExitStack() as stack:
        crowd = clients(stack, started.url, 3)
        crowd[0].send()
        crowd[1].send(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        crowd[2].send()
        assert [each.reply()[0] for each in crowd] == [201, 500, 201]
        assert crowd[1].ended()
        crowd[2].send()
        assert crowd[2].reply()[2]["version"] == 3


def test_a_killed_worker_takes_those_who_wait_with_it(tmp_path: Path) -> None:
    """Their connections end without a reply, which is no promise; the next worker sells."""
    with service(tmp_path) as started, ExitStack() as stack:
        crowd = clients(stack, started.url)
        worker = int(requests.get(f"{started.url}/tickets", timeout=PATIENCE_S).headers["Turnstile-Worker"])
        with held(tmp_path):
            for each in crowd:
                each.send()
            look(started.url)
            os.kill(worker, signal.SIGKILL)
            for each in crowd:
                with pytest.raises((IndexError, ConnectionError)):
                    each.reply()
        with Client(started.url) as client:
            client.send()
            assert client.reply()[2]["version"] == 1
