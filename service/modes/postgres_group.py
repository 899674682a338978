"""One transaction in PostgreSQL for every order that is waiting.

How it keeps others out: as ``postgres_row_lock``, but the orders of a worker wait in a queue (``committer.py``, as in
``group_commit``), and one thread has the row locked for all that wait by then: it reads, decides (``batch.py``) and
writes all of them. Three round trips and one commit for a batch.
How far that reaches: all hosts that use this database. The server undoes the transaction of one who dies or is paused
for PAUSED_S (``postgres_link.py``).
What it leaves undone: a batch that fails fails as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.batch import commit
from service.committer import Committer
from service.each import Each
from service.later import at_once, awaited
from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.stores.postgres import Postgres


class PostgresGroup:
    name = "postgres_group"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="queues",
        fair=False,
        price="fails together what was written together; a paused host holds up the others for 1 s at a time",
    )

    def __init__(self, store: Postgres, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._committers = Each(self._committer)

    def execute(self, command: Command) -> Reply:
        return awaited(self.begin, command, self._wait_s)

    def begin(self, command: Command, answer: Answer) -> Leave:
        if not self.store.has(command.event):
            return at_once(NoSuchEvent(command.event), answer)
        return self._committers[command.event].begin(command, answer)

    def _committer(self, event: str) -> Committer[Command]:
        row = self.store.row(event)
        return Committer(row.turn, lambda commands: commit(row.batch(commands), self._decide, commands))
