"""A mode that is broken on purpose: it answers before it writes."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from service import catalogue
from service.mode import Claim, Decide
from service.rules import Page

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile

LATE = 10
"""A sale is written when so many others have been made: more than there are buyers, so some have been told already."""


class Forgetful:
    """Sells from memory, and writes later: what a killed worker had not written is lost. For one worker."""

    name = "forgetful"
    claim = Claim("processes", ("killed holder",), "sleeps in the kernel", fair=False, price="what was sold")

    def __init__(self, store: JsonFile, decide: Decide, _: float) -> None:
        self.store = store
        self._decide = decide

    def open(self) -> None:
        """Open the store, and remember nothing yet."""
        self.store.open()
        self._inside = threading.Lock()
        self._page: Page | None = None
        self._unwritten: deque[Page] = deque()

    def execute(self, command: Command) -> Reply:
        """Answer from memory."""
        with self._inside:
            stored = self.store.read(command)
            decision = self._decide(self._page or stored, command)
            self._page = _after(decision.page)
            self._unwritten.append(decision.page)
            if len(self._unwritten) > LATE:
                self.store.write(self._unwritten.popleft())
        return decision.reply


def _after(page: Page) -> Page:
    """Return what the next buyer finds, where nothing was ever given back."""
    event = page.event
    assert event is not None
    first = event.capacity - event.count + 1
    return Page(event, free=tuple(range(first, first + 100)))


def plant() -> None:
    """Let the service know this mode."""
    catalogue.MODES[Forgetful.name] = Forgetful
