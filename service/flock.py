"""A file lock of the kernel, flock(2): exclusive across processes and threads, freed when its holder dies.

The file is opened for each turn, so that a thousand events hold no thousand files open, and never deleted: a deleted
name would let two holders lock two different files.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.mode import Busy, NotWritten

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def flock(path: Path, *, wait: bool) -> Iterator[None]:
    """Keep everybody else out: asleep in the kernel, which no deadline wakes, until it is free; or else ``Busy``."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NotWritten(f"{path.name} cannot be opened ({error.strerror}), so nothing was sold") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(0.0) from None
        yield
    finally:
        os.close(descriptor)
