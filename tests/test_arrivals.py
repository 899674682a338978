"""What arrives at a worker: slow clients, too many at once, and what is no request at all."""

from __future__ import annotations

import select
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.arrivals import Arrivals
from service.whole import whole
from tests.connections import BODY, BUY, HEAD, Client, clients, held, look, service
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LOOK = b"GET /tickets HTTP/1.1\r\nHost: x\r\n\r\n"


@given(request=st.sampled_from([BUY, CHUNKED, LOOK]), more=st.binary(max_size=20))
def test_a_request_is_whole_at_its_last_byte_and_not_before(request: bytes, more: bytes) -> None:
    """With a length, in chunks, or without a body; whatever comes behind it belongs to the next one."""
    assert not any(whole(request[:length], 4096) for length in range(len(request)))
    assert whole(request, 4096)
    assert whole(request + more, 4096) or request is CHUNKED


@pytest.mark.parametrize(
    "seen",
    [
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        HEAD + b"Content-Length: none\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_what_will_be_refused_or_asked_for_is_not_waited_for(seen: bytes) -> None:
    """A body that is too large anyway, one that comes when it is asked for, a length that is none, endless headers."""
    assert whole(seen, 4096)


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
            told = [each.reply() for each in crowd if each.socket in select.select(sockets, [], [], 0)[0]]
        assert len(told) == 7
        for status, headers, body in told:
            assert (status, headers["Connection"], headers["Retry-After"]) == (503, "close", "1")
            assert body["type"] == "urn:turnstile:problem:busy"
        until(lambda: look(started.url).get("version") == 3)
        with Client(started.url) as client:
            client.send()
            assert client.reply()[2]["version"] == 4


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


def test_ctrl_c_ends_a_worker_whatever_it_was_at() -> None:
    """Two signals, the second in the midst of the first, while the main thread was giving a request to the pool."""
    with ThreadPoolExecutor(1) as pool:
        worker = Arrivals.__new__(Arrivals)
        worker._quits, worker.tpool = False, pool  # noqa: SLF001  # as its constructor has it
        worker.cfg = SimpleNamespace(worker_int=lambda _: worker.handle_quit(signal.SIGQUIT, None))
        with pool._shutdown_lock, pytest.raises(SystemExit):  # noqa: SLF001  # as ``submit`` does
            worker.handle_quit(signal.SIGINT, None)
