"""Read a journal from its first line: every line must follow from the one before.

A right checksum, the event's own name, the next version, the count and the tickets that follow (``standing.py``). Only
lines that are void by their fence (``fencing.py``) are passed over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from service.mode import Damaged
from service.stores import disk, fencing
from service.stores.document import Checkpoint
from service.stores.fencing import NOTED, START, DoesNotFollow, Place
from service.stores.journal import closed
from service.stores.sealed import unseal
from service.stores.standing import Standing, begun
from service.values import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


WHAT_TO_DO = dict.fromkeys((errno.EACCES, errno.EPERM), f"let user {os.geteuid()} read and write there") | {
    errno.EROFS: "mount it so that it can be written to",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on the disk"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "remove what is in its place"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files"),
}
"""When the system says no; for all other reasons, to look after the disk."""


class Refused(Exception):
    """The data directory cannot be used. The message is one sentence that says why and what to do."""


def unusable(directory: Path, error: OSError) -> Refused:
    """Return what to raise where the system does not let the directory be used."""
    if error.errno in disk.NO_FILE:  # it says what to do
        todo = ""
    else:
        todo = f": {WHAT_TO_DO.get(error.errno or 0, 'look after the disk')}, or choose another directory"
    return Refused(f"data directory {directory} cannot be used ({error.strerror}: {error.filename or directory}){todo}")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a journal says. ``at.covered`` is where its last line ends that counts, ``place`` what was read there.

    ``standing`` is known if it was read from its first line.
    """

    at: Checkpoint
    place: Place
    standing: Standing | None


def verified(journal: Path) -> None:
    """Read all journals of an event. Raises ``Refused`` where a line, or a journal, does not follow from the last."""
    before: Standing | None = None
    earlier = ""
    for _, path in [*closed(journal.parent).get(journal.stem, []), (0, journal)]:
        if path != journal and path.samefile(journal):
            continue  # of one who died after closing it and before beginning the next
        after = replayed(path, sys.maxsize if path != journal else 0).standing
        follows(path, before, earlier)
        before, earlier = after, path.name


def follows(path: Path, before: Standing | None, earlier: str) -> None:
    """Raise ``Refused`` if a journal does not go on from how the one before it, called ``earlier``, ends."""
    first = first_of(path)
    if before is None and first.since:
        raise Refused(f"{path} goes on from version {first.since}, and what came before is missing: restore it")
    if before is not None and (first.since, first.event, first.free.runs()) != (
        before.next_since,
        before.event,
        before.free.runs(),
    ):
        raise Refused(
            f"{path} does not go on from where the journal before it ends ({earlier}): one of the two is not "
            f"as it was; restore both from a backup"
        )
    if before is not None and first.closed_bytes is not None:
        size = path.with_name(earlier).stat().st_size
        if size != first.closed_bytes:
            raise Refused(
                f"{path} goes on from {earlier}, which had {first.closed_bytes} bytes then and has {size}: "
                "restore it from a backup"
            )


def first_of(journal: Path) -> Standing:
    """Return how an event stood at the first line of its journal. Raises ``Damaged``."""
    with os.fdopen(disk.private(journal, os.O_RDONLY), "rb") as lines:
        return begun(lines.readline())


def replayed(
    journal: Path, covered: int, *, after: tuple[Checkpoint, int] | None = None, until: int = sys.maxsize
) -> Replayed:
    """Read a journal from its first line, or from where a document is known to be right: ``after``, with its fence.

    It is read as far as ``until``, in bytes.

    A last line, or write, that is not whole is what a crash left of changes that nobody was told of, unless the
    document, which is written after it, covers it. Raises ``Refused`` for anything else that does not follow.
    """
    name, standing = journal.name.partition(".")[0], None
    at = after[0] if after else None
    place = Place(at.event.version, after[1]) if after and at else START
    size = position = at.covered if at else 0
    with os.fdopen(disk.private(journal, os.O_RDONLY), "rb") as lines:
        lines.seek(size)
        for number, line in enumerate(_first(lines, until - size), 1):
            try:
                place, change = fencing.after(place, line)
                if not (at or standing):
                    standing = begun(line, name)  # also of one that would be void: a journal has no other beginning
                if change is not None:
                    at = _gone_on(at, standing, change) if position else at
                    size = position + len(line)
            except Damaged as error:
                whole = isinstance(error, DoesNotFollow)
                if position >= covered and not whole and _in_pieces(lines.fileno(), position):
                    break
                where = f"line {number} after byte {after[0].covered}" if after else f"line {number}"
                raise Refused(
                    f"{journal}, {where} (byte {position}): {error}; this store cannot be trusted to sell: restore "
                    f"it from a backup (a copy is to be made again), or start anew in an empty directory"
                ) from None
            position += len(line)
    if standing:
        if standing.lacks > 0:
            raise Refused(
                f"{journal} has no line for {standing.lacks} of the holds that its first line tells of: restore it"
            )
        at = Checkpoint(standing.event, standing.since, size, standing.ends)
    if at is None:
        raise Refused(f"{journal} has no first line that says how many tickets there are: restore it from a backup")
    return Replayed(Checkpoint(at.event, at.since, size, at.ends), place, standing)


def _first(lines: BinaryIO, length: int) -> Iterator[bytes]:
    """Yield the lines that begin within so many bytes."""
    for line in lines:
        if length <= 0:
            return
        yield line
        length -= len(line)


def _in_pieces(descriptor: int, start: int) -> bool:
    """Tell whether all that stands from a damaged line on may be of the last write alone, which came in pieces.

    A whole line behind it says where its write began. Before that is what was on disk, and acknowledged.
    """
    end = os.fstat(descriptor).st_size
    text = os.pread(descriptor, end - start, start)
    position = start + text.rfind(b"\n") + 1
    for part in reversed(text.split(b"\n")[:-1]):
        position -= len(part) + 1
        with contextlib.suppress(Damaged):
            behind = unseal(part + b"\n").get("behind", 0)
            return type(behind) is int and position - behind <= start
    return True


def _gone_on(at: Checkpoint | None, standing: Standing | None, change: dict[str, Any]) -> Checkpoint | None:
    """Go on by a change, on whichever of the two there is. Raises ``DoesNotFollow``."""
    if standing:
        standing.follow(change)
    return _light(at, change) if at else None


def _light(at: Checkpoint, change: dict[str, Any]) -> Checkpoint:
    """Go on by a change, without knowing which tickets are free. Raises ``DoesNotFollow``."""
    event = at.event
    try:
        status, version, count = change["status"], change["version"], change["count"]
        if version != event.version + (status != NOTED) or change["event"] != event.name:
            raise DoesNotFollow(f"version {version} comes after {event.version}")
        if status == NOTED:
            return at
        ends = change.get("expires_at")
        capacity = change["capacity"] if status == "resized" else event.capacity
        if status == "resized":
            more = capacity - event.capacity
        elif status in {"sold", "held"}:
            more = 0 if status == "sold" and ends else -change["quantity"]
        else:
            more = change["quantity"]
        if count != event.count + more or not 0 <= count <= capacity:
            raise DoesNotFollow(f"{count} tickets are said to be left of {event.count}, and {more} came")
    except (KeyError, TypeError) as error:
        raise DoesNotFollow(f"a member is missing or of the wrong kind ({error})") from None
    first = min(filter(None, (at.ends, ends if status == "held" else None)), default=None)
    return Checkpoint(Event(event.name, capacity, count, version), at.since, at.covered, first)
