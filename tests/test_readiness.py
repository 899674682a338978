"""``/readyz``: each way of not being able to sell is told apart, in bounded time, and disturbs nobody who sells."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from service import catalogue, readiness, rules, watch
from service.commands import Cancel
from service.daemon import daemons_of
from service.mode import Busy, NotWritten, Unknown
from service.problems import Problem
from service.readiness import NOBODY, Readiness
from service.settings import Settings
from service.values import order_id
from tests.counter import ON_FILES, buying, look, sell
from tests.processes import children_of, comm
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.serve import Service
    from service.mode import Mode
    from tests.counter import Counter

IN_PROCESS = [name for name in ON_FILES if name != "single_writer"]
GOOD = {"store": "open", "engine": "none", "lock": "obtainable", "disk": "above the floor"}


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have seen of turns counts for nothing, nothing that was found is kept, and there is time."""
    monkeypatch.setattr(watch, "here", watch.Watch())
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)
    monkeypatch.setattr(readiness, "READY_S", PATIENCE_S)


def checks_of(mode: Mode, counter: Counter, floor_bytes: int = 0) -> Readiness:
    return Readiness(mode, "default", counter.directory, floor_bytes, engine=False)


def refusal(checks: Readiness) -> str:
    """Return why it is not ready."""
    with pytest.raises(Problem) as refused:
        checks.checks()
    assert (refused.value.status, refused.value.slug) == (503, "not-ready")
    return str(refused.value)


@pytest.mark.parametrize("name", IN_PROCESS)
def test_every_mode_is_ready_and_is_not_changed_by_the_question(counter: Counter, name: str) -> None:
    """The turn is a real one, in which nothing is sold, written or given a version."""
    mode = counter.opened(name)
    sell(mode)
    before, files = look(mode), {path: path.stat().st_size for path in counter.directory.glob("default.json*")}
    assert checks_of(mode, counter).checks() == GOOD
    assert look(mode) == before
    assert {path: path.stat().st_size for path in files} == files


def test_a_lock_that_is_not_given_back_is_told(counter: Counter) -> None:
    """``process_lock`` after its holder has died: as long as nobody frees it, and not a moment longer."""
    mode = counter.opened("process_lock", wait_s=0.05)
    checks = checks_of(mode, counter)
    stuck = [each for each in mode._locks if each.acquire(block=False)]  # type: ignore[attr-defined]  # noqa: SLF001  # as the dead leave them
    assert "lock: not had for event default" in refusal(checks)
    watch.here.turn(0, 0, done=True)  # of another event: it says nothing of this one
    assert "lock: not had" in refusal(checks)
    for each in stuck:
        each.release()
    assert checks.checks() == GOOD


