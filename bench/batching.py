"""A ceiling that batches its replies: the service with one more mode, which neither locks nor stores.

``python -m bench.batching --mode batching_noop``. Its orders go through the queue and the thread of ``group_commit``,
are decided there and answered in full. Group commit answers many at once, which alone makes a server faster; beside
this ceiling only the lock and the store are left to tell the two apart. So that as many orders gather as there, a
batch waits for as long as an fsync takes here, and nobody else has to wait for it.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from bench.disk import fsync_ms
from service import __main__ as program
from service import catalogue
from service.committer import Committer
from service.later import awaited
from service.mode import Claim
from service.rules import Page
from service.values import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.commands import Command
    from service.mode import Answer, Decide, Leave
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile

CAPACITY = 10_000_000
FREE = tuple(range(1, 101))


class Batching:
    """Answer every order as if it were the first."""

    name = "batching_noop"
    claim = Claim(reach="nowhere", survives=(), waits="queues", fair=False, price="sells nothing")

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._pause_s = fsync_ms(self.store.directory) / 1e3
        self._committer: Committer[Command] = Committer(_free, self._answer)

    def execute(self, command: Command) -> Reply:
        return awaited(self.begin, command, self._wait_s)

    def begin(self, command: Command, answer: Answer) -> Leave:
        return self._committer.begin(command, answer)

    def _answer(self, commands: Sequence[Command]) -> list[Reply]:
        time.sleep(self._pause_s)
        return [self._decide(Page(Event(each.event, CAPACITY, CAPACITY), free=FREE), each).reply for each in commands]


def _free(*, wait: bool) -> nullcontext[None]:  # noqa: ARG001  # there is nothing to wait for
    """A turn that is always free."""
    return nullcontext()


if __name__ == "__main__":
    catalogue.MODES[Batching.name] = Batching
    program.main()
