"""What became of each command, and when, told to whoever is to note it.

One of them is a trace of every order that is placed, for a load test that wants to show who stood where when two sales
collided. It is written when ``TURNSTILE_TRACE`` names a folder: each worker appends a JSON line an order to a file of
its own, with ``order``, ``worker`` (its process), ``asked`` (the order came), ``entered`` (it was let in, alone or with
others, and began to read), ``read`` and ``version`` (what it was decided on), ``left`` (written, and outside again).
Times are nanoseconds of ``time.monotonic_ns()``, one clock for all processes of a machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from service import watch
from service.commands import Buy, Command, Hold, known_by
from service.daemon import daemons_of
from service.mode import Busy, begin_of
from service.outcomes import NoSuchEvent
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile

if TYPE_CHECKING:
    from pathlib import Path

    from service.mode import Answer, Begin, Claim, Decide, Leave, Mode, Store
    from service.outcomes import Reply
    from service.rules import Decision, Page


class Notes:
    """What is noted of each command while it is decided, until it has left, by what it is known by."""

    def __init__(self) -> None:
        self._here = threading.local()
        self.noted: dict[str, dict[str, int | None]] = {}

    def enter(self) -> None:
        """Note that this thread is let in, and begins to read."""
        self._here.entered = time.monotonic_ns()

    def deciding(self, decide: Decide) -> Decide:
        """Return ``decide`` with a note of when it was called for each command, and on which version.

        Who did not ``enter`` is taken to have been let in then: engines read and lock in one step.
        """

        def noting(page: Page, command: Command) -> Decision:
            version, now = page.event.version if page.event else None, time.monotonic_ns()
            self.noted[known_by(command)] = {
                "entered": getattr(self._here, "entered", now),
                "read": now,
                "version": version,
            }
            return decide(page, command)

        return noting


class Noting(Notes, JsonFile):
    """A store that notes when each thread began to read."""

    def __init__(self, directory: Path) -> None:
        Notes.__init__(self)
        JsonFile.__init__(self, directory)

    def page(self, command: Command) -> Page | Exception:
        self.enter()
        return super().page(command)


class NotingFenced(Noting, FencedJsonFile):
    """The same for a store with fences."""


NOTING: dict[type[JsonFile], type[Noting]] = {JsonFile: Noting, FencedJsonFile: NotingFenced}


@dataclass(frozen=True, slots=True)
class Told:
    """A command with its outcome, and when that was: ``asked``, ``left``, and what was noted between the two."""

    command: Command
    outcome: Reply | Exception
    asked: int
    left: int
    noted: dict[str, int | None]

    @property
    def turn_s(self) -> tuple[float, float] | None:
        """How long it waited, and how long it was inside, in seconds; ``None`` if it was never let in."""
        entered = self.noted.get("entered")
        return None if entered is None else ((entered - self.asked) / 1e9, (self.left - entered) / 1e9)


class Teller(Protocol):
    """One who is told of each command when it has left."""

    def open(self) -> None:
        """Open what is needed, after the fork."""

    def tell(self, told: Told) -> None:
        """Note it. It must not raise, nor wait."""


class Traced:
    """A mode that tells of each command when it has left."""

    def __init__(self, mode: Mode, notes: Notes, tellers: tuple[Teller, ...]) -> None:
        self._mode = mode
        self._notes = notes
        self._tellers = tellers
        self.name: str = mode.name
        self.claim: Claim = mode.claim
        self.daemons = daemons_of(mode)
        begin = begin_of(mode)
        self.begin: Begin | None = begin and partial(self._begin, begin)

    @property
    def store(self) -> Store:
        return self._mode.store

    def open(self) -> None:
        self._mode.open()
        for teller in self._tellers:
            teller.open()

    def execute(self, command: Command) -> Reply:
        asked = time.monotonic_ns()
        try:
            outcome = self._mode.execute(command)
        except Exception as error:
            self._tell(command, error, asked)
            raise
        self._tell(command, outcome, asked)
        return outcome

    def _begin(self, begin: Begin, command: Command, answer: Answer) -> Leave:
        asked = time.monotonic_ns()

        def telling(outcome: Reply | Exception) -> None:
            self._tell(command, outcome, asked)
            answer(outcome)

        return begin(command, telling)

    def _tell(self, command: Command, outcome: Reply | Exception, asked: int) -> None:
        noted = self._notes.noted.pop(known_by(command), {})
        told = Told(command, outcome, asked, time.monotonic_ns(), noted)
        for teller in self._tellers:
            teller.tell(told)


class Lines:
    """Writes a line to a file for each order that was placed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._folder / f"trace-{os.getpid()}.jsonl", flags, 0o600)

    def tell(self, told: Told) -> None:
        if isinstance(told.command, Buy | Hold):
            line = {"order": told.command.order, "worker": os.getpid(), "asked": told.asked, "left": told.left}
            with suppress(OSError):  # a full disk: the order has its outcome all the same
                os.write(self._file, f"{json.dumps(line | told.noted)}\n".encode())


class Turns:
    """Tells the watch of each turn. Modes with a queue of orders do so by themselves, a batch at a time."""

    def open(self) -> None:
        """Need nothing."""

    def tell(self, told: Told) -> None:
        if turn := told.turn_s:
            watch.here.turn(*turn, done=not isinstance(told.outcome, Exception))
        elif isinstance(told.outcome, Busy):
            watch.here.in_vain((told.left - told.asked) / 1e9)
        elif not isinstance(told.outcome, Exception | NoSuchEvent):  # an engine decides: its call is the turn
            watch.here.turn(0.0, (told.left - told.asked) / 1e9, done=True)
