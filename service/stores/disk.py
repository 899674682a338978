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
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def private(path: Path, flags: int) -> int:
    """Open a file for the owner alone, and never through a symbolic link. Return its descriptor."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


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
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise NotSynced(error.errno, error.strerror) from error


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
