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
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.mode import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTER_BYTES = 8
FIRST = 1 << 10
"""The byte of number 0: far enough behind the counter that the two never touch."""
WAITERS_MAX = 4096
"""Most orders of a process that may wait at once, those included whom nobody waits for any more."""


class Turns:
    """The queue at one file. Make it in each worker, after the fork."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Each one holds a file open, those too whom nobody waits for any more: a quarter of what the process may open.
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._room = threading.Semaphore(min(WAITERS_MAX, max(files // 4, 1)))
        os.close(self._opened())

    @contextmanager
    def turn(self, wait_s: float | None) -> Iterator[int]:
        """Wait until all who came before have left, and let nobody past meanwhile. Yield the number.

        Raises ``Busy`` after ``wait_s`` seconds (``None``: never; 0: at once, without having waited), or at once where
        too many wait already; who was behind moves up at once.
        """
        if not self._room.acquire(blocking=False):
            raise Busy(0.0)
        # An open file description of its own: threads that shared one would share its locks.
        place = self._opened()
        asleep: Future[None] | None = None
        try:
            number = _take_number(place)
            free = _none_before(place, number)
            if not free and wait_s is None:
                _sleep(place, number)
                free = True
            elif not free and wait_s:
                asleep = _asleep(place, number)
                free = _done(asleep, wait_s)
            if not free:
                raise Busy(wait_s or 0.0)
            yield number
        finally:
            if asleep is None or asleep.done():
                self._leave(place)
            else:
                # Who sleeps there still holds the file; the byte, for which others wait, is given back now.
                _lock(place, fcntl.F_UNLCK, FIRST + number, 1)
                asleep.add_done_callback(lambda _: self._leave(place))

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _leave(self, place: int) -> None:
        os.close(place)
        self._room.release()


def _take_number(place: int) -> int:
    """Take the next number and lock its byte, before anyone can take the one after it."""
    _lock(place, fcntl.F_WRLCK, 0, COUNTER_BYTES, wait=True)
    number = int.from_bytes(os.pread(place, COUNTER_BYTES, 0), "big")
    os.pwrite(place, (number + 1).to_bytes(COUNTER_BYTES, "big"), 0)
    _lock(place, fcntl.F_WRLCK, FIRST + number, 1)
    _lock(place, fcntl.F_UNLCK, 0, COUNTER_BYTES)
    return number


def _none_before(place: int, number: int) -> bool:
    """Tell whether all lower bytes are free."""
    try:
        if number:
            _lock(place, fcntl.F_RDLCK, FIRST, number)
    except BlockingIOError:
        return False
    return True


def _sleep(place: int, number: int) -> None:
    """Return when all lower bytes are free."""
    _lock(place, fcntl.F_RDLCK, FIRST + number - 1, 1, wait=True)
    _lock(place, fcntl.F_RDLCK, FIRST, number, wait=True)


def _asleep(place: int, number: int) -> Future[None]:
    """Sleep in another thread; what is returned is done when all lower bytes are free.

    A thread that sleeps in fcntl cannot be woken at a deadline, so it is not the order's own that sleeps; and it is a
    daemon, so that a worker that ends need not wait for those whom nobody waits for any more.
    """
    free: Future[None] = Future()

    def sleep() -> None:
        try:
            _sleep(place, number)
        except OSError as error:
            free.set_exception(error)
        else:
            free.set_result(None)

    threading.Thread(target=sleep, name="turns", daemon=True).start()
    return free


def _done(asleep: Future[None], wait_s: float) -> bool:
    """Wait, at most so long, and tell whether it is done."""
    try:
        asleep.result(wait_s)
    except TimeoutError:
        return asleep.done()
    return True


def _lock(place: int, kind: int, start: int, length: int, *, wait: bool = False) -> None:
    """Lock or unlock bytes for this open file description. Raises ``BlockingIOError`` if they are not free."""
    # struct flock as the kernel has it: l_type, l_whence, l_start, l_len, l_pid (0 for these locks).
    request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(place, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
