"""More than can be served: who is refused hears it at once, and nothing is lost, promised falsely, or kept for ever.

No test here goes by the clock, but that nothing comes sooner than it may.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from service import outgoing
from service.admission import AGAIN_S
from service.arrivals import CHECKS_MAX
from service.outgoing import KEPT_BYTES_MAX, Outgoing
from tests.connections import BODY, BUY, HEAD, Client, clients, held, look, service, settled
from tests.metrics import total
from tests.narrow_program import CONNECTIONS_MAX
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from loadtest.serve import Service

STORM, TURNS = 150, 4
"""So many connections ask so many times each, without a pause."""
MEMORY_FACTOR, MEMORY_MORE_KB = 2, 32 << 10
CHECKS = (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
UNREAD_BYTES, ASKED_MAX = 8 << 20, 2000
"""More than is kept of what was sent on a connection and is not read, and as often as anybody asks for that."""
HALF = HEAD + b"Content-Length: 1000\r\n\r\n" + BODY
BOTH = HEAD + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(BUY) + BUY
"""A purchase that only one of two framings sees."""


def full(stack: ExitStack, url: str) -> list[Client]:
    """Have one order in the worker's hand and two that wait, which is all that may; return who sent them."""
    crowd = clients(stack, url, 3)
    for each in crowd:
        each.send()
    until(lambda: "count" not in look(url))
    return crowd


def test_who_comes_back_too_soon_is_not_answered_before_it_was_told_to_come(tmp_path: Path) -> None:
    """A refusal costs something too: one a second is all that a connection gets, however often it asks."""
    with service(tmp_path, waiting_max=2) as started, ExitStack() as stack:
        with held(tmp_path):
            inside = full(stack, started.url)
            began = time.monotonic()
            hasty = stack.enter_context(Client(started.url))
            hasty.send(BUY * 3)
            told = [hasty.reply() for _ in range(3)]
            assert time.monotonic() - began >= 2 * AGAIN_S
        assert [(status, headers["Retry-After"]) for status, headers, _ in told] == [(503, f"{AGAIN_S:g}")] * 3
        assert [each.reply()[0] for each in inside] == [201] * 3
        hasty.send()  # and as soon as there is room, it is not kept waiting
        assert hasty.reply()[0] == 201
        assert look(started.url)["version"] == 4


def test_who_came_back_too_soon_is_served_when_the_others_have_been(tmp_path: Path) -> None:
    """Or is told that nothing was done, when it has ended its side meanwhile."""
    with service(tmp_path, waiting_max=2) as started, ExitStack() as stack:
        with held(tmp_path):
            inside = full(stack, started.url)
            early = clients(stack, started.url, 6)
            for each in early:
                each.send(BUY + BUY)
                assert each.reply()[0] == 503
            for each in early[:3]:
                each.socket.shutdown(socket.SHUT_WR)
        assert [each.reply()[0] for each in inside] == [201] * 3
        statuses = Counter(each.reply()[0] for each in early)
        assert set(statuses) <= {201, 503}
        assert settled(started.url) == 3 + statuses[201]


@pytest.mark.parametrize("mode", ["group_commit", "file_lock"])
def test_health_is_told_however_many_wait(tmp_path: Path, mode: str) -> None:
    """The only thread waits, and so do all who may: both checks are answered, on connections old and new."""
    with service(tmp_path, mode, waiting_max=2) as started, ExitStack() as stack:
        kept = stack.enter_context(Client(started.url))
        with held(tmp_path):
            full(stack, started.url)
            for each in (kept, *clients(stack, started.url, 2)):
                for check in CHECKS:
                    each.send(check)
                    assert each.reply()[0] == 200
            kept.send()
            assert kept.reply()[0] == 503


def test_who_asks_for_many_checks_at_once_does_not_keep_the_worker_at_it(tmp_path: Path) -> None:
    """More connections than checks may wait, hundreds of checks on each: whoever else buys is served meanwhile."""
    with service(tmp_path) as started, ExitStack() as stack:
        many = clients(stack, started.url, CHECKS_MAX + 8)
        for each in many:
            each.send(CHECKS[0] * 300)
        buyer = stack.enter_context(Client(started.url))
        buyer.send()
        assert buyer.reply()[0] == 201
        worker = requests.get(f"{started.url}/tickets", timeout=PATIENCE_S).headers["Turnstile-Worker"]
        for each in many:
            assert each.reply()[0] in {200, 503}
        assert requests.get(f"{started.url}/tickets", timeout=PATIENCE_S).headers["Turnstile-Worker"] == worker


