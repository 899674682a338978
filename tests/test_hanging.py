"""A worker or a writer that hangs is followed by another, and what it had locked is free again."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from service import bounds
from service.settings import Settings
from service.stillness import GAP_S, Looker
from tests.hang_program import DEAF, HANGS
from tests.processes import children_of, comm
from tests.waiting import PROGRAM_S, until_within

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.serve import Service

WAIT_S = 0.2
HANG_S = 3.0
"""More than a busy machine keeps a worker from its processor."""
WORKERS = 2


def buy(service: Service, buyer: str = "somebody", patience_s: float = PROGRAM_S) -> requests.Response:
    """Buy on a connection of its own."""
    ours = {"Connection": "close"}
    asked = {"quantity": 1, "buyer": buyer}
    return requests.post(f"{service.url}/buy", json=asked, headers=ours, timeout=patience_s)


def whole(service: Service, name: str = "") -> set[int]:
    """Return the processes that are called so when all of them have been started: the first ones sell before that."""
    until_within(PROGRAM_S, lambda: len(processes(service, name)) == (1 if name else WORKERS))
    return processes(service, name)


def processes(service: Service, name: str = "") -> set[int]:
    """Return the processes of a service beside its master that are called so; else its workers."""
    named = {pid: comm(pid) for pid in children_of(service.process.pid)}
    beside = {"ticket-writer", "hold-sweeper"}
    return {pid for pid, its in named.items() if (its == name if name else its not in beside)}


def hung(place: Path, mode: str, buyer: str = HANGS) -> None:
    """Let one order hang, and hold the service to it that it sells again, without the one who hung."""
    (place / "data").mkdir(parents=True)
    (place / "data" / "default.json").write_text('{"count": 100}')
    flags = {"mode": mode, "workers": WORKERS, "threads": 4, "wait_s": WAIT_S, "hang_s": HANG_S}
    who = "ticket-writer" if mode == "single_writer" else ""
    with serve.service(place, flags, "tests.hang_program") as service:
        sold = [buy(service).json()["order"]]
        before = whole(service, who)
        try:
            told = buy(service, buyer)
        except requests.ConnectionError:  # its worker ended hard, with the order in its hand
            told = None
        assert told is None or told.status_code == (500 if buyer == HANGS else 201)
        until_within(PROGRAM_S, lambda: len(processes(service, who) - before) == 1)
        until_within(PROGRAM_S, lambda: len(processes(service, who)) == len(before))
        until_within(PROGRAM_S, lambda: buy(service).status_code == 201)
        assert requests.get(f"{service.url}/orders/{sold[0]}", timeout=PROGRAM_S).status_code == 200
        said = (place / "service.log").read_text()
    assert ("hang for" if buyer == HANGS else "has stood still") in said or "has hung" in said
    assert "Traceback" not in said


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["file_lock", "group_commit", "single_writer"])
def test_an_order_that_never_ends_is_ended_with_its_process(tmp_path: Path, mode: str) -> None:
    """Whoever has it inside stands still with the lock of the event: it is ended, and the next one sells."""
    hung(tmp_path, mode)


@pytest.mark.timeout(300)
def test_a_worker_whose_main_thread_stands_still_is_killed(tmp_path: Path) -> None:
    """Its threads sell on, but it takes no connection and sends no reply that comes later."""
    hung(tmp_path, "file_lock", DEAF)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "who"), [("ticket_lock", ""), ("single_writer", "ticket-writer")])
def test_one_that_is_stopped_is_killed(tmp_path: Path, mode: str, who: str) -> None:
    """SIGSTOP, after which it hears no other signal than SIGKILL. Nothing that was sold is lost."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text('{"count": 100}')
    flags = {"mode": mode, "workers": WORKERS, "threads": 4, "wait_s": WAIT_S, "hang_s": HANG_S}
    with serve.service(tmp_path, flags, "tests.hang_program") as service:
        order = buy(service).json()["order"]
        victim = min(whole(service, who))
        os.kill(victim, signal.SIGSTOP)
        until_within(PROGRAM_S, lambda: victim not in processes(service, who))
        until_within(PROGRAM_S, lambda: len(processes(service, who)) == (1 if who else WORKERS))
        until_within(PROGRAM_S, lambda: buy(service).status_code == 201)
        assert requests.get(f"{service.url}/orders/{order}", timeout=PROGRAM_S).status_code == 200


@pytest.mark.timeout(300)
def test_process_lock_stays_locked(tmp_path: Path) -> None:
    """As its claim says: the worker is replaced all the same, but nobody frees a semaphore."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text('{"count": 100}')
    flags = {"mode": "process_lock", "workers": WORKERS, "threads": 4, "wait_s": WAIT_S, "hang_s": HANG_S}
    with serve.service(tmp_path, flags, "tests.hang_program") as service:
        before = whole(service)
        with pytest.raises(requests.ConnectionError):
            buy(service, HANGS)
        until_within(PROGRAM_S, lambda: len(processes(service) - before) == 1)
        assert buy(service).status_code == 503


def test_who_was_paused_holds_nothing_against_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was paused finds all of its processes late: they have their time from then on."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    looker = Looker()

    def looked(at: float) -> float:
        clock[0] = at
        looker.look()
        return looker.still_s(since=100.0)

    assert [looked(at) for at in (101.0, 102.0, 103.0)] == [1.0, 2.0, 3.0]
    assert looked(103.0 + GAP_S + 1) == 0.0
    assert looked(103.0 + GAP_S + 3) == 2.0


def test_nobody_hangs_who_may_wait_yet() -> None:
    """The bound is above all that a request may wait for, whatever is set; 0 is for ever."""
    for wait_s, think_s in ((0.0, 0.0), (5.0, 0.2), (3600.0, 60.0)):
        given = Settings(wait_s=wait_s, think_s=think_s)
        assert bounds.hung_s(given) >= 3 * wait_s + 256 * think_s + given.hang_s
        assert bounds.workers_end_s(given) > bounds.inside_s(given)
    assert bounds.hung_s(Settings(hang_s=0)) == float("inf")
