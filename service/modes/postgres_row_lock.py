"""``SELECT ... FOR UPDATE`` in PostgreSQL.

How it keeps others out: whoever wants to change an event locks its row first; the others sleep in the server until the
transaction has ended. Locking and reading are one round trip, writing and COMMIT another.
How far that reaches: all hosts that use this database. The server undoes the transaction of one who dies, and that of
one who is paused for PAUSED_S (``postgres_link.py``); what that one sends later is refused.
What it leaves undone: each order waits for the disk by itself, with the row locked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.postgres import Postgres


class PostgresRowLock:
    name = "postgres_row_lock"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="sleeps in the kernel",
        fair=False,
        price="pays for a commit with every order; a paused host holds up the others for 1 s at a time",
    )

    def __init__(self, store: Postgres, decide: Decide, _wait_s: float) -> None:
        self.store = store
        self._decide = decide

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        with self.store.transaction(lock="lock_row") as inside:
            page = inside.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                inside.write(decision.page)
        return decision.reply
