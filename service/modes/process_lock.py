"""The article's ``multiprocessing.Lock``: one semaphore that all workers inherit.

How it keeps others out: workers and their threads take turns at one POSIX semaphore; the others sleep in the kernel.
How far that reaches: the processes forked from the one that made it. It is made before the fork, for a worker that made
its own would share it with nobody.
What it leaves undone: nobody owns a semaphore, so nobody frees it when its holder is killed. From then on every order
waits until its deadline, until the service is started again.
"""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

from service.mode import Busy, Claim, Decide

if TYPE_CHECKING:
    from service.rules import Command, Reply
    from service.stores.json_file import JsonFile


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
        self._lock = multiprocessing.get_context("fork").Lock()

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        if not self._lock.acquire(timeout=self._wait_s):
            raise Busy(self._wait_s)
        try:
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page)
        finally:
            self._lock.release()
        return decision.reply
