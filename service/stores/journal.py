"""The journal of an event: one JSON line a change, in files of a bounded size.

``<event>.jsonl`` is the journal that grows. When it is full, whoever is inside closes it: it gets the name
``<event>.<since>.jsonl``, where ``since`` is the version before its first change (or the next number, if the journal
before it has that), and a new one is put in its place whose first line says how the event stood. A closed journal never
changes again. The first line of a journal that was never closed says how many tickets there are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from typing import TYPE_CHECKING, BinaryIO

from service.mode import Damaged, Unknown
from service.stores import disk, fencing
from service.stores.document import replace
from service.stores.fencing import NOTED, START
from service.stores.lines import CARRIED, carried
from service.stores.sealed import seal
from service.stores.standing import begun
from service.stores.stopped import refused, synced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.stores.numbers import Free
    from service.stores.standing import Standing
    from service.values import Event

JOURNAL_BYTES_MAX = 4 << 20
"""A journal with as much that is new is closed before the next change, or with as much as it began with: some 20,000
orders."""
NO_CHANGES = {"continued", CARRIED, NOTED}
"""What ``status`` says on lines that are no changes."""
CLOSED = re.compile(r"(.+)\.(\d{12,})\.jsonl")


def path_of(document: Path) -> Path:
    """Return the path of the journal beside a document."""
    return document.with_suffix(".jsonl")


def closed_path(journal: Path, since: int) -> Path:
    """Return the name of a journal once it is closed that began after version ``since``."""
    return journal.with_name(f"{journal.stem}.{since:012d}.jsonl")


def closed(directory: Path) -> dict[str, list[tuple[int, Path]]]:
    """Return the closed journals of each event that has any, oldest first, each with the version it begins after."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for match in (CLOSED.fullmatch(path.name) for path in directory.glob("*.*.jsonl")):
        if match:
            found.setdefault(match[1], []).append((int(match[2]), directory / match[0]))
    return {name: sorted(journals) for name, journals in found.items()}


def opening(
    event: Event, free: Free | None = None, since: int = 0, holds: int = 0, closed_bytes: int | None = None
) -> bytes:
    """Return the first line of a journal that begins when the event stands like this, and these tickets are free.

    Behind it come ``holds`` lines, one for each hold that is live: told here, for a line that is missing shows nowhere
    else, and its tickets would never come back. ``closed_bytes`` is how many bytes the journal before it has: answers
    that changed nothing have no version by which one of them would be missed.
    """
    values: dict[str, object] = {
        "version": event.version,
        "event": event.name,
        "status": "continued" if event.version else "opened",
        "capacity": event.capacity,
        "count": event.count,
    }
    if free:
        values |= {"since": since, "given": free.given, "returned": free.runs(), "holds": holds}
    if closed_bytes is not None:
        values["closed_bytes"] = closed_bytes
    return seal(values | {"at": time.time()})


def beginning(standing: Standing, closed_bytes: int | None = None) -> bytes:
    """Return how the journal begins that goes on from here: its first line, and one for each live hold."""
    event, holds = standing.event, standing.holds.values()
    first = opening(event, standing.free, standing.next_since, len(holds), closed_bytes)
    return first + b"".join(carried(hold, event.version) for hold in holds)


def close(journal: Path, standing: Standing) -> None:
    """Close a journal and put a new one in its place, which goes on from how the event stands.

    A crash after any step leaves a store that opens: first there are two names for one file, then one of them is
    replaced by the new journal, whose bytes are on disk by then.
    """
    name = closed_path(journal, standing.since)
    try:
        disk.link(journal, name)
    except FileExistsError:
        if not name.samefile(journal):  # else of one who died right after this step
            raise Damaged(f"{name.name} is there already and is another journal: it is of an event before") from None
    disk.sync_names(journal.parent)  # else the new journal might come to disk without this name, and all before be lost
    replace(journal, beginning(standing, name.stat().st_size))


def opened(journal: Path) -> int:
    """Open a journal to append to it. It is opened for each write: its name may mean a new file since the last one."""
    # O_APPEND: even a mode that keeps nobody out never writes one line into the middle of another.
    return disk.private(journal, os.O_RDWR | os.O_APPEND)


@contextlib.contextmanager
def appending(journal: Path) -> Iterator[int]:
    """Have a journal open to append to it."""
    descriptor = opened(journal)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def record(journal: Path, lines: bytes) -> int:
    """Append ``lines``, all or none, make them durable, and return the size after.

    Raises ``NotWritten`` if certainly none is there, and ``Unknown`` if nobody can say.
    """
    try:
        descriptor = opened(journal)
    except OSError as error:
        raise refused(journal, error) from error
    try:
        try:
            size = append(descriptor, lines)
        except OSError as error:
            raise refused(journal, error) from error
        synced(descriptor, journal)
        return size
    finally:
        os.close(descriptor)


def append(descriptor: int, lines: bytes) -> int:
    """Append ``lines``, all or none, and return the size after. Raises ``OSError`` if they do not fit.

    Raises ``Unknown`` if what was written of them cannot be taken back.
    """
    start = os.fstat(descriptor).st_size
    written = disk.write(descriptor, lines)
    if written < len(lines):
        # Half a line is no sale. Written again from its middle, it might share the journal with another's line.
        try:
            disk.truncate(descriptor, start)
        except OSError as error:
            raise Unknown("part of it was written and could not be taken back") from error
        raise OSError(errno.ENOSPC, "no room in the journal")
    # Not where it was to begin: somebody whom nobody kept out may have written in between.
    return os.lseek(descriptor, 0, os.SEEK_CUR)


def changes(journal: Path, after: int) -> Iterator[bytes]:
    """Yield the changes of an event with a version above ``after``, as the lines that record them."""
    with _opened(journal) as growing:  # before the closed ones are listed: else one closed in between would be missed
        begins = begun(growing.readline()).since
        growing.seek(0)
        earlier = [each for each in closed(journal.parent).get(journal.stem, []) if each[0] < begins]
        ends = [*(since for since, _ in earlier), begins][1:]
        for (_, path), end in zip(earlier, ends, strict=True):
            if end > after:
                with _opened(path) as file:
                    yield from _above(after, file)
        yield from _above(after, growing)


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(disk.private(path, os.O_RDONLY), "rb")


def _above(after: int, lines: BinaryIO) -> Iterator[bytes]:
    place = START
    for line in lines:
        if not line.endswith(b"\n"):  # somebody is writing it
            return
        try:
            place, change = fencing.after(place, line)
        except Damaged:
            yield line  # whatever is asked for: whoever reads the journal is to see that it is damaged
            continue
        if change and change["version"] > after and change.get("status") not in NO_CHANGES:
            yield line
