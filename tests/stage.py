"""Two or three purchases in one mode, run in every order of their steps, and what is wrong after each run.

The modes, the rule and the store are the service's own; ``stepped.py`` has them stop before each step, and
``scheduler.py`` lets one after the other go on, in every order that there is.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Self

from service import catalogue
from service.each import Each
from service.mode import Busy, Damaged, NotWritten
from service.outcomes import Sold
from service.stores import fencing, recovery
from service.stores.fencing import START
from service.stores.lines import order_of
from service.stores.replay import Refused, replayed
from tests.counter import buying
from tests.scheduler import Play, explored
from tests.stepped import EndedLease, OuterMutex, Semaphore, SteppedFileLock, stepped
from tests.stepped_store import SteppedFencedFile, SteppedFile, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service.commands import Buy
    from service.values import Order
    from tests.scheduler import Task

    Build = Callable[[str, Path], Iterator[Any]]

CAPACITY = 3
WAIT_S = 5.0
"""It only says that there is a deadline: when it comes, the scheduler says."""
NAMES = "ABC"
TWICE, TORN = "a ticket was sold twice", "somebody read half a file"
LOST, DONE = "a sale that was told is not on disk", "what was refused was done all the same"
UNREADABLE = "the journal cannot be read any more"


@dataclass(frozen=True, slots=True)
class Scene:
    """Who buys, how far apart, and what may happen to them."""

    mode: str
    orders: int = 2
    apart: str = "processes"
    deaths_max: int = 0
    switches_max: int | None = None
    """Most times that a task is interrupted which could have gone on; ``None``: any number, so all orders of steps."""
    outer: bool = False
    """What only tasks of one process can notice is a step too."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, with its place among all runs of its scene, and what is wrong after it: sentences by what they say."""

    number: int
    play: Play
    wrong: dict[str, str]

    @property
    def blocked(self) -> bool:
        """Somebody waited until the deadline."""
        return bool(self.play.late)


class Stage:
    """A data directory that is put back before each run. ``close`` gives it free."""

    def __init__(self, directory: Path, builds: dict[str, Build] | None = None) -> None:
        self.directory = directory
        self._builds = BUILDS | (builds or {})
        (directory / "default.json").write_text(f'{{"count": {CAPACITY}}}')
        self._claimed = recovery.prepare(directory, "a test")
        self._texts = {path: path.read_bytes() for path in directory.iterdir()}

    def __enter__(self) -> Self:  # noqa: D105  # it says itself
        return self

    def __exit__(self, *_: object) -> None:  # noqa: D105  # it says itself
        os.close(self._claimed.descriptor)

    def runs(self, scene: Scene) -> Iterator[Run]:
        """Yield every run of a scene, in an order that is always the same."""
        asked: list[Buy] = []

        def played(choices: tuple[int, ...]) -> Play:
            self._put_back()
            asked[:] = [buying() for _ in range(scene.orders)]
            modes = self._builds[scene.mode](scene.mode, self.directory)
            shared = scene.apart == "threads"
            play = Play(scene.deaths_max, scene.switches_max, choices)
            for number, mode in zip(range(scene.orders), repeat(next(modes)) if shared else modes, strict=False):
                play.task(NAMES[number], 0 if shared else number, partial(mode.execute, asked[number]))
            return play.run()

        with stepped(outer=scene.outer):
            for number, play in enumerate(explored(played), 1):
                yield Run(number, play, dict(self._wrong(play, asked)))

    def _put_back(self) -> None:
        for path in self.directory.iterdir():
            if path not in self._texts:
                path.unlink()
        for path, text in self._texts.items():
            path.write_bytes(text)

    def _wrong(self, play: Play, asked: list[Buy]) -> Iterator[tuple[str, str]]:
        """Yield what is wrong after a run, and say of whom."""
        names = {command.order: name for name, command in zip(NAMES, asked, strict=False)}
        sold = {order.id: order for order in self._written()}
        for task, command in zip(play.orders, asked, strict=True):
            yield from _false(task, sold.get(command.order))
            if isinstance(task.outcome, Sold):
                sold[command.order] = task.outcome.order
        if twice := _twice(sold, names):
            yield TWICE, twice
            return
        try:
            replayed(self.directory / "default.jsonl", 0)
        except Refused as error:
            yield UNREADABLE, str(error)

    def _written(self) -> Iterator[Order]:
        """Yield the orders on the lines that count."""
        place = START
        for line in (self.directory / "default.jsonl").read_bytes().splitlines(keepends=True):
            place, change = fencing.after(place, line)
            if change and "order" in change:
                yield order_of(change)


