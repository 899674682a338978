"""One transaction of etcd, which writes only if nobody has changed the event since it was read.

How it keeps others out: it does not. It reads, decides, and writes on the condition that the event's key still has the
revision that was read; else it decides again, on the page that the refused transaction found.
How far that reaches: all hosts that reach the cluster, for its members agree on every change, in one order.
What it leaves undone: nobody queues. Of many who decide at once, one gets through and the others have decided in vain.
2 round trips an order, and 1 more for each time that others were faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.again import again
from service.mode import Claim, Conflict, Decide

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.etcd_cluster import EtcdCluster

AT_ONCE = 8
"""So often it decides on what a refused write has found. After a pause that would be old, so it reads anew then."""


class EtcdTxn:
    name = "etcd_txn"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder", "power loss"),
        waits="retries",
        fair=False,
        price="where many want one event, most decide in vain, and some are told to come again",
    )

    def __init__(self, store: EtcdCluster, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        def attempt() -> Reply:
            page = self.store.read(command)
            for _ in range(AT_ONCE):
                decision = self._decide(page, command)
                found = self.store.exchange(page, decision.page) if decision.page != page else page
                if found is page:
                    return decision.reply
                page = found
            raise Conflict

        return again(attempt, self._wait_s)
