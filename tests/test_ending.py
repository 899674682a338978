"""The end of a service and of its workers, under load: whoever asked has an answer, and it is true."""

from __future__ import annotations

import configparser
import contextlib
import errno
import math
import os
import re
import select
import signal
import socket
import sqlite3
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from service import bounds
from service.arrivals import READ_S, Arrivals
from service.connections import LINGER_S
from service.ending import PATIENCE_S
from service.gunicorn_conf import KEEPALIVE_S
from service.latecomers import Latecomers
from service.outgoing import STALL_S
from service.settings import Settings
from tests.connections import BUY, Client, clients, held, look, service
from tests.ending_round import End, ends
from tests.metrics import total
from tests.processes import alive_of, children_of, state
from tests.waiting import PROGRAM_S, until_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.serve import Service

DAEMONS_MAX = 2
"""The writer and the sweeper."""
PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
ONE_AFTER_THE_OTHER = 3
WORKERS_AND_SWEEPER = 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "end"),
    [
        *(("process_lock", "SIGHUP"), ("single_writer", "SIGHUP"), ("group_commit", "SIGHUP")),
        *(("file_lock", "SIGTERM"), ("single_writer", "SIGTERM")),
    ],
)
def test_nothing_is_lost_and_nobody_is_left_without_an_answer(tmp_path: Path, mode: str, end: End) -> None:
    """SIGHUP: no call fails, on kept connections neither. SIGTERM: what is not done is surely not done."""
    found = ends(tmp_path / "round", mode, end, 1)
    assert (found.failed, found.wrong) == ({}, [])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "scheme"), [("postgres_group", "postgresql"), ("redis_script", "redis"), ("etcd_txn", "etcd")]
)
def test_so_it_is_with_an_engine(tmp_path: Path, fresh_url: Callable[[str], str], mode: str, scheme: str) -> None:
    """The same with a real server: its connections are the worker's own."""
    found = ends(tmp_path / "round", mode, "SIGHUP", 1, url=fresh_url(scheme))
    assert (found.failed, found.wrong) == ({}, [])


