"""The kernel's locks with a stop before each call, which says whether the call would have to wait."""

from __future__ import annotations

import fcntl
import os
import struct
from functools import partial
from typing import TYPE_CHECKING

from service import turns
from tests.scheduler import here, step

if TYPE_CHECKING:
    from pathlib import Path


def open_file(path: Path, flags: int, mode: int) -> int:
    """Open a file that is to be locked."""
    descriptor = os.open(path, flags, mode)
    if task := here():
        task.play.files[task.process].add(descriptor)
    return descriptor


def close_file(descriptor: int) -> None:
    """Close it, which gives its locks back. For the dead it is done by whoever ends them."""
    task = here()
    if task and task.dead:
        return
    step("unlocks")
    os.close(descriptor)
    if task:
        task.play.files[task.process].remove(descriptor)


def flock(descriptor: int, how: int) -> None:
    if how & fcntl.LOCK_NB:
        step("tries to lock")
    else:
        step("locks", partial(_free, descriptor))
    fcntl.flock(descriptor, how | fcntl.LOCK_NB)


def _free(descriptor: int) -> bool:
    """Tell whether flock(2) could be had, by taking it and giving it back: nobody else runs at this moment."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def free_path(path: str | Path) -> bool:
    """Tell whether flock(2) of a file could be had."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return _free(descriptor)
    finally:
        os.close(descriptor)


_TURN_WORDS = {
    (fcntl.F_WRLCK, True): "locks the counter of numbers",
    (fcntl.F_WRLCK, False): "locks its number",
    (fcntl.F_UNLCK, False): "unlocks the counter of numbers",
    (fcntl.F_RDLCK, False): "asks whether it is first",
    (fcntl.F_RDLCK, True): "waits for those before it",
}
_REAL_TURN_LOCK = turns._lock  # noqa: SLF001  # it is what the stop stands before


def turn_lock(place: int, kind: int, start: int, length: int, *, wait: bool = False) -> None:
    """Be ``turns._lock``, the real one, with a stop before it."""
    can = partial(could_lock, place, kind, start, length) if wait else lambda: True
    word = "gives its number up" if kind == fcntl.F_UNLCK and start else _TURN_WORDS[kind, wait]
    step(word, can)
    _REAL_TURN_LOCK(place, kind, start, length)


def could_lock(place: int, kind: int, start: int, length: int) -> bool:
    """Ask the kernel whether a lock could be had."""
    request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    answer = fcntl.fcntl(place, fcntl.F_OFD_GETLK, request)
    return bool(struct.unpack("hhqqi4x", answer)[0] == fcntl.F_UNLCK)
