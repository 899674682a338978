"""``filelock.FileLock`` around each order.

How it keeps others out: ``flock`` on a file beside its event. Whoever does not get it sleeps POLL_S and tries again.
How far that reaches: all processes and threads that use this directory on this machine. The kernel frees the lock when
its holder dies.
What it leaves undone: nobody queues, so a newcomer may pass one who has waited for long; a paused holder keeps it. The
lock file is never deleted: a deleted name would let two holders lock two different files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import filelock

from service.each import Each
from service.mode import Busy, Claim, Decide, NotWritten
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile

POLL_S = 0.005


class FileLock:
    name = "file_lock"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "power loss"),
        waits="polls",
        fair=False,
        price="pays for polling, and a waiter may be passed by others again and again",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._locks = Each(self._lock)

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        try:
            lock = self._locks[command.event].acquire(timeout=self._wait_s)
        except filelock.Timeout:
            raise Busy(self._wait_s) from None
        except OSError as error:
            raise NotWritten(f"the lock cannot be opened ({error.strerror}), so nothing was done") from error
        with lock:
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page)
        return decision.reply

    def _lock(self, event: str) -> filelock.BaseFileLock:
        return filelock.FileLock(self.store.directory / f"{event}.flock", mode=0o600, poll_interval=POLL_S)
