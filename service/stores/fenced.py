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

import contextlib
import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from service.mode import NotWritten
from service.outcomes import NoSuchEvent
from service.stores import disk, fencing, journal
from service.stores.document import Checkpoint, overwrite, parsed, rendered
from service.stores.fencing import CANCEL, Place
from service.stores.json_file import Files, JsonFile
from service.stores.lines import lines_of
from service.stores.stopped import check, is_stopped, refused, synced
from service.stores.tickets import Tickets
from service.values import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from service.rules import Page
    from service.stores.following import Following


class FencedJsonFile(JsonFile):
    """The store while it sells under leases."""

    def open(self) -> None:
        super().open()
        self._tickets = Tickets(to_the_end=True)

    def fence(self, event: str) -> int:
        """Take the next fence of an event. Call it when the lease was got, and before ``read``."""
        try:
            return fencing.take(self._at(event).journal)
        except OSError as error:
            raise refused(self._at(event).journal, error) from error

    def write(self, page: Page, fence: int = 0) -> None:
        """Write a page that was read under ``fence``. Raises ``NotWritten`` when others have gone on since."""
        self.write_all([page], fence)

    def write_all(self, pages: Sequence[Page], fence: int = 0) -> None:
        """Write one page: several could not be taken back together when the disk has no room for all."""
        self._show(overwrite, *self._appended(pages, fence))

    def look(self, name: str) -> Event | NoSuchEvent:
        files = self._files_of(name)
        return _seen(files) if files else NoSuchEvent(name)

    def _current(self, name: str, files: Files) -> Following:
        """Return how the event stands. Nothing is cut off and nothing is closed, for both would be late writes too."""
        check(files.journal)
        with journal.appending(files.journal) as descriptor:
            known = self._followed.of(name, descriptor, self.believed.get(name))
            with known.lock:
                before = known.counted
                known.catch_up(descriptor)
                at = _checkpoint(known)
            if known.counted == before and parsed(files.document) == at:
                return known
            disk.sync(descriptor)
        overwrite(files.document, rendered(at))
        return known

    def _appended(self, pages: Sequence[Page], fence: int = 0) -> tuple[Path, bytes]:
        (page,) = pages
        event = page.event
        lines = lines_of(page, fence).splitlines(keepends=True)
        assert event is not None  # noqa: S101  # lines_of has raised else
        files, known = self._files[event.name], self._followed[event.name]
        with _recording(files.journal) as descriptor, known.lock:
            for number, line in enumerate(lines):
                # One by one, for each may be settled differently. What counts before one that does not is right alone:
                # only a hold that had ended comes before another change.
                version = event.version - len(page.changes) + min(number, len(page.changes))
                try:
                    _check(files, known, descriptor, version, fence)
                    end = _put(descriptor, known, line)
                except OSError as error:
                    raise refused(files.journal, error) from error
                known.catch_up(descriptor, end)
                if known.counted != end:
                    raise _late()
            synced(descriptor, files.journal)
            return files.document, rendered(_checkpoint(known))


@contextlib.contextmanager
def _recording(path: Path) -> Iterator[int]:
    """Have a journal open to append to it. Raises ``NotWritten`` where it cannot be opened: nothing was done yet."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(journal.appending(path))
        except OSError as error:
            raise refused(path, error) from error
        yield descriptor


def _seen(files: Files) -> Event:
    """Return how the event stands, read on to the end of the journal: durable, before it is shown."""
    known = parsed(files.document)
    if os.stat(files.journal).st_size == known.covered:  # noqa: PTH116  # half the time of Path.stat, with every look
        return known.event
    descriptor = disk.private(files.journal, os.O_RDONLY)
    try:
        event = _read_on(descriptor, known)
        if event != known.event:
            if is_stopped(
                files.journal
            ):  # what came behind the document may not be on disk, and another sync would lie
                return known.event
            synced(descriptor, files.journal)
    finally:
        os.close(descriptor)
    return event


def _read_on(descriptor: int, at: Checkpoint) -> Event:
    """Return the event after the lines behind a document, which may be an old one. Raises ``Damaged``."""
    event = at.event
    place = Place(event.version, fencing.fence_before(descriptor, at.covered))
    text = os.pread(descriptor, os.fstat(descriptor).st_size - at.covered, at.covered)
    for part in text.split(b"\n")[:-1]:
        place, change = fencing.after(place, part + b"\n")
        if change and change["version"] == event.version + 1:
            event = Event(event.name, change.get("capacity", event.capacity), change["count"], change["version"])
    return event


def _checkpoint(known: Following) -> Checkpoint:
    """Return what the document is to say: it covers no line that may be void."""
    return replace(known.checkpoint(), covered=known.counted)


def _check(files: Files, known: Following, descriptor: int, version: int, fence: int) -> None:
    """Raise ``NotWritten`` if it is plain by now that a line decided on ``version`` would be void."""
    known.catch_up(descriptor)
    if version != known.standing.event.version or fence < max(known.place.fence, fencing.taken(files.journal)):
        raise _late()


def _put(descriptor: int, known: Following, line: bytes) -> int:
    """Append a line, and return where it ends. Raises ``OSError`` if it does not fit; half of it counts for nothing.

    Half a line that is there gets its end first. If the rest of it has come since, the end is a line that says nothing.
    """
    text = line if known.read == os.fstat(descriptor).st_size else CANCEL + line
    if disk.write(descriptor, text) < len(text):
        raise OSError(errno.ENOSPC, "no room in the journal")
    return os.lseek(descriptor, 0, os.SEEK_CUR)


def _late() -> NotWritten:
    return NotWritten("the lease had ended and another took over, so nothing was done")
