"""One lock and one fsync for every order that is waiting.

How it keeps others out: the orders of a worker wait in a queue; one thread gets the file lock of their event
(``flock.py``), reads, decides all orders that wait by then, writes them with one fsync (``batch.py``), and answers
(``committer.py``). An order that finds nobody waiting does so itself.
How far that reaches: all processes and threads that use this directory on this machine. The kernel frees the lock of a
worker that dies.
What it leaves undone: a paused worker keeps its lock; a write that fails fails its whole batch.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from service.batch import commit
from service.committer import Committer
from service.each import Each
from service.flock import flock
from service.later import at_once, awaited
from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from pathlib import Path

    from service.commands import Command
    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile


class GroupCommit:
    name = "group_commit"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "power loss"),
        waits="queues",
        fair=False,
        price="fails together what was written together; a batch of one worker passes single orders of another",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        inside = partial(commit, self.store, self._decide)
        self._committers = Each(lambda event: Committer(partial(flock, self._path(event)), inside))

    def execute(self, command: Command) -> Reply:
        return awaited(self.begin, command, self._wait_s)

    def begin(self, command: Command, answer: Answer) -> Leave:
        if not self.store.has(command.event):
            return at_once(NoSuchEvent(command.event), answer)
        return self._committers[command.event].begin(command, answer)

    def _path(self, event: str) -> Path:
        return self.store.directory / f"{event}.flock"
