"""The booking rule as a script in Redis: one call an order.

How it keeps others out: Redis runs one script at a time, from its first line to its last, so nobody stands between
reading and writing, and there is no holder who could be paused or killed. The rule is restated in Lua
(``stores/lua/decide.lua``); a property test holds it to that of ``rules.py``.
How far that reaches: all hosts that sell from this server. One round trip an order.
What it leaves undone: replicas follow later, so a server that fails and is replaced by one takes its last sales along;
and so does a power loss, unless ``appendfsync`` is ``always``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.mode import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.redis_keyspace import Keyspace


class RedisScript:
    name = "redis_script"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder"),
        waits="queues",
        fair=True,
        price="a failover may lose sales that were acknowledged, and so may a power loss without appendfsync always",
    )

    def __init__(self, store: Keyspace, now: Callable[[], float]) -> None:
        self.store = store
        self._now = now

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        return self.store.decide([command], self._now())[0]
