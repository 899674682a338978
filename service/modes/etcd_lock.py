"""A place in line under a lease of etcd, with a revision as its fence.

How it keeps others out: whoever wants an event creates a key, and is inside when all keys created before it are gone.
The write is one transaction on the condition that one's own key is still there, and deletes it.
How far that reaches: all hosts that reach the cluster. Who dies or is paused inside is out when the lease ends, and
nothing of theirs is written from then on.
What it leaves undone: until then, for 2 s or more, they hold up the others.
Alone 2 round trips an order, behind others 4 (``etcd_line.py``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from service.again import again
from service.mode import Claim, Decide

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.etcd_line import EtcdLine


class EtcdLock:
    name = "etcd_lock"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="queues",
        fair=True,
        price="two to four round trips to a cluster for each order; a paused holder holds up the others for 2 s",
    )

    def __init__(self, store: EtcdLine, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        ends = time.monotonic() + self._wait_s

        def attempt() -> Reply:
            with self.store.turn(command, self._wait_s, ends) as turn:
                decision = self._decide(turn.page, command)
                if decision.page != turn.page:
                    turn.write(decision.page)
            return decision.reply

        return again(attempt, self._wait_s)
