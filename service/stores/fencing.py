"""Which lines of a journal count, where a holder that has lost its lease may still write one.

Whoever takes the lease of an event takes a *fence* with it, a number higher than all that were taken before, and each
line that it writes carries the fence. A check of the fence before the write is not enough: the holder may be paused
between the two. A kernel lock around both would be kept by the one that is paused, and nobody else would get on. So the
journal decides. Lines are only ever added at its end, in one order that is the same for all, and what stands before a
line never changes. The rule, which everybody who reads a journal asks ``after`` for:

    A line with a fence is void if a higher fence is on a line before it, or if its version is not the next one (or the
    one there is, for a line that is no change).

So of two who decided on the same version, the one whose line comes first has sold, and the other has not, whoever of
them had the lease. (For lines that are written one at a time the version alone tells as much. The fence tells it before
anything is written: ``taken`` is higher as soon as another has the lease.)

Half a line, of one who was killed or whom the disk had no room for, cannot be cut off while others may be writing
behind it. Whoever writes next gives it an end that no line has, and one that had no time to see it is void with it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from service.mode import Damaged
from service.stores import disk
from service.stores.sealed import unseal

if TYPE_CHECKING:
    from pathlib import Path

CANCEL = b"\x18\n"
"""The end that half a line is given: ASCII's *cancel*, which JSON would have escaped."""
BEGINNING = b'{"version":'
FENCE = re.compile(rb',"fence":(\d+),')
"""The fence on a line. In a buyer's name it could not stand like this: the quotes would be escaped."""
LINE_BYTES_MAX = 1 << 13
"""More than the longest line: a hundred tickets and a buyer's name."""


@dataclass(frozen=True, slots=True)
class Place:
    """What has been read of a journal: the last version that counts, and the highest fence."""

    version: int
    fence: int = 0


START = Place(0)
NOTED = "noted"
"""What ``status`` says on a line that is no change: its version is the one there is, and not the next."""


class DoesNotFollow(Damaged):
    """A line is whole, but does not follow from the one before."""


def after(place: Place, line: bytes) -> tuple[Place, dict[str, Any] | None]:
    """Return the place after a line, and the change on it: none if the line is void. Raises ``Damaged``.

    A line without a fence is of a mode that keeps others out by other means: it counts, whether or not it follows.
    """
    try:
        change = unseal(line)
    except Damaged:
        return replace(place, fence=max(place.fence, _run_into(line))), None
    version, fence = change.get("version"), change.get("fence")
    if type(version) is not int or type(fence) not in {int, type(None)}:
        raise DoesNotFollow("a member is missing or of the wrong kind")
    if fence is None:
        return replace(place, version=version), change
    if change.get("status") == NOTED:
        void = fence < place.fence or version != place.version
        return replace(place, fence=max(place.fence, fence)), None if void else change
    if version > place.version + 1:
        # Nobody decided on a version that was not there: a line is missing.
        raise DoesNotFollow(f"version {version} comes too early")
    if fence < place.fence or version <= place.version:
        return replace(place, fence=max(place.fence, fence)), None
    return Place(version, fence), change


def _run_into(line: bytes) -> int:
    """Return the fence of a line that ran into half of another, and 0 for half a line that was given an end.

    Raises ``Damaged`` for anything else: a flipped bit makes neither.
    """
    if line.endswith(CANCEL):
        return 0
    start = line.rfind(BEGINNING)
    fence = unseal(line[start:]).get("fence") if start > 0 else None
    if type(fence) is not int:
        raise Damaged("not a whole line with a right checksum")
    return fence


def fence_before(descriptor: int, end: int) -> int:
    """Return the fence of the line that ends there, and 0 if it has none."""
    start = max(0, end - LINE_BYTES_MAX)
    found = FENCE.search(os.pread(descriptor, end - start, start).rpartition(BEGINNING)[2])
    return int(found[1]) if found else 0


def take(journal: Path) -> int:
    """Take the next fence of the event with this journal, without a lock that a paused process could keep.

    A byte is appended to a file, and where it stands is the number: one byte for each time that the lease was taken.
    """
    descriptor = disk.private(_counter(journal), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        if not disk.write(descriptor, b"."):
            raise OSError(0, "the byte was not written")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def taken(journal: Path) -> int:
    """Return the last fence that was taken."""
    return os.stat(_counter(journal)).st_size  # noqa: PTH116  # half the time of Path.stat, with every order


def go_on_above(journal: Path, fence: int) -> None:
    """Let the next fence be higher than ``fence``; the counter is not fsynced. Call it while nobody sells."""
    descriptor = disk.private(_counter(journal), os.O_WRONLY | os.O_CREAT)
    try:
        if os.fstat(descriptor).st_size < fence:
            disk.truncate(descriptor, fence)
    finally:
        os.close(descriptor)


def _counter(journal: Path) -> Path:
    return journal.with_suffix(".fence")