def test_who_asks_does_not_wait_for_the_lock(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its time the answer is that there is none, and however many ask, one thread stands in line."""
    mode, free, asked = counter.opened("file_lock"), threading.Event(), []

    def execute(command: object) -> None:
        asked.append(command)
        assert free.wait(PATIENCE_S)

    monkeypatch.setattr(mode, "execute", execute)
    checks = checks_of(mode, counter)
    with monkeypatch.context() as patch:
        patch.setattr(readiness, "READY_S", 0.05)
        refusal(checks)
        until(lambda: len(asked) == 1)  # what comes before the lock may take longer than that
        assert "lock: no answer within" in refusal(checks)
        assert "lock: no answer within" in refusal(checks)
    assert len(asked) == 1
    free.set()
    until(lambda: _ready(checks))


def _ready(checks: Readiness) -> bool:
    try:
        return checks.checks() == GOOD
    except Problem:
        return False


def test_where_there_is_something_to_do_nobody_is_disturbed(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that somebody has just had shows that the lock can be had."""
    monkeypatch.setattr(readiness, "FRESH_S", PATIENCE_S)
    mode = counter.opened("group_commit")
    asked: list[object] = []
    sell(mode)
    monkeypatch.setattr(mode, "execute", asked.append)
    assert checks_of(mode, counter).checks() == GOOD
    assert asked == []


@pytest.mark.parametrize("name", ["file_lock", "ticket_lock", "group_commit", "single_writer"])
def test_turns_that_fail_do_not_show_that_the_lock_can_be_had(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """However many buyers come to an event that was stopped after a failed fsync: they are let in, and none can buy."""
    monkeypatch.setattr(readiness, "FRESH_S", PATIENCE_S)
    is_broken, fsync = tmp_path / "is-broken", os.fsync

    def failing(descriptor: int) -> None:
        if is_broken.exists():
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)  # before the writer is forked
    mode, _ = catalogue.build(catalogue.chosen(Settings(mode=name, data=counter.directory)))
    counter.daemons += daemons_of(mode)
    counter.keep()
    mode.open()
    is_broken.touch()
    for _ in range(3):
        with pytest.raises((Unknown, NotWritten)):
            mode.execute(buying())
    assert "lock: not had for event default: the ticket store refused" in refusal(checks_of(mode, counter))


def test_one_event_after_the_other_is_asked_for(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the one that failed again, until it does not."""
    counter.event("aaa", 1)
    counter.event("zzz", 1)
    mode, asked, stuck = counter.opened("file_lock"), [], {"default"}

    def execute(command: Cancel) -> None:
        asked.append(command.event)
        if command.event in stuck:
            raise Busy(0.1)

    monkeypatch.setattr(mode, "execute", execute)
    checks = checks_of(mode, counter)
    assert checks.checks() == GOOD
    assert "event default" in refusal(checks)
    assert "event default" in refusal(checks)
    stuck.clear()
    assert [checks.checks() for _ in range(3)] == [GOOD] * 3
    assert asked == ["aaa", "default", "default", "default", "zzz", "aaa"]


def test_a_store_an_engine_and_a_disk_are_told_apart(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its own name, and no reason of an engine's, in which its address may stand."""
    mode = counter.opened("file_lock")
    engine = Readiness(mode, "default", None, 0, engine=True)
    assert engine.checks() == GOOD | {"engine": "reachable", "disk": "none"}
    free = shutil.disk_usage(counter.directory).free
    assert "disk: " in refusal(checks_of(mode, counter, 2 * free))
    assert sell(mode).tickets == (1,)  # it sells all the same
    with monkeypatch.context() as patch:
        patch.setattr(mode.store, "look", lambda _: (_ for _ in ()).throw(NotWritten("away", "secret-host:5432")))
        said = refusal(engine)
    assert "store: not asked for; engine: does not answer" in said
    assert "secret-host" not in said
    (counter.directory / "default.json").write_text('{"event":"default","capac')
    assert "store: cannot be read; lock: not asked for" in refusal(checks_of(mode, counter))


@pytest.mark.parametrize("engine", [True, False])
def test_whoever_does_not_answer_is_named_and_no_other(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, *, engine: bool
) -> None:
    """What was not asked for yet is not said to be silent."""
    mode, looking, going_on = counter.opened("file_lock"), threading.Event(), threading.Event()

    def look_in_vain(_: str) -> None:
        looking.set()
        going_on.wait(PATIENCE_S)

    with monkeypatch.context() as patch:
        patch.setattr(mode.store, "look", look_in_vain)
        patch.setattr(readiness, "READY_S", 0.2)
        checks = Readiness(mode, "default", None, 0, engine=engine)
        refusal(checks)
        assert looking.wait(PATIENCE_S)  # what comes before may take longer than that
        said = refusal(checks)
        going_on.set()
    names = ("store: not asked for", "engine: no answer") if engine else ("store: no answer",)
    assert [name for name in names if name in said] == list(names)
    assert said.count("no answer") == 1
    assert "lock: not asked for" in said


def test_a_question_does_not_pause_before_deciding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pause of a minute, it would keep all buyers waiting for as long."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    decide = catalogue.deciding(60)
    decide(rules.Page(None), Cancel(order_id("default", NOBODY), "default"))
    assert pauses == []
    decide(rules.Page(None), buying())
    assert pauses == [60]


def test_a_service_whose_writer_stands_still_is_not_ready(served: Callable[..., Service]) -> None:
    """Over HTTP: paused, it is not; going on, it is."""
    service = served("single_writer", wait_s=0.2, workers=1)
    (writer,) = [pid for pid in children_of(service.process.pid) if comm(pid) == "ticket-writer"]

    def status() -> int:
        return requests.get(f"{service.url}/readyz", timeout=PATIENCE_S).status_code

    os.kill(writer, signal.SIGSTOP)
    until(lambda: status() == 503)
    os.kill(writer, signal.SIGCONT)
    until(lambda: status() == 200)
