"""``fcntl.lockf`` around each order, with a mutex before it.

How it keeps others out: a record lock belongs to a *process*. The kernel gives it to one process at a time, and to all
threads of that process alike. So threads take a mutex first, and only who has it asks for the lock.
How far that reaches: all processes and threads that use this directory. The kernel frees the lock when a process dies.
What it leaves undone: nobody queues, and a paused holder keeps it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.mode import Busy, Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile

POLL_S = 0.002


class RecordLock:
    name = "record_lock"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "power loss"),
        waits="polls",
        fair=False,
        price="pays for polling, and two locks for every order",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._making = threading.Lock()
        self._mutexes: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._files: dict[str, int] = {}

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        with self._inside(command.event):
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page)
        return decision.reply

    @contextmanager
    def _inside(self, event: str) -> Iterator[None]:
        deadline = time.monotonic() + self._wait_s
        with self._making:
            mutex = self._mutexes[event]
        if not mutex.acquire(timeout=self._wait_s):
            raise Busy(self._wait_s)
        try:
            file = self._file(event)
            while not _locked(file):
                if time.monotonic() > deadline:
                    raise Busy(self._wait_s)
                time.sleep(POLL_S)
            try:
                yield
            finally:
                fcntl.lockf(file, fcntl.LOCK_UN)
        finally:
            mutex.release()

    def _file(self, event: str) -> int:
        # Never closed: to close *any* descriptor of a file gives up all record locks of the process on that file.
        if event not in self._files:
            path = self.store.directory / f"{event}.record"
            self._files[event] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._files[event]


def _locked(file: int) -> bool:
    # Never F_SETLKW: the kernel looks for deadlocks among processes, and takes two threads that wait in two processes
    # for two events, which is none, for one.
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
