"""Who else may reach into a data directory: told, put right, or refused, before anybody sells from it.

An order's identifier is all that it takes to see and to cancel it, and journals are full of them: files are for their
owner alone. Whoever may put names into the directory could put a journal of their own there, so a directory that is
open to everybody for writing is refused. One in which others may look around, or members of its group may write, is
told of and no more: volumes of containers come so, and so does ``mkdir`` where the umask is 002.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from service.stores import disk
from service.stores.files import OURS
from service.stores.replay import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def told_of(directory: Path) -> list[str]:
    """Return a sentence if others may reach into a directory. Raises ``Refused`` if everybody may write there."""
    status = directory.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IWOTH:
        raise Refused(
            f"data directory {directory} can be written by everybody on this machine (mode {mode:03o}): "
            f"chmod 700 {directory}, or choose another directory"
        )
    told = []
    if status.st_uid not in {os.geteuid(), 0}:
        told.append(f"data directory {directory} belongs to another user ({status.st_uid}), who can change all of it")
    if mode & OTHERS:
        who = "members of its group can put files there" if mode & stat.S_IWGRP else "others can see its events"
        told.append(f"data directory {directory} has mode {mode:03o}, so {who}: chmod 700 {directory}")
    return told


def narrowed(directory: Path) -> list[str]:
    """Let our files be for their owner alone, and return a sentence for each that is not ours to change.

    Raises ``OSError`` for a link, a pipe or a device among them.
    """
    told = []
    for path, mode in _ours(directory):
        if not stat.S_ISREG(mode):
            raise _no_file(path, mode)
        if mode & OTHERS:
            try:
                disk.narrow(path)
            except PermissionError:
                told.append(f"{path} has mode {stat.S_IMODE(mode):03o} and belongs to another user: chmod 600 {path}")
    return told


def looked_at(directory: Path) -> tuple[list[str], list[str]]:
    """Return what is wrong, and what the next start puts right, without changing anything."""
    wrong, mendable = [], []
    for path, mode in _ours(directory):
        if not stat.S_ISREG(mode):
            wrong.append(f"{path} cannot be read ({_no_file(path, mode).strerror})")
        elif mode & OTHERS:
            mendable.append(f"{path.name} can be read by others (mode {stat.S_IMODE(mode):03o})")
    return wrong, mendable


def _ours(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield each of our files with its mode, and what stands in the place of one. Others may come and go meanwhile."""
    for path in sorted(directory.iterdir()):
        if OURS.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.lstat().st_mode


def _no_file(path: Path, mode: int) -> OSError:
    return disk.no_file(path, errno.ELOOP if stat.S_ISLNK(mode) else errno.ENXIO)
