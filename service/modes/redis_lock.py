"""Redis' lock, as redis-py has it: a key with a time to live, around each order.

How it keeps others out: who sets the key first has the lock, for LEASE_S at most; the others ask again every POLL_S.
How far that reaches: all hosts that sell from this server. The key of a holder that dies ends by itself.
What it leaves undone: a holder that is paused for longer than its lease does not know it, and writes over what others
have sold meanwhile: nothing in Redis asks whose turn it is (a fence would). It learns of it when it gives the lock
back, too late, and tells its buyer that nobody knows. ``redis_script`` does not ask for this lock: never run both.
Four round trips an order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.mode import Claim, Decide

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.redis_keyspace import Keyspace

POLL_S = 0.01
"""A tenth of redis-py's, by which the counter stands idle most of the time. With less, Redis is busy being asked."""
LEASE_S = 2.0


class RedisLock:
    name = "redis_lock"
    claim = Claim(
        reach="hosts",
        survives=("killed holder",),
        waits="polls",
        fair=False,
        price=f"a holder paused for {LEASE_S:g} s sells tickets again; a killed one holds up the others as long",
    )

    def __init__(self, store: Keyspace, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        with self.store.locked(command.event, LEASE_S, POLL_S, self._wait_s) as turn:
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                turn.wrote = True
                self.store.write(decision.page)
        return decision.reply
