"""The article's ``multiprocessing.Lock``: semaphores that all workers inherit.

How it keeps others out: workers and their threads take turns at the POSIX semaphore of an event; the others sleep in
the kernel.
How far that reaches: the processes forked from the one that made it. It is made before the fork, for a worker that made
its own would share it with nobody; so there is a fixed number, and events that have the same one wait for each other.
What it leaves undone: nobody owns a semaphore, so nobody frees it when its holder is killed. From then on all orders of
these events wait until their deadline, until the service is started again.
"""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

from service.mode import Busy, Claim, Decide
from service.values import place_of

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile

LOCKS = 61


class ProcessLock:
    name = "process_lock"
    claim = Claim(
        reach="processes",
        survives=("power loss",),
        waits="sleeps in the kernel",
        fair=False,
        price="a killed holder blocks everyone until the service is started again",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s
        self._locks = [multiprocessing.get_context("fork").Lock() for _ in range(LOCKS)]

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        lock = self._locks[int(place_of(command.event), 16) % LOCKS]
        if not lock.acquire(timeout=self._wait_s):
            raise Busy(self._wait_s)
        try:
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page)
        finally:
            lock.release()
        return decision.reply
