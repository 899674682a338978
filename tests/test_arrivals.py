"""What arrives at a worker: slow clients, too many at once, and what is no request at all."""

from __future__ import annotations

import resource
import select
import signal
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import requests

from service.arrivals import Arrivals
from service.outgoing import KEPT_BYTES_MAX, Outgoing
from tests.connections import BODY, BUY, HEAD, Client, clients, held, look, service, settled
from tests.waiting import PATIENCE_S, until

CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKS + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
MODE = b"GET /mode HTTP/1.1\r\nHost: x\r\n\r\n"
"""What is answered without opening a file."""


def worker_of(url: str) -> int:
    """Return the process of the only worker."""
    return int(requests.get(f"{url}/tickets", timeout=PATIENCE_S).headers["Turnstile-Worker"])


@pytest.mark.parametrize("cut", [1, len(HEAD), len(BUY) - 1])
def test_who_sends_slowly_keeps_no_thread(tmp_path: Path, cut: int) -> None:
    """Twenty who have sent half a request, and one thread: others are served; when the rest comes, they are too."""
    with service(tmp_path) as started, ExitStack() as stack:
        slow = clients(stack, started.url)
        for each in slow:
            each.send(BUY[:cut])
        with Client(started.url) as quick:
            for _ in range(3):
                quick.send()
                assert quick.reply()[0] == 201
        for each in slow:
            each.send(BUY[cut:])
        assert {each.reply()[0] for each in slow} == {201}
        for each in slow:  # also on a connection that is kept
            each.send(BUY[:cut])
        assert look(started.url)["version"] == 3 + len(slow)
        for each in slow:
            each.send(BUY[cut:])
        assert {each.reply()[0] for each in slow} == {201}


def test_who_never_comes_to_an_end_is_cut_off(tmp_path: Path) -> None:
    """It is told that nothing was done, and the connection is closed."""
    with service(tmp_path, "hasty") as started, ExitStack() as stack:
        slow = clients(stack, started.url, 3)
        for each in slow:
            each.send(BUY[:10])
        assert {each.reply()[0] for each in slow} == {408}
        assert all(each.ended() for each in slow)
        assert look(started.url)["version"] == 0


def test_who_hangs_up_in_the_middle_is_forgotten(tmp_path: Path) -> None:
    """Half a request and the end of the connection."""
    with service(tmp_path) as started:
        for _ in range(30):
            with Client(started.url) as client:
                client.send(BUY[:40])
        assert look(started.url)["version"] == 0


def test_one_too_many_is_told_so_at_the_door(tmp_path: Path) -> None:
    """One thread and two who may wait: three are inside, and all others hear at once that nothing was done."""
    with service(tmp_path, waiting_max=2) as started, ExitStack() as stack:
        crowd = clients(stack, started.url, 10)
        with held(tmp_path):
            for each in crowd:
                each.send()
            sockets = [each.socket for each in crowd]
            until(lambda: len(select.select(sockets, [], [], 0)[0]) == len(crowd) - 3)
            refused = [each for each in crowd if each.socket in select.select(sockets, [], [], 0)[0]]
            told = [each.reply() for each in refused]
        assert len(told) == 7
        for status, headers, body in told:
            assert (status, headers["Connection"], headers["Retry-After"]) == (503, "keep-alive", "1")
            assert body["type"] == "urn:turnstile:problem:busy"
        until(lambda: look(started.url).get("version") == 3)
        assert settled(started.url) == 3
        assert [each.reply()[0] for each in crowd if each not in refused] == [201] * 3
        for each in refused:
            each.send()
            assert each.reply()[0] == 201


def test_who_does_not_hang_up_stops_nobody(tmp_path: Path) -> None:
    """Thirty who asked for the connection to be closed, and keep their end open: the next one need not wait."""
    closing = BUY.replace(b"Host: x", b"Host: x\r\nConnection: close")
    with service(tmp_path) as started, ExitStack() as stack:
        for each in clients(stack, started.url, 30):
            each.send(closing)
            assert each.reply()[0] == 201
        assert look(started.url)["version"] == 30


