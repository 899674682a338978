"""An event whose files could not be synced is not sold from any more, until somebody has looked at the disk.

When fsync fails, the system may have dropped what it could not write, and take the file for clean: the next fsync then
succeeds, and tells nothing. Whoever tries again sells what a power loss takes back. So nobody does: a mark is put
beside the journal, ``<event>.jsonl.stopped``, and whoever is inside next finds it before he decides. What was
acknowledged before is on disk, and can be looked at. ``repair`` takes the mark away when it has written the journal to
a new file.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from service.mode import NotWritten, Unknown
from service.stores import disk
from service.stores.disk import NotSynced

SUFFIX = ".stopped"
_HERE: set[str] = set()
"""The marks of this process, for a disk that takes none."""


def marks(directory: Path) -> list[Path]:
    """Return the marks in a directory."""
    return sorted(directory.glob(f"*.jsonl{SUFFIX}"))


def is_stopped(journal: Path) -> bool:
    """Tell whether the event with this journal is not sold from any more."""
    mark = f"{journal}{SUFFIX}"
    return os.access(mark, os.F_OK) or mark in _HERE


def check(journal: Path) -> None:
    """Raise ``NotWritten`` if the event with this journal is not sold from any more. Call it before anything new."""
    if is_stopped(journal):
        raise NotWritten(
            f"the event is not sold from any more, for {journal.name} could not be synced: nothing was done; "
            f"look after the disk, stop the service and repair the store"
        )


def lift(mark: Path) -> None:
    """Take a mark away."""
    disk.unlink(mark)
    disk.sync_names(mark.parent)
    _HERE.discard(str(mark))


def synced(descriptor: int, journal: Path) -> None:
    """Return when a journal is on disk. Raises ``Unknown``, and then nobody sells from its event any more."""
    try:
        disk.sync(descriptor)
    except OSError as error:
        raise unknown(journal, error) from error


def refused(journal: Path, error: OSError) -> NotWritten:
    """Return what to raise when the disk refused, and nothing has changed but what others had done before."""
    _mark(journal, error)
    return NotWritten(f"the ticket store cannot be written ({error.strerror}), so nothing was done")


def unknown(journal: Path, error: OSError) -> Unknown:
    """Return what to raise when the disk refused what may be there all the same."""
    _mark(journal, error)
    return Unknown(f"{journal.name} could not be synced ({error.strerror}), so nobody knows what of it is on disk")


def _mark(journal: Path, error: OSError) -> None:
    if not isinstance(error, NotSynced):
        return
    mark = f"{journal}{SUFFIX}"
    _HERE.add(mark)
    with contextlib.suppress(OSError):
        try:
            descriptor = disk.private(Path(mark), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return
        except OSError:
            disk.link(journal, Path(mark))  # where a new file has no room, a name of one that is there often has
            return
        try:
            disk.write_over(descriptor, f"fsync failed: {error.strerror}\n".encode())
        finally:
            os.close(descriptor)
