"""The ticket store for holders that may lose their lease unawares: it lets no late write in.

The files are those of ``JsonFile``. Each line carries the fence of its holder, and the journal decides which lines
count (``fencing.py`` has the rule). ``write`` keeps this order:

1. Check: a version that has been made by now, or a fence above one's own, ends it here, before anything was written.
   This is the usual end of a late write. Whoever is paused behind the check is met by the rule:
2. Append, and read back all that came into the journal since the check. What stands before one's own line never
   changes, so whether it counts is settled at this moment, for everybody and for ever. If it is void, nothing was sold.
3. fsync of the journal, and the document, as always.

Whoever is paused behind 2 and continued has sold, and may put an old document over a newer one. So nobody goes by the
document alone here: it says from where to read the journal, and who looks reads to the end, and makes durable what it
shows. A journal is not closed and no half line is cut off while somebody sells, for both would be late writes too:
``recovery.py`` does so at the next start.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.mode import Damaged, NotWritten
from service.rules import Command, Event, NoSuchEvent, Page
from service.stores import fencing, journal
from service.stores.document import overwrite, parsed, private, rendered
from service.stores.fencing import CANCEL, Place
from service.stores.json_file import Files, JsonFile, line_of, not_written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Standing:
    """How an event stands, read to the end of its journal."""

    event: Event
    place: Place
    since: int
    covered: int
    """Where the last line ends that counts."""
    whole: int
    """Where the last line ends. What stands behind it, if the journal is longer, is half a line."""
    size: int


@dataclass(frozen=True, slots=True)
class _Came:
    """What came to a journal: the place after it, the last change that counts, where this and the last line end."""

    place: Place
    change: dict[str, Any] | None
    counted: int
    whole: int


class FencedJsonFile(JsonFile):
    """The store while it sells under leases."""

    def fence(self, event: str) -> int:
        """Take the next fence of an event. Call it when the lease was got, and before ``read``."""
        try:
            return fencing.take(self._files[event].journal)
        except OSError as error:
            raise not_written(error) from error

    def read(self, command: Command) -> Page:
        files = self._files.get(command.event)
        if files is None:
            return Page(None)
        known, standing = _seen(files)
        if standing is None:
            return Page(known)
        if standing.event != known:
            overwrite(files.document, rendered(standing.event, standing.since, standing.covered))
        return Page(standing.event)

    def write(self, page: Page, fence: int = 0) -> None:
        """Write a page that was read under ``fence``. Raises ``NotWritten`` when others have gone on since."""
        self.write_all([page], fence)

    def write_all(self, pages: Sequence[Page], fence: int = 0) -> None:
        """Write one page: several could not be taken back together when the disk has no room for all."""
        overwrite(*self._appended(pages, fence))

    def look(self, name: str) -> Event | NoSuchEvent:
        files = self._files.get(name)
        if files is None:
            return NoSuchEvent(name)
        known, standing = _seen(files)
        return standing.event if standing else known

    def _appended(self, pages: Sequence[Page], fence: int = 0) -> tuple[Path, bytes]:
        (page,) = pages
        line = line_of(page, fence)
        event, order = page.event, page.order
        assert event is not None  # noqa: S101  # line_of has raised else
        assert order is not None  # noqa: S101  # as above
        files = self._files[event.name]
        with journal.appending(files.journal) as descriptor:
            try:
                standing = _checked(files, descriptor, event.version, fence)
                end = _put(descriptor, standing, line)
            except OSError as error:
                raise not_written(error) from error
            if not _counts(descriptor, standing, end, order.id):
                raise _late()
            os.fsync(descriptor)
        return files.document, rendered(event, standing.since, end)


def _seen(files: Files) -> tuple[Event, _Standing | None]:
    """Return what the document says, and how the event stands if its journal says more: durable, before it is shown."""
    known, since, covered = parsed(files.document)
    if os.stat(files.journal).st_size == covered:  # noqa: PTH116  # half the time of Path.stat, with every order
        return known, None
    descriptor = private(files.journal, os.O_RDONLY)
    try:
        standing = _stands(descriptor, known, since, covered)
        if standing.event != known:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return known, standing


def _stands(descriptor: int, known: Event, since: int, covered: int) -> _Standing:
    """Read on from where a document ends, which may be an old one."""
    size = os.fstat(descriptor).st_size
    if size < covered:
        raise Damaged(f"the document of {known.name} covers {covered} bytes of a journal that has {size}")
    place = Place(known.version, fencing.fence_before(descriptor, covered))
    came = _read_on(place, os.pread(descriptor, size - covered, covered), covered)
    event = known
    if came.change:
        event = Event(known.name, known.capacity, came.change["count"], came.change["version"])
    return _Standing(event, came.place, since, came.counted, came.whole, size)


def _read_on(place: Place, text: bytes, start: int) -> _Came:
    """Read what came to the journal from ``start`` on. Raises ``Damaged``."""
    last, counted, whole = None, start, start
    for part in text.split(b"\n")[:-1]:
        place, change = fencing.after(place, part + b"\n")
        whole += len(part) + 1
        if change:
            last, counted = change, whole
    return _Came(place, last, counted, whole)


def _checked(files: Files, descriptor: int, version: int, fence: int) -> _Standing:
    """Return how the event stands, unless it is plain by now that the line would be void."""
    standing = _stands(descriptor, *parsed(files.document))
    if version != standing.event.version + 1 or fence < max(standing.place.fence, fencing.taken(files.journal)):
        raise _late()
    return standing


def _put(descriptor: int, standing: _Standing, line: bytes) -> int:
    """Append a line, and return where it ends. Raises ``OSError`` if it does not fit; half of it counts for nothing.

    Half a line that is there gets its end first. If the rest of it has come since, the end is a line that says nothing.
    """
    text = line if standing.whole == standing.size else CANCEL + line
    if os.write(descriptor, text) < len(text):
        raise OSError(errno.ENOSPC, "no room in the journal")
    return os.lseek(descriptor, 0, os.SEEK_CUR)


def _counts(descriptor: int, standing: _Standing, end: int, order: str) -> bool:
    """Tell whether the line of ``order``, which ends there, counts after all that came since ``standing``."""
    text = os.pread(descriptor, end - standing.whole, standing.whole)
    came = _read_on(standing.place, text, standing.whole)
    return came.change is not None and (came.change["order"], came.counted) == (order, end)


def _late() -> NotWritten:
    return NotWritten("the lease had ended and another took over, so the order was not placed")
