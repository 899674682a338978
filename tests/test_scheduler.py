"""The scheduler finds every order once, what it stands before is what it says, and mistakes in a mode are found."""

from __future__ import annotations

import fcntl
import math
import multiprocessing
import os
import queue
import signal
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import turns
from service.each import Each
from service.modes.file_lock import FileLock
from service.modes.lease import Lease
from service.turns import FIRST, Place, Turns
from tests.interleavings import counted
from tests.scheduler import Play, end, explored, step
from tests.stage import TWICE, Scene, Stage, plain, stepped_file_lock
from tests.stepped import EndedLease, Mutex, Queue, stepped
from tests.stepped_kernel import could_lock, free_path, turn_lock
from tests.stepped_store import SteppedFile, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service.commands import Command
    from service.outcomes import Reply
    from service.rules import Page
    from tests.stage import Build

FORK = multiprocessing.get_context("fork")
SEMAPHORE = FORK.Lock()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as made:
        yield made


def take_steps(count: int) -> None:
    for place in range(count):
        step(str(place))


@pytest.mark.parametrize("steps", [(1,), (3,), (2, 2), (3, 2), (2, 1, 1)])
@pytest.mark.parametrize("deaths", [0, 1])
def test_the_scheduler_finds_each_order_once(steps: tuple[int, ...], deaths: int) -> None:
    """As many as there are arrangements; with one death, also those in which somebody stops for ever."""

    def played(choices: tuple[int, ...]) -> Play:
        play = Play(deaths, None, choices)
        for number, count in enumerate(steps):
            play.task("ABC"[number], number, partial(take_steps, count))
        return play.run()

    runs = [tuple(play.events) for play in explored(played)]
    assert len(set(runs)) == len(runs)
    # Whoever dies after some steps has those and its death among all steps of the others.
    ends = [(*steps[:who], done + 1, *steps[who + 1 :]) for who, count in enumerate(steps) for done in range(count)]
    assert len(runs) == arrangements(steps) + deaths * sum(map(arrangements, ends))


def arrangements(steps: tuple[int, ...]) -> int:
    return math.factorial(sum(steps)) // math.prod(map(math.factorial, steps))


def test_a_bound_on_interruptions_leaves_out_only_what_has_more(stage: Stage) -> None:
    """The runs within the bound are those of all runs that have no more."""
    every = [(run.play.switches, tuple(run.play.events)) for run in stage.runs(Scene("no_lock"))]
    for bound in range(3):
        within = {tuple(run.play.events) for run in stage.runs(Scene("no_lock", switches_max=bound))}
        assert within == {events for switches, events in every if switches <= bound}


def test_nobody_hangs_unnoticed() -> None:
    """Where nobody can go on and nobody has a deadline, the run says so."""
    play = Play()
    play.task("A", 0, lambda: step("waits for nothing", lambda: False))
    with pytest.raises(RuntimeError, match="nobody can ever go on"):
        play.run()
    for task in play.tasks:
        end(task)


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def take_flock(path: Path) -> object:
    descriptor = opened(path)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def take_byte(path: Path) -> object:
    descriptor = opened(path)
    turns._lock(descriptor, fcntl.F_WRLCK, FIRST, 1)  # noqa: SLF001  # what places are made of
    return descriptor


def take_file_lock(path: Path) -> object:
    return filelock.FileLock(path).acquire()


def take_semaphore(_: Path) -> object:
    return SEMAPHORE.acquire()


def byte_free(path: Path) -> bool:
    return could_lock(opened(path), fcntl.F_RDLCK, FIRST, 1)


def semaphore_free(_: Path) -> bool:
    return not SEMAPHORE._semlock._is_zero()  # type: ignore[attr-defined]  # noqa: SLF001  # as ``Semaphore`` asks


@pytest.mark.parametrize(
    ("take", "free", "freed"),
    [
        (take_flock, free_path, True),
        (take_byte, byte_free, True),
        (take_file_lock, free_path, True),
        (take_semaphore, semaphore_free, False),
    ],
    ids=["flock", "a byte of a queue", "filelock", "a semaphore"],
)
def test_a_step_can_be_taken_when_the_real_lock_is_free(
    tmp_path: Path, take: Callable[[Path], object], free: Callable[[Path], bool], *, freed: bool
) -> None:
    """Not while another process has it; after its death where the kernel frees it, and never where it does not."""
    path = tmp_path / "lock"
    told, tell = FORK.Pipe(duplex=False)

    def hold() -> None:
        kept = take(path)
        tell.send_bytes(b"taken")
        signal.pause()
        del kept

    assert free(path)
    assert free(path)  # who asked has not taken it
    holder = FORK.Process(target=hold, daemon=True)
    holder.start()
    told.recv_bytes()
    assert not free(path)
    holder.kill()
    holder.join()
    assert free(path) is freed


