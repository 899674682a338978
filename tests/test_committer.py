"""Many orders, one commit: what a batch promises to those in it, and to those who leave."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from service import committer
from service.commands import Buy
from service.committer import Committer
from service.flock import flock
from service.later import awaited
from service.mode import Busy, NotWritten
from service.outcomes import NoSuchEvent, Reply, Sold, SoldOut
from service.values import Event
from tests.counter import Counter, buying, look, sell
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

FORK = multiprocessing.get_context("fork")


class Door:
    """A turn that is given only when the test opens the door."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked = threading.Event()

    @contextmanager
    def turn(self, *, wait: bool) -> Iterator[None]:
        if not wait and not self.open.is_set():
            raise Busy(0)
        self.asked.set()
        assert self.open.wait(PATIENCE_S)
        yield


class Asking:
    """Someone who asks in a thread of their own, and what they are told."""

    def __init__(self, ask: Callable[[], Reply]) -> None:
        self.told: Reply | Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(ask,))
        self._thread.start()

    def _run(self, ask: Callable[[], Reply]) -> None:
        try:
            self.told = ask()
        except Exception as error:  # noqa: BLE001  # what they are told is what the test is about
            self.told = error

    def answer(self) -> Reply | Exception | None:
        self._thread.join(PATIENCE_S)
        return self.told


def nothing(name: str) -> Reply:
    return NoSuchEvent(name)


def waits(queue: Committer[Buy], number: int) -> bool:
    """Tell whether ``number`` orders wait behind the one at the door."""
    return queue._waiting.qsize() == number  # noqa: SLF001  # nothing else tells


def ask_all(queue: Committer[Buy], number: int) -> list[Asking]:
    """Ask for ``number`` orders while the first of all stands at the door, and return when all of them wait."""
    asking = []
    for each in range(number):
        asking.append(Asking(partial(awaited, queue.begin, buying(event=str(each)), PATIENCE_S)))
        until(partial(waits, queue, each + 1))
    return asking


def test_all_who_wait_are_committed_together_and_each_gets_its_own_reply() -> None:
    """One call for all of them, in the order of their asking."""
    door, batches = Door(), []

    def commit(commands: Sequence[Buy]) -> list[Reply]:
        batches.append(len(commands))
        return [nothing(command.event) for command in commands]

    queue = Committer(door.turn, commit)
    first = Asking(lambda: awaited(queue.begin, buying(event="0"), PATIENCE_S))
    assert door.asked.wait(PATIENCE_S)
    others = ask_all(queue, 5)
    door.open.set()
    assert first.answer() == nothing("0")
    assert [each.answer() for each in others] == [nothing(str(number)) for number in range(5)]
    assert batches == [6]


