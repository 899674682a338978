"""All that the store does to the disk: a function for each kind of step, and each does what the system does.

It stands in one place so that a test can record every step and build what a power loss may leave of them, and can let
any step fail. Nobody else in ``stores/`` opens a file for writing, writes, syncs or gives a name (a test holds that).
SQLite's file of closed journals is SQLite's own affair: a cache, that can be made again from the journals.

What a power loss may leave, by POSIX: of what was written to a file since its last ``sync`` any part, in any order, and
of the names that were given and taken since the last ``sync_names`` of their directory any. A file on disk without its
name is lost, and so is a name without its file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from service import watch

if TYPE_CHECKING:
    from pathlib import Path

NO_FILE = {
    errno.ELOOP: "it is a symbolic link, which is not followed: put the file itself there",
    errno.ENXIO: "it is no file, but a pipe, a socket or a device: remove it",
}
"""What is said of that which is not a file, in the system's words for the error."""


def private(path: Path, flags: int) -> int:
    """Open a file for the owner alone, and never through a symbolic link. Return its descriptor.

    A pipe or a device in its place is refused, and not waited for; of files, O_NONBLOCK changes nothing.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in NO_FILE:
            raise no_file(path, error.errno) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise no_file(path, errno.ENXIO)
    return descriptor


def no_file(path: Path, number: int) -> OSError:
    """Return what to raise where there is something else in the place of a file."""
    return OSError(number, NO_FILE[number], str(path))


def must_be_file(path: Path) -> None:
    """Raise ``OSError`` where a link or anything else but a file is, for what others open, who would follow it.

    Whoever may put a link there between this and their opening may put names in the directory: the owner alone.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            raise no_file(path, errno.ELOOP if stat.S_ISLNK(mode) else errno.ENXIO)


def whole(path: Path) -> bytes:
    """Return all of a file."""
    with os.fdopen(private(path, os.O_RDONLY), "rb") as file:
        return file.read()


def narrow(path: Path) -> None:
    """Let a file be for the owner alone that others could read. Raises ``PermissionError`` if it is not ours."""
    descriptor = private(path, os.O_RDONLY)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def write(descriptor: int, text: bytes) -> int:
    """Write where the descriptor stands, or at the end of a file that is open to append. Return how much went in."""
    return os.write(descriptor, text)


def write_over(descriptor: int, text: bytes) -> int:
    """Write over the beginning of a file. Return how much went in."""
    return os.pwrite(descriptor, text, 0)


def truncate(descriptor: int, size: int) -> None:
    """Make a file so long: what is behind it goes, what is missing is zeros."""
    os.ftruncate(descriptor, size)


class NotSynced(OSError):
    """Nobody knows what is on disk, and to try again would not tell (``stopped.py``)."""


def sync(descriptor: int) -> None:
    """Return when what was written to a file is on disk. Raises ``NotSynced``."""
    began = time.monotonic()
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise NotSynced(error.errno, error.strerror) from error
    watch.here.synced(time.monotonic() - began)


def sync_names(folder: Path) -> None:
    """Return when the names in a directory are on disk. Raises ``NotSynced``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def rename(path: Path, name: Path) -> None:
    """Give a file a name instead of the one it has, and instead of the file that has it, in one step."""
    os.replace(path, name)  # noqa: PTH105  # all steps are the system's own calls


def link(path: Path, name: Path) -> None:
    """Give a file one more name. Raises ``FileExistsError``."""
    os.link(path, name)


def unlink(path: Path) -> None:
    """Take a name from a file. Raises ``FileNotFoundError``."""
    os.unlink(path)  # noqa: PTH108  # as above


def make_folder(path: Path) -> None:
    """Make a directory for the owner alone, and those above it that are missing. Their names are on disk then."""
    if not path.parent.exists():
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):  # somebody else's folder: they have made this one in it
        sync_names(path.parent)  # one who was killed here may have made it, and not synced its name
