"""A mutex for each event in each worker.

How it keeps others out: threads of one process take turns; the others sleep in the kernel until it is free.
How far that reaches: the threads of one process. Every worker is forked with a mutex of its own, and two workers never
meet at the same one.
What it leaves undone: other processes. With a second worker it is as good as no lock, and while gunicorn reloads the
first one (SIGHUP) there are two for a moment.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from service.each import Each
from service.mode import Busy, Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile


class ThreadLock:
    name = "thread_lock"
    claim = Claim(
        reach="threads",
        survives=("killed holder", "power loss"),
        waits="sleeps in the kernel",
        fair=False,
        price="protects one process only; a second worker, or a reload of the first, sells the same tickets again",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s
        self._locks = Each(lambda _: threading.Lock())

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        lock = self._locks[command.event]
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
