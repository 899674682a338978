"""Take a number: first come, first served, across processes and threads of one machine.

Whoever comes takes the next number from a file, and locks the byte of that number in it with an open-file-description
lock (fcntl(2), ``F_OFD_SETLK``). Whoever has number n waits, asleep in the kernel, until all lower bytes are free:
first for the byte before its own, so that one who leaves wakes one, and then for all of them, because the one before
may have died while others before *it* were still there. The kernel frees the byte of a holder, and of a waiter, when it
dies, so the dead neither block anyone nor let anyone pass.

The file is never deleted: a deleted name would let two queues form. Numbers have 62 bits; at a million a second they
last for a hundred thousand years.
"""

from __future__ import annotations

import fcntl
import os
import resource
import struct
import threading
from typing import TYPE_CHECKING

from service.mode import Busy, NotWritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNTER_BYTES = 8
FIRST = 1 << 10
"""The byte of number 0: far enough behind the counter that the two never touch."""
WAITERS_MAX = 4096


def room() -> threading.Semaphore:
    """Return room for places: each holds a file open, and they are a quarter of what a process may open now."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return threading.Semaphore(WAITERS_MAX if files == resource.RLIM_INFINITY else min(WAITERS_MAX, max(files // 4, 1)))


ROOM = room()
"""For all places of this process in all queues. The service may open more files than it was started with, and makes it
anew then (``gunicorn_conf.py``)."""


class Place:
    """A place in the queue, under a number of its own."""

    __slots__ = ("_closed", "_descriptor", "_left", "_open", "number")

    def __init__(self, descriptor: int, left: Callable[[], None]) -> None:
        """``descriptor`` is the queue's file, opened for this place: two that shared it would share its locks."""
        self._descriptor = descriptor
        self._left = left
        self._open = threading.Lock()
        self._closed = False
        # The number's byte is locked before anyone can take the number after it.
        _lock(descriptor, fcntl.F_WRLCK, 0, COUNTER_BYTES, wait=True)
        self.number = int.from_bytes(os.pread(descriptor, COUNTER_BYTES, 0), "big")
        os.pwrite(descriptor, (self.number + 1).to_bytes(COUNTER_BYTES, "big"), 0)
        _lock(descriptor, fcntl.F_WRLCK, FIRST + self.number, 1)
        _lock(descriptor, fcntl.F_UNLCK, 0, COUNTER_BYTES)

    def first(self) -> bool:
        """Tell whether all who came before have left."""
        try:
            if self.number:
                _lock(self._descriptor, fcntl.F_RDLCK, FIRST, self.number)
        except BlockingIOError:
            return False
        return True

    def sleep(self) -> None:
        """Return when all who came before have left. Nothing wakes who sleeps here before that, no deadline either."""
        if self.number:
            _lock(self._descriptor, fcntl.F_RDLCK, FIRST + self.number - 1, 1, wait=True)
            _lock(self._descriptor, fcntl.F_RDLCK, FIRST, self.number, wait=True)

    def give_up(self) -> None:
        """Let those behind move up while somebody may still sleep here; ``leave`` is to follow when they wake."""
        with self._open:
            if not self._closed:
                _lock(self._descriptor, fcntl.F_UNLCK, FIRST + self.number, 1)

    def leave(self) -> None:
        """Give the place back, for good."""
        with self._open:  # else one who gives up might do it with another's file of the same number
            self._closed = True
            os.close(self._descriptor)
        self._left()


class Turns:
    """The queue at one file. Make it in each worker, after the fork."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> Place:
        """Take the next number.

        Raises ``Busy`` where too many of this process wait already, and ``NotWritten`` where the disk has no room.
        """
        if not ROOM.acquire(blocking=False):
            raise Busy(0.0)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            ROOM.release()
            raise self._not_taken(error) from error
        try:
            return Place(descriptor, ROOM.release)
        except BaseException as error:
            os.close(descriptor)
            ROOM.release()
            if isinstance(error, OSError):
                raise self._not_taken(error) from error
            raise

    def _not_taken(self, error: OSError) -> NotWritten:
        return NotWritten(f"no number can be taken from {self._path.name} ({error.strerror}), so nothing was done")


def _lock(place: int, kind: int, start: int, length: int, *, wait: bool = False) -> None:
    """Lock or unlock bytes for this open file description.

    Raises ``BlockingIOError`` if they are not free, and ``NotWritten`` where the kernel has no room for one more lock.
    """
    # struct flock as the kernel has it: l_type, l_whence, l_start, l_len, l_pid (0 for these locks).
    request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    try:
        fcntl.fcntl(place, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
    except BlockingIOError:
        raise
    except OSError as error:
        raise NotWritten(f"the queue cannot be locked ({error.strerror}), so nothing was done") from error