def _false(task: Task, written: Order | None) -> Iterator[tuple[str, str]]:
    """Yield what is not so of what a task was told, when this is what the journal has of its order."""
    match task.outcome:
        case Sold(order):
            if written != order:
                yield LOST, f"{task.name} was told of a sale, and the journal has {written}"
        case Damaged():
            yield TORN, f"{task.name} read half a file"
        case Busy() | NotWritten():
            if written:
                yield DONE, f"{task.name} was refused, and has bought"
        case None if task.dead:
            pass
        case other:
            raise AssertionError(f"{task.name} heard {other!r}")


def _twice(sold: dict[str, Order], names: dict[str, str]) -> str:
    owners = defaultdict(list)
    for order in sorted(sold.values(), key=lambda order: names[order.id]):
        for ticket in order.tickets:
            owners[f"ticket {ticket}"].append(names[order.id])
        owners[f"version {order.version}"].append(names[order.id])
    shared = [f"{what} is that of {' and '.join(whose)}" for what, whose in owners.items() if len(whose) > 1]
    return ", ".join(shared)


def plain(name: str, directory: Path) -> Iterator[Any]:
    """Yield a mode for each process, opened: as ``Any``, for what it waits at is nobody else's business otherwise."""
    while True:
        store = (SteppedFencedFile if name == "lease" else SteppedFile)(directory)
        mode = catalogue.MODES[name](store, decide, WAIT_S)
        mode.open()
        yield mode


def _thread_locked(name: str, directory: Path) -> Iterator[Any]:
    """Each process has mutexes of its own."""
    for mode in plain(name, directory):
        mode._locks = Each(lambda _: OuterMutex())  # noqa: SLF001  # where the mode keeps what it waits at
        yield mode


def _process_locked(name: str, directory: Path) -> Iterator[Any]:
    """All processes have the semaphores that were made before the fork."""
    shared: list[Semaphore] = []
    for mode in plain(name, directory):
        shared = shared or [Semaphore(real) for real in mode._locks]  # noqa: SLF001  # as above
        mode._locks = shared  # noqa: SLF001  # as above
        yield mode


def _file_locked(name: str, directory: Path) -> Iterator[Any]:
    for mode in plain(name, directory):
        mode._locks = Each(partial(stepped_file_lock, mode))  # noqa: SLF001  # as above
        yield mode


def stepped_file_lock(mode: Any, event: str) -> SteppedFileLock:  # noqa: ANN401  # a mode with locks of its own
    """Return the mode's own lock of an event, with stops."""
    return SteppedFileLock(mode._lock(event))  # noqa: SLF001  # as above


def _leased(name: str, directory: Path) -> Iterator[Any]:
    for mode in plain(name, directory):
        mode._leases = Each(lambda event: EndedLease(str(directory / f"{event}.lease")))  # noqa: SLF001  # as above
        yield mode


BUILDS: dict[str, Build] = {
    "naive": plain,
    "no_lock": plain,
    "thread_lock": _thread_locked,
    "process_lock": _process_locked,
    "file_lock": _file_locked,
    "ticket_lock": plain,
    "lease": _leased,
    "group_commit": plain,
}
"""The modes whose orders are interleaved here. ``single_writer`` has one writer, and nobody to interleave it with."""