def test_a_worker_that_cannot_start_does_not_take_the_place_of_one_that_sells(tmp_path: Path) -> None:
    """SIGHUP when the store cannot be opened any more: the workers that have it open sell on."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text('{"count": 10}')
    with serve.service(tmp_path, {"mode": "file_lock", "workers": 2}, "tests.unable_program") as started:
        until_within(PROGRAM_S, lambda: total(started.url, "turnstile_workers") == 2)  # the first answers before
        before = children_of(started.process.pid)
        (tmp_path / "data" / "unable").touch()
        started.process.send_signal(signal.SIGHUP)
        until_within(PROGRAM_S, lambda: "so the others stay" in (tmp_path / "service.log").read_text())
        assert set(before) <= set(children_of(started.process.pid))
        assert look(started.url)["count"] == 10


def test_sqlite_is_one_file_after_an_end(served: Callable[..., Service], tmp_path: Path) -> None:
    """Whoever copies that has all that was sold: nothing stays in the log beside it."""
    service = served("sqlite", url=f"sqlite:///{tmp_path}/tickets.db")
    for _ in range(5):
        assert requests.post(f"{service.url}/buy", json={"quantity": 1}, timeout=PROGRAM_S).ok
    service.process.terminate()
    assert service.process.wait(PROGRAM_S) == 0
    assert {path.name for path in tmp_path.glob("tickets.db*")} == {"tickets.db", "tickets.db.flock"}
    with contextlib.closing(sqlite3.connect(tmp_path / "tickets.db")) as database:
        assert database.execute("SELECT version FROM events").fetchall() == [(5,)]


def test_a_terminal_that_hangs_up_ends_no_request(tmp_path: Path) -> None:
    """SIGHUP to all processes: who waits for the lock is served by a worker that has heard it too."""
    with service(tmp_path, "file_lock", workers=2, threads=8) as started, ExitStack() as stack:
        crowd = clients(stack, started.url, 4)
        with held(tmp_path):
            for each in crowd:
                each.send()
            assert look(started.url)["version"] == 0
            former = children_of(started.process.pid)
            os.killpg(started.process.pid, signal.SIGHUP)
            until_within(PROGRAM_S, lambda: bool(set(children_of(started.process.pid)) - set(former)))
        assert {each.reply()[0] for each in crowd} == {201}


def test_who_reads_slowly_has_its_reply_to_the_end(tmp_path: Path) -> None:
    """One that is longer than the kernel keeps, begun before the service was told to end, and read after."""
    (tmp_path / "data").mkdir()
    for number in range(1000):
        (tmp_path / "data" / f"{number:064}.json").write_text('{"count": 1000000}')
    asked = "/events?limit=1000"
    with service(tmp_path) as started, Client(started.url, 2048) as slow:
        whole = requests.get(f"{started.url}{asked}", timeout=PROGRAM_S).json()
        slow.send(f"GET {asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until_within(PROGRAM_S, lambda: slow.socket.recv(1, socket.MSG_PEEK) == b"H")
        look(started.url)
        started.process.terminate()
        until_within(PROGRAM_S, lambda: refuses(started.url))
        time.sleep(2 * PATIENCE_S)  # more than others have
        status, _, body = slow.reply()
        assert (status, body) == (200, whole)
        assert started.process.wait(PROGRAM_S) == 0


def refuses(url: str) -> bool:
    """Tell whether nobody is let in any more."""
    try:
        Client(url).__exit__()
    except OSError:
        return True
    return False


def test_signals_of_gunicorn_s_do_not_change_how_many_sell(tmp_path: Path) -> None:
    """SIGTTIN would start a second worker, and the mode keeps only the threads of one apart; SIGTTOU would end one."""
    with service(tmp_path, "thread_lock", workers=2) as started:
        until_within(PROGRAM_S, lambda: len(children_of(started.process.pid)) == WORKERS_AND_SWEEPER)
        before = set(children_of(started.process.pid))
        for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2):
            started.process.send_signal(number)
            words = f"{number.name} does nothing here"
            until_within(PROGRAM_S, lambda: words in started.log.read_text())  # noqa: B023  # it is called at once
            assert set(children_of(started.process.pid)) == before


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_undo_the_first(tmp_path: Path, second: signal.Signals) -> None:
    """SIGTERM again changes nothing: who waits is answered. SIGINT hurries; the end is the same, and 0."""
    with service(tmp_path, "file_lock", threads=4) as started, ExitStack() as stack:
        crowd = clients(stack, started.url, 2)
        with held(tmp_path):
            for each in crowd:
                each.send()
            assert look(started.url)["version"] == 0
            for number in (signal.SIGTERM, second):
                started.process.send_signal(number)
                if second == signal.SIGTERM:
                    until_within(PROGRAM_S, lambda: not _connects(started.url))
            if second != signal.SIGTERM:
                assert started.process.wait(PROGRAM_S) == 0
        if second == signal.SIGTERM:
            assert {each.reply()[0] for each in crowd} == {201}
            assert started.process.wait(PROGRAM_S) == 0


def test_who_sends_slowly_is_told_when_the_service_ends(tmp_path: Path) -> None:
    """Half a request, an idle connection, and one never used: none is reset, and nothing of it is carried out."""
    with service(tmp_path, "file_lock", threads=4) as started, ExitStack() as stack:
        half, idle, fresh = clients(stack, started.url, 3)
        half.send(BUY[:40])
        idle.send()
        assert idle.reply()[0] == 201
        started.process.terminate()
        assert half.reply()[0] == 408
        assert idle.reply()[0] == 408
        assert fresh.socket.recv(1) == b""
        assert started.process.wait(PROGRAM_S) == 0


def test_who_sends_a_byte_now_and_then_does_not_keep_the_service(tmp_path: Path) -> None:
    """Half a request that goes on and on is a 408 too: else its order might come so late that it is cut."""
    with service(tmp_path, "narrow", wait_s=0.2) as started, Client(started.url) as client:
        client.send(b"POST /buy HTTP/1.1\r\nHost: ")
        look(started.url)
        started.process.terminate()
        while not select.select([client.socket], [], [], 0.1)[0]:
            client.send(b"x")
        assert client.reply()[0] == 408
        assert started.process.wait(PROGRAM_S) == 0


def test_a_worker_that_is_followed_has_time_for_the_slowest_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks in the last moment of its idle time, sends slowly, reads slowly, and is inside as long as one may be."""
    worker = object.__new__(Arrivals)
    worker.cfg, worker.alive, worker._ends_at = SimpleNamespace(keepalive=KEEPALIVE_S), True, math.inf
    monkeypatch.setattr(worker, "method_queue", SimpleNamespace(defer=lambda _: None), raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    worker.handle_hup(signal.SIGHUP, None)
    assert not worker.alive
    assert worker._ends_at >= 100.0 + KEEPALIVE_S + READ_S + STALL_S + worker.inside_s + LINGER_S


def test_who_comes_late_is_refused_or_told() -> None:
    """Whoever was connected hears 503, before the request or after it; a handshake that begins later is refused."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with listener, ExitStack() as stack:
        early = clients(stack, url, 2)
        early[0].send()
        late = Latecomers([listener])
        with socket.socket() as handshake:
            handshake.setblocking(False)  # noqa: FBT003  # as Python has it
            handshake.connect_ex(listener.getsockname())
            late.turn_away()
            early[1].send()
            assert {each.reply()[0] for each in early} == {503}
            for each in early:
                each.socket.shutdown(socket.SHUT_RDWR)
            late.close()
            assert select.select([], [handshake], [], PROGRAM_S)[1]
            assert handshake.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_a_full_queue_of_the_writer_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """The writer stands still, its queue is full and everybody waits: all are answered, and the service ends."""
    with service(tmp_path, "single_writer", wait_s=0.3, waiting_max=8, threads=4) as started, ExitStack() as stack:
        writer = next(pid for pid in children_of(started.process.pid) if _is_writer(pid))
        os.kill(writer, signal.SIGSTOP)
        until_within(PROGRAM_S, lambda: state(writer) == "T")
        crowd = clients(stack, started.url, 20)
        for each in crowd:
            each.send()
        look(started.url)
        started.process.terminate()
        statuses = [each.reply()[0] for each in crowd]
        assert set(statuses) <= {500, 503}
        assert statuses.count(503) >= len(crowd) - 12
        assert started.process.wait(PROGRAM_S) == 0


def test_a_service_that_is_told_to_end_while_it_starts_ends(tmp_path: Path) -> None:
    """At whatever moment: by the signal or with 0, and no process of it is left."""
    (tmp_path / "data").mkdir()
    for number in range(ONE_AFTER_THE_OTHER):
        folder = tmp_path / str(number)
        (folder / "data").mkdir(parents=True)
        with serve.service(folder, {"mode": "single_writer"}) as started:
            started.kill()
            started.launch()
            time.sleep(0.3 * number)
            started.process.terminate()
            assert started.process.wait(PROGRAM_S) in {0, -signal.SIGTERM}
            until_within(PROGRAM_S, lambda: alive_of(started.process.pid) == [])


def test_the_unit_in_the_documents_waits_as_long_as_the_service_may_take() -> None:
    """What systemd waits for is above what the service promises, and its signals are those that the service knows."""
    (unit,) = re.findall(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # as the library has it
    parsed.read_string(unit)
    found = parsed["Service"]
    longest_s = bounds.service_ends_s(Settings(), DAEMONS_MAX)
    assert float(found["TimeoutStopSec"]) > longest_s
    assert found["KillMode"] == "mixed"
    assert found["ExecReload"].endswith("kill -HUP $MAINPID")
    assert f"{longest_s:g} s" in PAGE.read_text()


def _connects(url: str) -> bool:
    try:
        with Client(url):
            return True
    except OSError:
        return False


def _is_writer(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == "ticket-writer"
