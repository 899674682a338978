"""Take a number: whoever comes first is served first.

How it keeps others out: each order takes the next number from a file beside its event and locks the byte of that
number; it is done when all lower bytes are free, and waits for that asleep in the kernel (``line.py``, ``turns.py``).
How far that reaches: all processes and threads that use this directory on this machine. The kernel frees the byte of a
holder, and of a waiter, when it dies.
What it leaves undone: a paused holder keeps its turn, and everyone behind waits until their deadline; one paused in the
instant of taking its number holds up even those.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from service.each import Each
from service.later import at_once, awaited
from service.line import Line
from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile


class TicketLock:
    name = "ticket_lock"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "power loss"),
        waits="sleeps in the kernel",
        fair=True,
        price="pays for an fsync with every order, and a slow one holds up all who came later",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._lines: Each[Line[Reply]] = Each(lambda event: Line(self.store.directory / f"{event}.queue"))

    def execute(self, command: Command) -> Reply:
        return awaited(self.begin, command, self._wait_s)

    def begin(self, command: Command, answer: Answer) -> Leave:
        if not self.store.has(command.event):
            return at_once(NoSuchEvent(command.event), answer)
        return self._lines[command.event].begin(partial(self._alone, command), answer)

    def _alone(self, command: Command) -> Reply:
        page = self.store.read(command)
        decision = self._decide(page, command)
        if decision.page != page:
            self.store.write(decision.page)
        return decision.reply
