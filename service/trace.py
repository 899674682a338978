"""A trace of every order that is placed, for a load test that wants to show who stood where when two sales collided.

Written only when ``TURNSTILE_TRACE`` names a folder. Each worker appends a JSON line an order to a file of its own:
``order``, ``worker`` (its process), ``asked`` (the order came), ``entered`` (it was let in, alone or with others, and
began to read), ``read`` and ``version`` (what it was decided on), ``left`` (written, and outside again). Times are
nanoseconds of ``time.monotonic_ns()``, one clock for all processes of a machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from service.commands import Buy, Hold
from service.daemon import daemons_of
from service.mode import begin_of
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile

if TYPE_CHECKING:
    from pathlib import Path

    from service.commands import Command
    from service.mode import Answer, Begin, Claim, Decide, Leave, Mode, Store
    from service.outcomes import Reply
    from service.rules import Decision, Page


class Notes:
    """What is noted of each order while it is decided, until it has left."""

    def __init__(self) -> None:
        self._here = threading.local()
        self.noted: dict[str, dict[str, int | None]] = {}

    def enter(self) -> None:
        """Note that this thread is let in, and begins to read."""
        self._here.entered = time.monotonic_ns()

    def deciding(self, decide: Decide) -> Decide:
        """Return ``decide`` with a note of when it was called for each order, and on which version.

        Who did not ``enter`` is taken to have been let in then: engines read and lock in one step.
        """

        def noting(page: Page, command: Command) -> Decision:
            if not isinstance(command, Buy | Hold):
                return decide(page, command)
            version, now = page.event.version if page.event else None, time.monotonic_ns()
            self.noted[command.order] = {
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

    def read(self, command: Command) -> Page:
        self.enter()
        return super().read(command)


class NotingFenced(Noting, FencedJsonFile):
    """The same for a store with fences."""


NOTING: dict[type[JsonFile], type[Noting]] = {JsonFile: Noting, FencedJsonFile: NotingFenced}


class Traced:
    """A mode that writes a line for each order when it has left."""

    def __init__(self, mode: Mode, notes: Notes, folder: Path) -> None:
        self._mode = mode
        self._notes = notes
        self._folder = folder
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
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._folder / f"trace-{os.getpid()}.jsonl", flags, 0o600)

    def execute(self, command: Command) -> Reply:
        if not isinstance(command, Buy | Hold):
            return self._mode.execute(command)
        asked = time.monotonic_ns()
        try:
            return self._mode.execute(command)
        finally:
            self._note(command, asked)

    def _begin(self, begin: Begin, command: Command, answer: Answer) -> Leave:
        if not isinstance(command, Buy | Hold):
            return begin(command, answer)
        asked = time.monotonic_ns()

        def noted(outcome: Reply | Exception) -> None:
            self._note(command, asked)
            answer(outcome)

        return begin(command, noted)

    def _note(self, command: Command, asked: int) -> None:
        line = {"order": command.order, "worker": os.getpid(), "asked": asked, "left": time.monotonic_ns()}
        line |= self._notes.noted.pop(command.order, {})
        with suppress(OSError):  # a full disk: the order has its outcome all the same
            os.write(self._file, f"{json.dumps(line)}\n".encode())
