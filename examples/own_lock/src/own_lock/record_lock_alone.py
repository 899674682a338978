"""``fcntl.lockf`` around each order, and nothing else. It claims as much as ``record_lock``, and is wrong.

How it keeps others out: a record lock, which belongs to a process. Other processes wait.
Where it fails: threads of one process all have the lock that one of them took; and the first of them who closes the
file gives it up for all.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from service.mode import Busy, Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile

POLL_S = 0.002


class RecordLockAlone:
    name = "record_lock_alone"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "power loss"),
        waits="polls",
        fair=False,
        price="pays for polling",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        path = self.store.directory / f"{command.event}.record"
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600)) as file:
            self._wait_for(file.fileno())
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page)
        return decision.reply

    def _wait_for(self, file: int) -> None:
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(self._wait_s) from None
                time.sleep(POLL_S)