@given(st.lists(st.booleans()))
def test_a_made_up_mutex_is_taken_and_given_back_like_a_real_one(steps: list[bool]) -> None:
    """Whoever does not wait is told the same."""
    made, real = Mutex(), threading.Lock()
    for takes in steps:
        if takes:
            assert made.acquire(blocking=False) == real.acquire(blocking=False)
        elif real.locked():
            made.release()
            real.release()


@given(st.lists(st.integers(min_value=0, max_value=2)))
def test_a_made_up_queue_gives_what_a_real_one_gives(steps: list[int]) -> None:
    """In the same order, and it is empty at the same times."""
    made: Queue[int] = Queue()
    real: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number, kind in enumerate(steps):
        assert made.empty() == real.empty()
        if kind:
            made.put(number)
            real.put(number)
        elif not real.empty():
            assert made.get() == real.get()


class ReleasedEarly(FileLock):
    """Gives the lock back before it writes."""

    def execute(self, command: Command) -> Reply:
        with self._locks[command.event].acquire(timeout=1):
            page = self.store.read(command)
            decision = self._decide(page, command)
        if decision.page != page:
            self.store.write(decision.page)
        return decision.reply


class LockedLate(FileLock):
    """Reads before it has the lock."""

    def execute(self, command: Command) -> Reply:
        page = self.store.read(command)
        with self._locks[command.event].acquire(timeout=1):
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page)
        return decision.reply


class Unfenced(SteppedFile):
    """Takes a fence, and asks nobody for it."""

    def fence(self, _event: str) -> int:
        return 0

    def write(self, page: Page, _fence: int = 0) -> None:
        super().write(page)


def broken_file_lock(kind: type[FileLock]) -> Build:
    def build(_: str, directory: Path) -> Iterator[Any]:
        while True:
            mode: Any = kind(SteppedFile(directory), decide, 1.0)
            mode.open()
            mode._locks = Each(partial(stepped_file_lock, mode))  # noqa: SLF001  # as in the stage
            yield mode

    return build


def unfenced(_: str, directory: Path) -> Iterator[Any]:
    while True:
        mode: Any = Lease(Unfenced(directory), decide, 1.0)  # type: ignore[arg-type]
        mode.open()
        mode._leases = Each(EndedLease)  # noqa: SLF001  # where the mode keeps what it waits at
        yield mode


def without_flock(name: str, directory: Path) -> Iterator[Any]:
    for mode in plain(name, directory):
        mode._committers["default"]._turn = lambda *, wait: nullcontext(wait)  # noqa: SLF001  # as above
        yield mode


@pytest.mark.parametrize(
    ("mode", "build"),
    [
        ("file_lock", broken_file_lock(ReleasedEarly)),
        ("file_lock", broken_file_lock(LockedLate)),
        ("lease", unfenced),
        ("group_commit", without_flock),
    ],
    ids=["released before the write", "locked after the read", "no fence", "no lock around a batch"],
)
def test_a_mode_that_is_broken_on_purpose_is_caught(tmp_path: Path, mode: str, build: Build) -> None:
    """The interleavings of a mode with one mistake have double sales among them."""
    with Stage(tmp_path, {mode: build}) as stage:
        assert counted(stage, Scene(mode)).by[TWICE] > 0


def together(path: Path, sleep: Callable[[Place], None]) -> Iterator[int]:
    """Yield how many were in the same place at once, in each run of three who stand in line, of whom one may die."""

    def played(choices: tuple[int, ...]) -> Play:
        path.unlink(missing_ok=True)
        play = Play(deaths_max=1, switches_max=1, choices=choices)
        inside: set[str] = set()
        most.append(0)

        def stand(name: str) -> None:
            place = Turns(path).take()
            sleep(place)
            inside.add(name)
            most[-1] = max(most[-1], len(inside - {task.name for task in play.tasks if task.dead}))
            place.leave()
            inside.remove(name)

        for number, name in enumerate("ABC"):
            play.task(name, number, partial(stand, name))
        return play.run()

    most: list[int] = []
    with stepped():
        for _ in explored(played):
            yield most[-1]


def test_nobody_passes_one_who_died_in_line(tmp_path: Path) -> None:
    """Who waits only for the one before passes all before that one when it dies; who waits for all of them does not."""

    def careless(place: Place) -> None:
        if place.number:
            turn_lock(place._descriptor, fcntl.F_RDLCK, FIRST + place.number - 1, 1, wait=True)  # noqa: SLF001

    assert max(together(tmp_path / "queue", Place.sleep)) == 1
    assert 2 in together(tmp_path / "queue", careless)
