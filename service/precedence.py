"""Who goes first in a worker: its main thread, which lets in and turns away, before threads that begin a request.

CPython runs one thread at a time, and one that lets go, as at every system call, comes back behind all the others that
want to go on. In a storm those are all threads of the pool. The main thread needs some seven system calls to take a
connection and turn it away, so it took 75 connections a second, and who was refused heard of it after seconds.
"""

from __future__ import annotations

import selectors
import threading

GIVE_WAY_S = 0.05
"""A thread gives way for so long at most: it is served late, and not never."""


class Precedence(selectors.EpollSelector):
    """A poller whose thread goes first: from what it finds until it looks again, others wait in ``give_way``."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Lock()
        self._mine = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Look what is ready, while others may go on."""
        self._let_go()
        found = super().select(timeout)
        self._mine = self._turn.acquire()
        return found

    def close(self) -> None:
        """Go first no more."""
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        if self._mine:
            self._mine = False
            self._turn.release()

    def give_way(self) -> None:
        """Wait until the main thread has done what it has found. One after the other goes on, and it may go between."""
        if self._turn.acquire(timeout=GIVE_WAY_S):
            self._turn.release()
