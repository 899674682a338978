"""The single writer over HTTP: one process beside the workers, from the first order to the last."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from service.app import create_app
from service.daemon import END_S
from service.modes.single_writer import SingleWriter
from service.outcomes import Sold
from service.pipes import Pipes
from service.producer import Producer
from service.settings import Settings
from service.stores.sealed import unseal
from tests.counter import Counter, buying, decide_now
from tests.processes import alive_of, children_of, comm
from tests.waiting import PATIENCE_S, until, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.serve import Service
    from service.commands import Command
    from service.rules import Decision, Page

FORK = multiprocessing.get_context("fork")
TICKETS = 100_000
BUYERS = 6


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def writers(service: Service) -> list[int]:
    """Return the processes of a service that write."""
    return [int(each) for each in alive_of(service.process.pid) if comm(int(each)) == "ticket-writer"]


def writer(service: Service) -> int:
    """Return the one process that writes, when there is one."""
    until(lambda: len(writers(service)) == 1)
    return writers(service)[0]


class Crowd:
    """Buyers who buy until they are told to stop, and what they were told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: list[requests.Response] = []
        self.broken = 0
        self.hung = 0
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._buy, daemon=True) for _ in range(BUYERS)]
        for thread in self._threads:
            thread.start()

    def _buy(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._enough.is_set():
                try:
                    self.replies.append(session.post(f"{self.url}/buy", json={"quantity": 2}, timeout=PATIENCE_S))
                except requests.ReadTimeout:
                    self.hung += 1
                except requests.RequestException:  # its worker, or the service, is gone
                    self.broken += 1

    def sold(self) -> list[dict[str, Any]]:
        """Return what was acknowledged."""
        return [reply.json() for reply in list(self.replies) if reply.status_code == 201]

    def sees_more(self) -> None:
        """Wait until a few more sales have been acknowledged."""
        before = len(self.sold())
        until(lambda: len(self.sold()) > before + BUYERS)

    def leaves(self) -> None:
        """Buy no more; all answers that were due have come."""
        self._enough.set()
        for thread in self._threads:
            thread.join()


def recorded(tmp_path: Path) -> dict[str, tuple[int, list[int]]]:
    """Return what the journal on disk says of each order. Versions follow each other, and no ticket comes twice."""
    lines = (tmp_path / "service-1" / "data" / "default.jsonl").read_bytes().splitlines(keepends=True)[1:]
    rows = [unseal(line) for line in lines]
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
    assert [ticket for row in rows for ticket in row["tickets"]] == list(range(1, 2 * len(rows) + 1))
    return {row["order"]: (row["version"], row["tickets"]) for row in rows}


def assert_kept(crowd: Crowd, tmp_path: Path) -> None:
    """Every acknowledged sale is on disk as it was told, and nothing is there that was certainly not done."""
    on_disk = recorded(tmp_path)
    sold = crowd.sold()
    assert [row for row in sold if on_disk.get(row["order"]) != (row["version"], row["tickets"])] == []
    unknown = [reply for reply in crowd.replies if reply.status_code == 500]
    assert {reply.json()["type"] for reply in unknown} <= {"urn:turnstile:problem:unknown-outcome"}
    assert crowd.hung == 0
    assert len(sold) <= len(on_disk) <= len(sold) + len(unknown) + crowd.broken


def test_one_process_writes_and_it_is_no_worker(served: Callable[..., Service], http: requests.Session) -> None:
    """Named in ``ps``; it does not hold the port, which would keep the next service from starting."""
    service = served("single_writer")
    worker = int(http.post(f"{service.url}/buy", json={"quantity": 1}).headers["Turnstile-Worker"])
    assert len(writers(service)) == 1
    assert worker != writer(service)
    until(lambda: len(alive_of(service.process.pid)) == 5)  # the master, two workers, the writer, and the sweeper
    port = int(service.url.rpartition(":")[2])
    assert listens(worker, port)
    assert not listens(writer(service), port)


def listens(pid: int, port: int) -> bool:
    """Tell whether a process holds the socket that listens on ``port``."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = (row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")
    held = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
    return f"socket:[{inode}]" in held


def test_a_killed_writer_is_followed_by_another_and_nothing_is_lost(
    served: Callable[..., Service], tmp_path: Path
) -> None:
    """SIGKILL under load, several times: what was in its hand is unknown, and everything else is as it was told."""
    service = served("single_writer", tickets=TICKETS)
    crowd = Crowd(service.url)
    victims = []
    for _ in range(5):
        crowd.sees_more()
        victims.append(writer(service))
        os.kill(victims[-1], signal.SIGKILL)
        until(lambda: writers(service) not in ([], victims[-1:]))
    crowd.sees_more()
    crowd.leaves()
    assert len(set(victims)) == 5
    assert len(writers(service)) == 1
    assert_kept(crowd, tmp_path)


def test_a_killed_worker_does_not_stop_the_writer(served: Callable[..., Service], tmp_path: Path) -> None:
    """Its pipe is closed, and the same writer goes on for the others and for the worker that follows."""
    service = served("single_writer", tickets=TICKETS)
    before = writer(service)
    crowd = Crowd(service.url)
    for _ in range(3):
        crowd.sees_more()
        os.kill(next(each for each in children_of(service.process.pid) if each != before), signal.SIGKILL)
    crowd.sees_more()
    crowd.leaves()
    assert writer(service) == before
    assert_kept(crowd, tmp_path)


@pytest.mark.parametrize("to_all", [False, True])
def test_it_is_gone_after_sigterm_with_everything_on_disk(
    served: Callable[..., Service], tmp_path: Path, *, to_all: bool
) -> None:
    """Under load, sent to the master, or to the whole group as a terminal does: the workers end first, then it."""
    service = served("single_writer", tickets=TICKETS)
    crowd = Crowd(service.url)
    crowd.sees_more()
    os.killpg(service.process.pid, signal.SIGTERM) if to_all else service.process.terminate()
    assert service.process.wait(PATIENCE_S) == 0
    assert alive_of(service.process.pid) == []
    crowd.leaves()
    assert_kept(crowd, tmp_path)
    assert [reply.text for reply in crowd.replies if reply.status_code == 500] == []
    log = (tmp_path / "service-1" / "service.log").read_text()
    assert log.splitlines()[-1] == "turnstile: stopped"
    assert "killed" not in log


def test_one_that_cannot_end_is_killed_at_the_end(served: Callable[..., Service], tmp_path: Path) -> None:
    """The master waits for it, within a bound: a paused one would otherwise keep the data for ever."""
    service = served("single_writer")
    os.kill(writer(service), signal.SIGSTOP)
    service.process.terminate()
    assert service.process.wait(END_S + PATIENCE_S) == 0
    assert alive_of(service.process.pid) == []
    log = (tmp_path / "service-1" / "service.log").read_text()
    assert log.splitlines()[-2:] == [
        f"turnstile: ticket-writer did not end within {END_S:g} s, so it was killed",
        "turnstile: stopped",
    ]


def test_it_is_gone_after_sigkill_of_the_master(served: Callable[..., Service], tmp_path: Path) -> None:
    """The workers see that they have no master, and end; the writer sees that it has no workers, and ends."""
    service = served("single_writer", tickets=TICKETS)
    crowd = Crowd(service.url)
    crowd.sees_more()
    service.process.kill()
    service.process.wait(PATIENCE_S)
    until(lambda: alive_of(service.process.pid) == [])
    crowd.leaves()
    assert_kept(crowd, tmp_path)


def test_a_paused_writer_leaves_nobody_hanging(
    served: Callable[..., Service], http: requests.Session, tmp_path: Path
) -> None:
    """SIGSTOP: each buyer is told within a bound, busy or unknown; after SIGCONT it sells on, and not to them."""
    service = served("single_writer", tickets=TICKETS, wait_s=0.5)

    def is_sold() -> bool:
        return http.post(f"{service.url}/buy", json={"quantity": 2}).status_code == 201

    until(is_sold)  # its patience is so short that a busy machine may come to it too late
    os.kill(writer(service), signal.SIGSTOP)
    crowd = Crowd(service.url)
    try:
        until(lambda: {500, 503} <= {reply.status_code for reply in list(crowd.replies)})
        crowd.leaves()
    finally:
        os.kill(writer(service), signal.SIGCONT)
    told = {reply.status_code: reply for reply in crowd.replies}
    assert set(told) == {500, 503}
    assert crowd.hung == 0
    assert told[503].headers["Retry-After"] == "1"
    assert told[503].json()["type"] == "urn:turnstile:problem:busy"
    assert told[500].json()["type"] == "urn:turnstile:problem:unknown-outcome"
    until(is_sold)
    assert len(recorded(tmp_path)) == 2


def test_the_trace_says_when_the_writer_began(
    served: Callable[..., Service], http: requests.Session, tmp_path: Path
) -> None:
    """The worker writes the line, with what the writer noted in its own process, on the clock that both have."""
    service = served("single_writer", trace=tmp_path)
    orders = [http.post(f"{service.url}/buy", json={"quantity": 1}).json()["order"] for _ in range(3)]
    http.post(f"{service.url}/buy", json={"quantity": 100})
    lines = [json.loads(line) for path in tmp_path.glob("trace-*.jsonl") for line in path.read_text().splitlines()]
    rows = sorted(lines, key=lambda row: row["asked"])
    assert [row["order"] for row in rows[:3]] == orders
    assert [row["version"] for row in rows] == [0, 1, 2, 3]
    for row in rows:
        assert row["asked"] < row["entered"] <= row["read"] < row["left"]
        assert row["worker"] != writer(service)


def test_a_full_queue_is_503_with_retry_after(counter: Counter) -> None:
    """No room in the worker's queue: told at once when to come back, and nothing is done."""
    gate, inside = FORK.Event(), FORK.Event()
    gate.set()

    def decide(page: Page, command: Command) -> Decision:
        inside.set()
        assert gate.wait(PATIENCE_S)
        return decide_now(page, command)

    mode = counter.opened("single_writer", decide, wait_s=PATIENCE_S)
    assert isinstance(mode, SingleWriter)
    producer = Producer(Pipes(mode._door), PATIENCE_S, {}, waiting_orders_max=1)  # noqa: SLF001  # a small queue
    mode._producers["default"] = producer  # noqa: SLF001  # as above
    told: list[object] = [mode.execute(buying(1))]
    gate.clear()
    inside.clear()
    threads = [threading.Thread(target=lambda: told.append(mode.execute(buying(1)))) for _ in range(3)]
    threads[0].start()
    assert inside.wait(PATIENCE_S)
    threads[1].start()
    until(lambda: waiting(producer) == (1, 0))
    threads[2].start()
    until(lambda: waiting(producer) == (1, 1))
    refused = create_app(mode, Settings()).test_client().post("/buy", json={"quantity": 1})
    gate.set()
    for thread in threads:
        thread.join()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.get_json()["type"] == "urn:turnstile:problem:busy"
    assert sorted(reply.order.version for reply in told if isinstance(reply, Sold)) == [1, 2, 3, 4]
