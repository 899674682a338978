"""``ISOLATION LEVEL SERIALIZABLE`` in PostgreSQL.

How it keeps others out: not at all. Transactions run beside each other, and the server watches what each reads and
writes; one that cannot be put in a row with the others fails when it writes or commits, and is decided again.
How far that reaches: all hosts that use this database, as long as everyone who writes does so in this isolation level.
What it leaves undone: with many buyers of one event nearly all tries but one fail, and each was work; after TRIES_MAX
(``again.py``) a buyer is told to come again.
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


class PostgresSerializable:
    name = "postgres_serializable"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="retries",
        fair=False,
        price="does most of its work in vain where many want one event, and a buyer may lose again and again",
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
        with self.store.transaction(begin="begin_serializable") as inside:
            page = inside.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                inside.write(decision.page)
            else:
                inside.commit()  # until then, what was read may never have been so
        return decision.reply
