"""Compare the version in PostgreSQL: ``UPDATE ... WHERE version = ...``.

How it keeps others out: not at all. An order is decided on what was read as of one moment, and written only if the
event still has the version that was read; else it is decided again. Reading is one round trip, writing another.
How far that reaches: all hosts that use this database. Nobody holds anything while deciding, so whoever dies or is
paused there holds up nobody.
What it leaves undone: of many buyers of one event one wins each time, and the work of the others was in vain; after
TRIES_MAX (``again.py``) a buyer is told to come again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from service.again import again
from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.postgres import Postgres


class PostgresOptimistic:
    name = "postgres_optimistic"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="retries",
        fair=False,
        price="does much of its work in vain where many want one event, and a buyer may lose again and again",
    )

    def __init__(self, store: Postgres, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        return again(partial(self._attempt, command), self._wait_s)

    def _attempt(self, command: Command) -> Reply:
        page = self.store.read(command)
        decision = self._decide(page, command)
        if decision.page != page:
            self.store.write(decision.page)
        return decision.reply