def test_to_be_alive_is_not_to_be_ready(tmp_path: Path) -> None:
    """While one check waits to hear whether the lock can be had, the other is answered."""
    with service(tmp_path) as started, Client(started.url) as ready, Client(started.url) as alive, held(tmp_path):

        def overtakes() -> bool:
            ready.send(CHECKS[1])
            look(started.url)  # it has come
            alive.send(CHECKS[0])
            assert alive.reply()[0] == 200
            waits = not select.select([ready.socket], [], [], 0)[0]
            ready.reply()
            return waits

        until(overtakes)


@pytest.mark.parametrize("asked", ["/openapi.json", "/events?limit=1000", "/healthz"])
def test_who_reads_nothing_keeps_no_thread(tmp_path: Path, asked: str) -> None:
    """They ask for a reply again and again, more of it than the kernel keeps, and there is one thread, which sees to
    all in turn: it never waits until one of them must have read, and is there for each who buys. When they read, no
    reply is cut.
    """
    (tmp_path / "data").mkdir()
    for number in range(1000 if "events" in asked else 0):
        (tmp_path / "data" / f"{number:064}.json").write_text('{"count": 1000000}')
    with service(tmp_path) as started, ExitStack() as stack:
        sent = requests.get(f"{started.url}{asked}", timeout=PATIENCE_S).content
        times = min(UNREAD_BYTES // len(sent), ASKED_MAX)
        slow = [stack.enter_context(Client(started.url, 2048)) for _ in range(3)]
        for each in slow:
            each.send(f"GET {asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * times)
        for _ in range(30):
            with Client(started.url) as buyer:
                buyer.send()
                assert buyer.reply()[0] == 201
        for _ in range(times):
            status, _, body = slow[0].reply()
            assert (status, body) == (200, json.loads(sent))
        assert "Traceback" not in (tmp_path / "service.log").read_text()


def test_a_reply_that_is_made_while_it_is_sent_waits_for_its_client() -> None:
    """What is kept of it has a bound, and all of it comes."""
    ours, theirs = socket.socketpair()
    with Outgoing(ours) as client, theirs:
        part = bytes(range(256)) * 1024

        def stream() -> None:
            for _ in range(64):
                client.sendall(part)

        streaming = Thread(target=stream)
        streaming.start()
        until(lambda: len(client.unsent) > KEPT_BYTES_MAX)
        read = bytearray()
        while len(read) < 64 * len(part):
            if not streaming.is_alive():  # then it is the main thread's to send
                client.send_more()
            assert len(client.unsent) <= KEPT_BYTES_MAX + len(part)
            if select.select([theirs], [], [], 0.01)[0]:
                read += theirs.recv(1 << 16)
        streaming.join()
        assert read == part * 64


def test_who_reads_nothing_of_it_for_long_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept for it any more."""
    monkeypatch.setattr(outgoing, "STALL_S", 0.01)
    ours, theirs = socket.socketpair()
    with Outgoing(ours) as client, theirs:
        with pytest.raises(ConnectionResetError):
            client.sendall(bytes(8 * KEPT_BYTES_MAX))
        assert client.send_more()


def test_what_is_refused_unread_hides_no_purchase(tmp_path: Path) -> None:
    """Two framings, a client that wants to close, or HEAD: the connection ends, and what is behind is not looked at."""
    odd = [BOTH, HEAD + b"Content-Length : %d\r\n\r\n" % len(BUY) + BUY, b"nonsense\r\n\r\n" + BUY]
    odd += [BUY.replace(b"Host: x", b"Host: x\r\nConnection: close") + BUY, BUY.replace(b"HTTP/1.1", b"HTTP/1.0") + BUY]
    odd += [b"HEAD /mode HTTP/1.1\r\nHost: x\r\n\r\n" + BUY]
    with service(tmp_path, waiting_max=2) as started, ExitStack() as stack:
        crowd = clients(stack, started.url, len(odd))
        with held(tmp_path):
            inside = full(stack, started.url)
            for each, sent in zip(crowd, odd, strict=True):
                each.send(sent)
                status, headers, _ = each.reply()
                assert (status, headers["Connection"]) == (503, "close")
                assert each.ended()
        assert [each.reply()[0] for each in inside] == [201] * 3
        assert settled(started.url) == 3


@pytest.mark.parametrize(
    ("sent", "refused"),
    [(HEAD, True), (HEAD + b"Content-Length: 1000\r\n\r\n" + BODY, True), (b"", False), (CHECKS[0], False)],
    ids=["head", "body", "none", "served"],
)
def test_who_opens_all_connections_there_are_locks_nobody_out(tmp_path: Path, sent: bytes, *, refused: bool) -> None:
    """Three times as many as a worker may have, none of which is ever done: purchases go on, and who had to make room
    for others is told that nothing was done, if it had said anything. Who was served and is idle was refused nothing.
    """
    with service(tmp_path, "narrow", waiting_max=1) as started, ExitStack() as stack:
        slow = []
        for number in range(3 * CONNECTIONS_MAX):
            slow.append(stack.enter_context(Client(started.url)))
            slow[-1].send(sent)
            assert refused or not sent or slow[-1].reply()[0] == 200
            if number % 10 == 0:
                with Client(started.url) as buyer:
                    buyer.send()
                    assert buyer.reply()[0] == 201
        sockets = [each.socket for each in slow]
        until(lambda: len(select.select(sockets, [], [], 0)[0]) >= len(slow) - CONNECTIONS_MAX)
        had_to_go = [each for each in slow if each.socket in select.select(sockets, [], [], 0)[0]]
        for each in had_to_go:
            assert not refused or each.reply()[0] == 408
            assert each.ended() or not refused
        until(lambda: total(started.url, "turnstile_requests_total", status="201") == 3 * CONNECTIONS_MAX / 10)
        counted = total(started.url, "turnstile_refusals_total", reason="bad-request")
        assert counted >= len(had_to_go) if refused else counted == 0


@pytest.mark.parametrize("mode", ["group_commit", "file_lock"])
def test_a_storm_is_refused_and_leaves_nothing_behind(tmp_path: Path, mode: str) -> None:
    """Many more than may wait ask again and again. Each hears that it was sold to or that nothing was done; as many
    are sold as were told so; checks are answered; memory is bounded; and afterwards all is as before.
    """
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text('{"count": 1000000}')
    flags = {
        "mode": mode,
        "workers": 2,
        "threads": 2,
        "waiting_max": 4,
        "wait_s": PATIENCE_S,
        "data": tmp_path / "data",
    }
    with serve.service(tmp_path, flags) as started:
        for _ in range(20):
            requests.post(f"{started.url}/buy", json={"quantity": 1}, timeout=PATIENCE_S).raise_for_status()
        before = memory_kb(started)
        free, over = Event(), Event()
        checks: list[int] = []
        watching = Thread(target=check, args=(started.url, free, over, checks))
        watching.start()
        statuses = storm(started.url, tmp_path, free)
        over.set()
        watching.join()
        assert set(statuses) == {201, 503}
        assert statuses.total() == STORM * TURNS
        assert len(checks) >= 2
        assert set(checks) == {200}
        after = memory_kb(started)
        assert set(after) == set(before)
        assert all(after[each] < MEMORY_FACTOR * before[each] + MEMORY_MORE_KB for each in before)
        assert look(started.url)["version"] == 20 + statuses[201]
        assert requests.post(f"{started.url}/buy", json={"quantity": 1}, timeout=PATIENCE_S).status_code == 201


def storm(url: str, place: Path, free: Event) -> Counter[int]:
    """Have connections ask without a pause, every third of them anew each time; return how often each status came.

    The first time nobody is sold to until somebody has been refused; then the lock is ``free``.
    """
    statuses: Counter[int] = Counter()
    with ExitStack() as stack:
        crowd = clients(stack, url, STORM)
        for turn in range(TURNS):
            with nullcontext() if turn else held(place):
                for each in crowd:
                    each.send()
                until(lambda: any(select.select([each.socket for each in crowd], [], [], 0)))
            free.set()
            for number, each in enumerate(crowd):
                status, headers, body = each.reply()
                statuses[status] += 1
                assert status == 201 or (headers["Retry-After"], body["status"]) == ("1", 503)
                if number % 3 == turn % 3:
                    crowd[number] = stack.enter_context(Client(url))
    return statuses


def check(url: str, free: Event, over: Event, statuses: list[int]) -> None:
    """Ask for both checks in turn until it is over. While the test has the lock, the service may well not be ready."""
    free.wait(PATIENCE_S)
    while not (statuses and over.is_set()):
        statuses += [requests.get(f"{url}/{each}", timeout=PATIENCE_S).status_code for each in ("healthz", "readyz")]


def memory_kb(started: Service) -> dict[int, int]:
    """Return what each process of a service has in memory."""
    group = os.getpgid(started.process.pid)
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        if path.exists() and int(path.read_text().rpartition(")")[2].split()[2]) == group:
            status = (path.parent / "status").read_text()
            found[int(path.parent.name)] = int(status.partition("VmRSS:")[2].split()[0])
    return found
