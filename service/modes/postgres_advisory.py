"""``pg_advisory_xact_lock`` in PostgreSQL.

How it keeps others out: whoever wants to change an event takes the lock that its name stands for, a number that means
what programs agree on; the others sleep in the server until the transaction has ended. Locking and reading are one
round trip, writing and COMMIT another.
How far that reaches: all hosts that use this database and take this lock. One who dies, or is paused for PAUSED_S
(``postgres_link.py``), loses it with the transaction.
What it leaves undone: nothing ties the lock to the row; a program that does not take it is not kept out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.postgres import Postgres


class PostgresAdvisory:
    name = "postgres_advisory"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="sleeps in the kernel",
        fair=False,
        price="keeps out only who takes the lock too; a paused host holds up the others for 1 s at a time",
    )

    def __init__(self, store: Postgres, decide: Decide, _wait_s: float) -> None:
        self.store = store
        self._decide = decide

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        with self.store.transaction(lock="lock_name") as inside:
            page = inside.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                inside.write(decision.page)
        return decision.reply