def test_who_has_left_hears_no_more_when_the_turn_cannot_be_had() -> None:
    """Told once that nothing was done, and not again that no turn could be had."""
    asked, fail = threading.Event(), threading.Event()

    @contextmanager
    def turn(*, wait: bool) -> Iterator[None]:
        if not wait:
            raise Busy(0)
        asked.set()
        assert fail.wait(PATIENCE_S)
        raise OSError("no more files")
        yield

    queue = Committer[Buy](turn, lambda commands: [nothing(command.event) for command in commands])
    told: list[object] = []
    leave = queue.begin(buying(), told.append)
    assert asked.wait(PATIENCE_S)
    assert leave()
    stays = Asking(lambda: awaited(queue.begin, buying(event="stays"), PATIENCE_S))
    fail.set()
    assert isinstance(stays.answer(), OSError)
    assert told == []


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is beyond the bound comes with the next one."""
    monkeypatch.setattr(committer, "BATCH_ORDERS_MAX", 4)
    door, batches = Door(), []

    def commit(commands: Sequence[Buy]) -> list[Reply]:
        batches.append(len(commands))
        return [nothing(command.event) for command in commands]

    queue = Committer(door.turn, commit)
    first = Asking(lambda: awaited(queue.begin, buying(), PATIENCE_S))
    assert door.asked.wait(PATIENCE_S)
    others = ask_all(queue, 9)
    door.open.set()
    assert all(each.answer() is not None for each in [first, *others])
    assert batches == [4, 4, 2]


def test_who_leaves_in_time_was_certainly_not_served() -> None:
    """The deadline passes before the door opens: busy, and the batch is without them."""
    door = Door()
    seen: list[str] = []

    def commit(commands: Sequence[Buy]) -> list[Reply]:
        seen.extend(command.order for command in commands)
        return [nothing(command.event) for command in commands]

    queue = Committer(door.turn, commit)
    with pytest.raises(Busy):
        awaited(queue.begin, buying(), 0.05)
    stays = Asking(lambda: awaited(queue.begin, buying(event="stays"), PATIENCE_S))
    with pytest.raises(Busy):
        awaited(queue.begin, buying(), 0.05)
    door.open.set()
    assert stays.answer() == nothing("stays")
    assert len(seen) == 1


def test_who_has_been_taken_waits_for_the_end_whatever_the_deadline() -> None:
    """What is being written cannot be called off: the answer is the true one."""
    door, inside, done = Door(), threading.Event(), threading.Event()
    door.open.set()

    def commit(commands: Sequence[Buy]) -> list[Reply]:
        inside.set()
        assert done.wait(PATIENCE_S)
        return [nothing(command.event) for command in commands]

    queue = Committer(door.turn, commit)
    asking = Asking(lambda: awaited(queue.begin, buying(event="late"), 0.05))
    assert inside.wait(PATIENCE_S)
    threading.Timer(0.2, done.set).start()
    assert asking.answer() == nothing("late")


@pytest.mark.parametrize("error", [OSError("fsync"), NotWritten("full"), TimeoutError("within"), RuntimeError("bug")])
def test_a_batch_that_fails_fails_for_all_and_leaves_nobody_hanging(error: Exception) -> None:
    """Each is told the same, and the next batch is served."""
    door, fails = Door(), [True]

    def commit(commands: Sequence[Buy]) -> list[Reply]:
        if fails.pop() if fails else False:
            raise error
        return [nothing(command.event) for command in commands]

    queue = Committer(door.turn, commit)
    first = Asking(lambda: awaited(queue.begin, buying(), PATIENCE_S))
    assert door.asked.wait(PATIENCE_S)
    others = ask_all(queue, 3)
    door.open.set()
    assert [each.answer() for each in [first, *others]] == [error] * 4
    assert awaited(queue.begin, buying(event="next"), PATIENCE_S) == nothing("next")


@pytest.mark.parametrize("free", [True, False])
def test_a_door_that_breaks_fails_those_who_stand_before_it_only(*, free: bool) -> None:
    """Whether an order stood there alone or the thread did, which goes on."""
    broken = [True, True]

    @contextmanager
    def turn(*, wait: bool) -> Iterator[None]:
        if not wait and not free:
            raise Busy(0)
        if broken and broken.pop():
            raise OSError("no more files")
        yield

    queue = Committer[Buy](turn, lambda commands: [nothing(command.event) for command in commands])
    for _ in range(2):
        with pytest.raises(OSError, match="no more files"):
            awaited(queue.begin, buying(), PATIENCE_S)
    assert awaited(queue.begin, buying(event="on"), PATIENCE_S) == nothing("on")


def test_a_batch_is_one_write_and_one_fsync_and_decides_in_order(counter: Counter) -> None:
    """Ten tickets, orders of 4, 4, 4 and 2: the third is refused, the last takes the rest; versions without a gap."""
    mode = counter.opened("group_commit")
    queue = mode._committers["default"]  # type: ignore[attr-defined]  # noqa: SLF001  # to know who waits
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "write"):
            patch.setattr(os, name, noting(name, getattr(os, name), calls))
        asking = []
        with flock(counter.directory / "default.flock", wait=True):
            for number, quantity in enumerate((4, 4, 4, 2)):
                asking.append(Asking(partial(mode.execute, buying(quantity))))
                # The first has found the lock taken and is in the hand of the thread; the others are in the queue.
                until(lambda: queue._thread is not None and queue._inside.locked())  # noqa: SLF001  # as above
                until(partial(waits, queue, number))
        told = [each.answer() for each in asking]
    sold = [reply.order for reply in told if isinstance(reply, Sold)]
    assert [(order.version, order.tickets[0], order.count) for order in sold] == [(1, 1, 6), (2, 5, 2), (3, 9, 0)]
    assert isinstance(told[2], SoldOut)
    assert calls == ["write", "fsync"]
    counter.close()
    assert look(counter.opened("file_lock")) == Event("default", 10, 0, 3)


def noting(name: str, real: Callable[..., object], calls: list[str]) -> Callable[..., object]:
    """Return ``real``, which notes each call by name."""

    def noted(*arguments: object) -> object:
        calls.append(name)
        return real(*arguments)

    return noted


def test_a_full_disk_fails_the_batch_and_sells_nothing(counter: Counter) -> None:
    """All or none of a batch is written."""
    mode = counter.opened("group_commit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 10)
        with pytest.raises(NotWritten):
            mode.execute(buying())
    assert sell(mode).version == 1


def test_who_is_alone_needs_no_thread(counter: Counter) -> None:
    """An order that finds nobody waiting is committed where it stands."""
    mode = counter.opened("group_commit")
    assert [sell(mode).version for _ in range(3)] == [1, 2, 3]
    assert mode._committers["default"]._thread is None  # type: ignore[attr-defined]  # noqa: SLF001  # nothing else tells


def test_a_full_queue_turns_orders_away_with_nothing_done() -> None:
    """The bound is counted in orders; whoever comes beyond it is told so at once."""
    door = Door()
    seen: list[str] = []

    def commit(commands: Sequence[Buy]) -> list[Reply]:
        seen.extend(command.event for command in commands)
        return [nothing(command.event) for command in commands]

    queue = Committer(door.turn, commit, waiting_orders_max=2)
    first = Asking(lambda: awaited(queue.begin, buying(event="first"), PATIENCE_S))
    assert door.asked.wait(PATIENCE_S)
    others = ask_all(queue, 2)
    with pytest.raises(Busy):
        awaited(queue.begin, buying(event="too many"), PATIENCE_S)
    door.open.set()
    assert all(each.answer() for each in [first, *others])
    assert seen == ["first", "0", "1"]


def test_a_file_lock_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    """Free: in. Taken: busy at once, or asleep until the holder leaves, or dies."""
    path = tmp_path / "lock"
    with flock(path, wait=False), pytest.raises(Busy), flock(path, wait=False):
        pytest.fail("two were inside")
    inside, tell = FORK.Pipe(duplex=False)

    def hold() -> None:
        with flock(path, wait=True):
            tell.send("inside")
            signal.pause()

    holder = FORK.Process(target=hold)
    holder.start()
    assert inside.recv() == "inside"
    with pytest.raises(Busy), flock(path, wait=False):
        pytest.fail("two were inside")
    threading.Timer(0.1, holder.kill).start()
    with flock(path, wait=True):
        holder.join()


def test_a_queue_without_a_thread_turns_away_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, nothing was done; and the next order has its thread again."""
    door = Door()
    seen: list[str] = []

    def commit(commands: Sequence[Buy]) -> list[Reply]:
        seen.extend(command.event for command in commands)
        return [nothing(command.event) for command in commands]

    def no_more_threads(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue = Committer(door.turn, commit)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(Busy):
            awaited(queue.begin, buying(event="turned away"), PATIENCE_S)
    asking = Asking(lambda: awaited(queue.begin, buying(event="next"), PATIENCE_S))
    assert door.asked.wait(PATIENCE_S)
    door.open.set()
    assert asking.answer() == nothing("next")
    assert seen == ["next"]


def test_the_thread_ends_when_nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next order that has to wait has another."""
    monkeypatch.setattr(committer, "IDLE_S", 0.01)
    door = Door()
    queue = Committer[Buy](door.turn, lambda commands: [nothing(each.event) for each in commands])
    for _ in range(3):
        door.open.clear()
        door.asked.clear()
        asking = Asking(lambda: awaited(queue.begin, buying(event="waits"), PATIENCE_S))
        assert door.asked.wait(PATIENCE_S)
        door.open.set()
        assert asking.answer() == nothing("waits")
        until(lambda: queue._thread is None)  # noqa: SLF001  # nothing else tells