@pytest.mark.parametrize(
    ("request_bytes", "status", "word"),
    [
        (b"nonsense\r\n\r\n", 400, "no well-formed HTTP"),
        (b"GET /tickets HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400, "no well-formed HTTP"),
        (BUY.replace(b"Host: x\r\n", b""), 400, "no header field Host"),
        (BUY.replace(b"Host: x", b"Host: x\r\nhost: y"), 400, "no well-formed HTTP"),
        (BUY.replace(b"Host: x", b"Host: x\r\nIdempotency-Key: a\r\nidempotency-key: a"), 400, "Key stands more than"),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "longer than is allowed"),
        (b"GET /tickets HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 5000 + b"\r\n\r\n", 431, "header fields"),
        (b"GET /tickets HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431, "header fields"),
    ],
)
def test_what_is_no_request_is_a_problem_too(tmp_path: Path, request_bytes: bytes, status: int, word: str) -> None:
    """Not a page of HTML, and the connection ends."""
    with service(tmp_path) as started, Client(started.url) as client:
        client.send(request_bytes)
        told, headers, body = client.reply()
        assert (told, headers["Content-Type"], headers["Connection"]) == (status, "application/problem+json", "close")
        assert word in str(body["detail"])
        assert client.ended()
        assert look(started.url)["version"] == 0


def test_who_speaks_the_older_http_needs_no_host(tmp_path: Path) -> None:
    """HTTP/1.0 does not ask for one."""
    with service(tmp_path) as started, Client(started.url) as client:
        client.send(BUY.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x\r\n", b""))
        assert client.reply()[0] == 201


def test_what_was_closed_while_a_reply_was_made_is_over() -> None:
    """A connection on which a reply cannot be ended is closed by gunicorn: nothing more is waited for there."""
    ours, theirs = socket.socketpair()
    told: list[bool] = []
    with theirs:
        client = Outgoing(ours)
        client.sendall(bytes(KEPT_BYTES_MAX))
        client.close()
    door = SimpleNamespace(leaves=lambda: None)
    worker: Any = SimpleNamespace(_checked=set(), _inside=set(), door=door, _over=lambda _, keep: told.append(keep))
    task: Future[object] = Future()
    task.set_result(False)
    Arrivals.finish_request(worker, Mock(sock=client), task)
    assert told == [False]


def test_ctrl_c_ends_a_worker_whatever_it_was_at() -> None:
    """Two signals, the second in the midst of the first, while the main thread was giving a request to the pool."""
    with ThreadPoolExecutor(1) as pool:
        worker = Arrivals.__new__(Arrivals)
        worker._quits, worker.tpool = False, pool  # noqa: SLF001  # as its constructor has it
        worker.cfg = SimpleNamespace(worker_int=lambda _: worker.handle_quit(signal.SIGQUIT, None))
        with pool._shutdown_lock, pytest.raises(SystemExit):  # noqa: SLF001  # as ``submit`` does
            worker.handle_quit(signal.SIGINT, None)


@pytest.mark.parametrize(
    ("before", "rest", "status"),
    [
        (BUY[:40], BUY[40:], 201),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY, 201),
        (CHUNKS + b"5\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", 422),
        (CHUNKED[:-2], CHUNKED[-2:], 201),
    ],
    ids=["a half", "one that wants to be asked", "data that looks like the end", "no empty line after the last chunk"],
)
def test_what_is_behind_a_request_keeps_no_thread_either(
    tmp_path: Path, before: bytes, rest: bytes, status: int
) -> None:
    """Sent in one piece with the request before: that one is answered, others are served, then this one is."""
    with service(tmp_path) as started, ExitStack() as stack:
        slow = clients(stack, started.url)
        for each in slow:
            each.send(BUY + before)
        assert {each.reply()[0] for each in slow} == {201}
        assert look(started.url)["version"] == len(slow)
        for each in slow:
            each.send(rest)
        answers = [each.reply() for each in slow]
        if b"Expect" in before:
            assert {answer[0] for answer in answers} == {100}
            answers = [each.reply() for each in slow]
        assert {answer[0] for answer in answers} == {status}


def test_a_body_in_chunks_may_have_all_that_belongs_to_chunks(tmp_path: Path) -> None:
    """Extensions, trailers, and another request right behind."""
    chunks = CHUNKS + b"5;name=value\r\n%s\r\n%x\r\n%s\r\n0;last\r\nDigest: x\r\n\r\n" % (
        BODY[:5],
        len(BODY) - 5,
        BODY[5:],
    )
    with service(tmp_path) as started, Client(started.url) as client:
        client.send(chunks + BUY + chunks)
        assert [client.reply()[2]["tickets"] for _ in range(3)] == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"Content-Length: 5000\r\n\r\n", 413),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999999999999\r\n\r\n", 413),
        (CHUNKS + b"fffff\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000, 431),
    ],
)
def test_what_is_too_large_anyway_is_refused_before_it_has_come(tmp_path: Path, sent: bytes, status: int) -> None:
    """Twenty at once, and one thread: told so in the same words as ever, and the others need not wait."""
    with service(tmp_path) as started, ExitStack() as stack:
        large = clients(stack, started.url)
        for each in large:
            each.send(sent)
        assert look(started.url)["version"] == 0
        told = [each.reply() for each in large]
        assert {(code, body["status"], headers["Connection"]) for code, headers, body in told} == {
            (status, status, "close")
        }
        assert all(each.ended() for each in large)


