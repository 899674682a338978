"""One conditional UPDATE in PostgreSQL: ``UPDATE ... SET count = count - q WHERE count >= q``.

How it keeps others out: the server locks the row it updates until the end of the statement, which does all else too
(``sell`` in ``schema_1.sql``). Nothing is read before, so nothing can be stale. One round trip.
How far that reaches: all hosts that use this database. Such a buyer holds no lock who dies or is paused; the others do
as in ``postgres_row_lock``.
What it leaves undone: the rule is said again in SQL, for purchases without a key where enough is left. ``decide`` makes
the order of them, on a page with tickets enough; all else goes through it under the row's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.commands import Buy
from service.mode import Claim, Conflict, Decide
from service.outcomes import NoSuchEvent, Sold
from service.rules import Page
from service.values import Event

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.postgres import Postgres


class PostgresConditional:
    name = "postgres_conditional"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="sleeps in the kernel",
        fair=False,
        price="says the rule a second time, in SQL; only the plainest purchases are spared the second round trip",
    )

    def __init__(self, store: Postgres, decide: Decide, _wait_s: float) -> None:
        self.store = store
        self._decide = decide

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        if isinstance(command, Buy) and command.key is None:
            plenty = Page(Event(command.event, command.quantity, command.quantity))
            wanted = self._decide(plenty, command).reply
            try:
                return Sold(self.store.sell(wanted.order)) if isinstance(wanted, Sold) else wanted
            except Conflict:
                pass  # too few are left
        with self.store.transaction(lock="lock_row") as inside:
            page = inside.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                inside.write(decision.page)
        return decision.reply
