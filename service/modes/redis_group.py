"""One script call for every order that is waiting.

How it keeps others out: as ``redis_script`` does, by the script that runs alone. The orders of a worker wait in a queue
(``committer.py``) while Redis has those before them; then all that wait go in one call, and are decided one after
another. An order that finds nobody waiting goes at once.
How far that reaches: all hosts that sell from this server. One round trip for up to 256 orders.
What it leaves undone: what ``redis_script`` does, and a call that fails fails all of its orders.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from service.committer import Committer
from service.each import Each
from service.later import at_once, awaited
from service.mode import Claim
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from service.commands import Command
    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.stores.redis_keyspace import Keyspace


class RedisGroup:
    name = "redis_group"
    claim = Claim(
        reach="hosts",
        survives=("killed holder", "paused holder"),
        waits="queues",
        fair=False,
        price="fails together what was sent together; a failover may lose sales that were acknowledged",
    )

    def __init__(self, store: Keyspace, now: Callable[[], float], wait_s: float) -> None:
        self.store = store
        self._now = now
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._committers: Each[Committer[Command]] = Each(lambda _: Committer(_any_turn, self._commit))

    def execute(self, command: Command) -> Reply:
        return awaited(self.begin, command, self._wait_s)

    def begin(self, command: Command, answer: Answer) -> Leave:
        if not self.store.has(command.event):
            return at_once(NoSuchEvent(command.event), answer)
        return self._committers[command.event].begin(command, answer)

    def _commit(self, commands: Sequence[Command]) -> list[Reply]:
        return self.store.decide(commands, self._now())


def _any_turn(*, wait: bool) -> AbstractContextManager[object]:  # noqa: ARG001  # as the committer asks for it
    return nullcontext()  # Redis itself lets one in after the other