def test_who_has_said_all_may_say_so(tmp_path: Path) -> None:
    """It ends its side of the connection and waits for the reply."""
    with service(tmp_path) as started, Client(started.url) as client:
        client.send()
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply()[0] == 201
        assert client.ended()


def test_who_waits_too_long_for_a_thread_is_told_that_nothing_was_done(tmp_path: Path) -> None:
    """One thread, which thinks over each order: those whose turn comes too late hear 503, and were not sold to."""
    with service(tmp_path, "no_lock", think_s=0.4, wait_s=0) as started, ExitStack() as stack:
        crowd = clients(stack, started.url, 10)
        for each in crowd:
            each.send()
        statuses = [each.reply()[0] for each in crowd]
        assert set(statuses) == {201, 503}
        assert look(started.url)["version"] == statuses.count(201)


def test_who_waits_too_long_for_a_thread_is_told_while_there_is_none(tmp_path: Path) -> None:
    """The only thread thinks for long: who waits behind hears that nothing was done before that one hears anything."""
    with service(tmp_path, "no_lock", think_s=5, wait_s=0) as started, ExitStack() as stack:
        first, second = clients(stack, started.url, 2)
        first.send()
        second.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.reply()[0] == 200  # so the first has come
        second.send()
        assert second.reply()[0] == 503
        assert not select.select([first.socket], [], [], 0)[0]
        assert first.reply()[0] == 201
        assert look(started.url)["version"] == 1


def test_a_worker_without_room_for_one_more_connection_goes_on(tmp_path: Path) -> None:
    """As many files as it may have are open: it serves those it has, and takes the others when one has left."""
    with service(tmp_path) as started, ExitStack() as stack:
        worker = worker_of(started.url)
        files = len(list(Path(f"/proc/{worker}/fd").iterdir()))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (files + 4, files + 4))
        crowd = clients(stack, started.url, 12)
        until(lambda: "no connection can be taken" in (tmp_path / "service.log").read_text())
        crowd[0].send(MODE)
        assert crowd[0].reply()[0] == 200
        for each in crowd[:10]:
            each.socket.shutdown(socket.SHUT_RDWR)
        crowd[11].send(MODE)
        assert crowd[11].reply()[0] == 200
        assert worker_of(started.url) == worker


RESET = (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
"""An end of the connection without a goodbye."""


@pytest.mark.parametrize("mode", ["group_commit", "file_lock"])
def test_whatever_clients_do_each_is_counted_out_once(tmp_path: Path, mode: str) -> None:
    """Every way to come and to go, and then the service stops: it answers the one that waits still, and it does not
    wait for one that is not there.
    """
    sent = [b"", BUY[:40], BUY, BUY * 3, BUY + BUY[:40], b"nonsense\r\n\r\n", HEAD + b"Content-Length: 5000\r\n\r\n"]
    sent += [BUY.replace(b"Host: x", b"Host: x\r\nConnection: close"), BUY + b"nonsense\r\n\r\n" + BUY]
    with service(tmp_path, mode, threads=2) as started, ExitStack() as stack:
        for each in sent * 3:
            for ends in ("at once", "reset", "half", "reads"):
                with Client(started.url) as client:
                    client.send(each)
                    if ends == "half":
                        client.socket.shutdown(socket.SHUT_WR)
                    if each and (ends == "half" or (ends == "reads" and each != BUY[:40])):
                        client.reply()
                    if ends == "reset":
                        client.socket.setsockopt(*RESET)
        version = settled(started.url)  # an order that is under way yet would wait too, and keep the other thread
        waiting, other = clients(stack, started.url, 2)
        other.send(MODE)  # one that never asked would be closed without a word when the service ends
        assert other.reply()[0] == 200
        with held(tmp_path):
            waiting.send()
            look(started.url)
            started.process.send_signal(signal.SIGTERM)
            until(lambda: _closes(other))
        status, _, body = waiting.reply()
        assert status == 201
        assert int(str(body["version"])) > version
        assert started.process.wait(PATIENCE_S) == 0


def _closes(client: Client) -> bool:
    """Ask, and tell whether the service means to close the connection, as it does when it stops."""
    client.send(MODE)
    return client.reply()[1]["Connection"] == "close"


def test_who_has_not_said_anything_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    """Connections that are open and idle, new ones and used ones, and one with half a request."""
    with service(tmp_path, "hasty") as started, ExitStack() as stack:
        idle = clients(stack, started.url, 3)
        idle[0].send()
        assert idle[0].reply()[0] == 201
        idle[1].send(BUY[:30])
        assert look(started.url)["version"] == 1
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(PATIENCE_S) == 0
