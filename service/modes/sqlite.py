"""``BEGIN IMMEDIATE``, once for every order that is waiting.

How it keeps others out: SQLite lets one transaction write at a time, and lets the others starve. So workers take turns
at a file lock first (``flock.py``), and one thread takes all orders that wait in a worker (``committer.py``) inside.
How far that reaches: all processes that use this file. What it leaves undone: one who is slow holds up all events.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.committer import Committer
from service.flock import flock
from service.later import awaited
from service.mode import Claim, Decide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service.commands import Command
    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.stores.sqlite import Sqlite


class SqliteTransaction:
    name = "sqlite"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "power loss"),
        waits="queues",
        fair=False,
        price="one writer at a time for all events, who fails together what was written together",
    )

    def __init__(self, store: Sqlite, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._committer = Committer(self._turn, self._inside)

    def execute(self, command: Command) -> Reply:
        return awaited(self.begin, command, self._wait_s)

    def begin(self, command: Command, answer: Answer) -> Leave:
        return self._committer.begin(command, answer)

    @contextmanager
    def _turn(self, *, wait: bool) -> Iterator[None]:
        with flock(self.store.lock, wait=wait), self.store.transaction():
            yield

    def _inside(self, commands: Sequence[Command]) -> list[Reply]:
        replies = []
        for command in commands:
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page)
            replies.append(decision.reply)
        return replies
