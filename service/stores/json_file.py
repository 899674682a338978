"""The ticket store: one small JSON document an event, and beside it a journal of its changes.

``<event>.json`` is what a person can ``cat``; it always shows ``count``. ``<event>.jsonl`` is the truth: a line says
what changed, and the document can be made again from it (``recovery.py`` does so). The document also says how many
bytes of the journal it covers.

``write`` keeps this order, so that a crash at any point loses nothing and invents nothing:

1. The line goes to the journal. One that does not fit is taken back: a full disk shows while nothing has changed.
2. fsync of the journal. From here on the sale is durable.
3. The document is written over. It is not fsynced: after a power loss the journal has the line, and the checksum tells
   a document that did not arrive.

Whoever dies between 1 and 3 leaves a journal that is ahead of its document. The next one inside has read the lines
behind it, and brings the document up to date before it decides, so no order of the dead is forgotten, no version is
given twice, and whoever looks afterwards sees no less than was told before.

What a worker knows of an event (``following.py``) is read from the journal once, and then only what is new.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.mode import Damaged, Unknown
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.rules import Page
from service.stores import disk, journal
from service.stores.disk import NotSynced
from service.stores.document import Checkpoint, documents, names, overdue, overwrite, parsed, place, refill, rendered
from service.stores.followed import Followed
from service.stores.following import Following
from service.stores.lines import lines_of_all
from service.stores.order_index import OrderIndex
from service.stores.pages import found, page_for
from service.stores.stopped import check, refused, unknown
from service.stores.tickets import Tickets
from service.values import EVENT_NAME, Event, Order, TicketMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from service.commands import Command

TICK_NS = 10**9  # more than a step of the clock that dates a directory: within one, changes leave one time


@dataclass(frozen=True, slots=True)
class Files:
    """The two files of an event."""

    document: Path
    journal: Path


class JsonFile:
    """The store while it sells. ``recovery.prepare`` has claimed the directory and made it whole before the fork."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.believed: Mapping[str, Checkpoint] = {}
        """What documents said at the start whose journals were not read from their first line."""
        self._files: dict[str, Files] = {}
        self._followed = Followed()
        self._looked = 0

    def open(self) -> None:
        self._files = {path.stem: Files(path, journal.path_of(path)) for path in documents(self.directory)}
        self._index = OrderIndex(self.directory, {name: files.journal for name, files in self._files.items()})
        self._index.catch_up_beside()
        self._tickets = Tickets()

    def has(self, name: str) -> bool:
        """Tell whether there is an event of this name."""
        return self._files_of(name) is not None

    def create(self, name: str, capacity: int) -> bool:
        """Make an event that is called so, and tell whether it was not there before, of any capacity."""
        files = self._at(name)
        check(files.journal)
        try:
            try:
                place(files.journal, journal.opening(Event(name, capacity, capacity)))
            except FileExistsError:  # who made it and died may have left it without a document, or its name unsynced
                disk.sync_names(self.directory)
            with journal.appending(files.journal) as descriptor:
                known = Following(descriptor)
            place(files.document, rendered(known.checkpoint()))
        except FileExistsError:
            return False
        except NotSynced as error:
            raise unknown(files.journal, error) from error
        except OSError as error:
            raise refused(files.journal, error) from error
        return known.standing.event.capacity == capacity

    def names(self, after: str, limit: int) -> list[str]:
        """Return the names of events behind ``after``, in their order, at most ``limit``."""
        return names(self.directory, after, limit)

    def read(self, command: Command) -> Page:
        page = self.page(command)
        if isinstance(page, Exception):
            raise page
        return page

    def page(self, command: Command) -> Page | Exception:
        """Return the page of a command, or why that alone cannot be read. Raises what concerns its whole event."""
        files = self._files_of(command.event)
        if files is None:
            return Page(None)
        known = self._followed.get(command.event)
        if known is None or not known.expected:  # else in the middle of a batch, where nothing can have come
            try:
                known = self._current(command.event, files)
            except OSError as error:  # nothing was decided yet
                raise refused(files.journal, error) from error
        with known.lock:
            return page_for(command, known, self._index, files.journal)

    def expect(self, page: Page) -> None:
        """Let the next command of this batch find what was decided, before ``write_all``. For who is alone inside."""
        if page.event:
            self._followed[page.event.name].expect(page)

    def take_back(self, name: str) -> None:
        """Forget what was expected, of which certainly nothing was written: the event stands as before."""
        self._followed.take_back(name)

    def forget(self, name: str) -> None:
        """Forget what was expected, and read again how the event stands."""
        self._followed.forget(name)

    def write(self, page: Page) -> None:
        self.write_all([page])

    def write_all(self, pages: Sequence[Page]) -> None:
        """Write pages of one event that follow each other: one write and one fsync for all of them, or none is done."""
        self._show(overwrite, *self._appended(pages))

    def write_in_place(self, page: Page) -> None:
        """Write as the article does: truncate the document, then fill it. A reader in between finds nothing."""
        self._show(refill, *self._appended([page]))

    def _show(self, write: Callable[[Path, bytes], None], document: Path, text: bytes) -> None:
        """Let the document say what is durable. Raises ``Unknown``: it is done, and who looks cannot see it yet."""
        try:
            write(document, text)
        except OSError as error:
            self.forget(document.stem)  # whoever is inside next writes the document before he decides
            raise Unknown(f"it is in the journal, but {document.name} cannot be written ({error.strerror})") from error

    def look(self, name: str) -> Event | NoSuchEvent:
        files = self._files_of(name)
        return parsed(files.document).event if files else NoSuchEvent(name)

    def tickets(self, name: str, first: int, last: int) -> TicketMap | NoSuchEvent:
        files = self._files_of(name)
        return self._tickets.look(files.document, files.journal, first, last) if files else NoSuchEvent(name)

    def overdue(self, now: float) -> Iterator[tuple[str, float]]:
        return overdue(self.directory, now)

    def find(self, order: str) -> Order | NoSuchOrder:
        if not self._index.knows(order):
            self._look_around()
        return found(self._index, order) or NoSuchOrder(order)

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        files = self._files_of(name)
        return journal.changes(files.journal, after) if files else NoSuchEvent(name)

    def _look_around(self) -> None:
        """Know the events that other workers have made since."""
        changed = self.directory.stat().st_mtime_ns
        if changed != self._looked:
            for path in documents(self.directory):
                self._files_of(path.stem)
            self._looked = changed if time.time_ns() - changed > TICK_NS else 0

    def _at(self, name: str) -> Files:
        document = self.directory / f"{name}.json"
        return Files(document, journal.path_of(document))

    def _files_of(self, name: str) -> Files | None:
        files = self._files.get(name)
        if files is None and EVENT_NAME.fullmatch(name) and self._at(name).document.exists():
            self._index.add(name, self._at(name).journal)  # another worker has made it
            files = self._files[name] = self._at(name)
        return files

    def _current(self, name: str, files: Files) -> Following:
        """Return how the event stands, with its document and its journal fit to be written."""
        at = os.stat(files.journal)  # noqa: PTH116  # half the time of Path.stat, with every order
        known = self._followed.known(name)
        if known is None or (known.file, known.read) != (at.st_ino, at.st_size):
            known = self._caught_up(name, files)
        if known.read - known.began >= max(journal.JOURNAL_BYTES_MAX, known.began):
            check(files.journal)  # whoever could not sync its name has left the journal as it was
            journal.close(files.journal, known.standing)
            known = self._caught_up(name, files)
            self._index.catch_up_beside()
        return known

    def _caught_up(self, name: str, files: Files) -> Following:
        """Return how the event stands when all there is was read, and its files are fit to be written."""
        try:
            return self._settled(name, files)
        except BaseException:
            self.forget(name)  # else the next one would take what was read for what is on disk and in the document
            raise

    def _settled(self, name: str, files: Files) -> Following:
        """Read what is new; cut off half a line that is left there; let the document say what the journal says."""
        check(files.journal)
        with journal.appending(files.journal) as descriptor:
            known = self._followed.of(name, descriptor, self.believed.get(name))
            with known.lock:
                said = parsed(files.document)
                size = known.catch_up_to_the_end(descriptor)
                at = known.checkpoint()
                if known.read > size or (said.since == at.since and said.covered > size):
                    covered = max(known.read, said.covered)
                    raise Damaged(f"{files.document.name} covers {covered} bytes of a journal that has {size}")
                if known.read < size:
                    disk.truncate(descriptor, known.read)
                if said == at:  # by whoever wrote the lines, when they were durable
                    return known
                # What the dead had not made durable, and lookers cannot see yet, is so before anyone decides on it.
                disk.sync(descriptor)
        if said.since != at.since:  # the journal may have its name by one who died before that was on disk
            disk.sync_names(self.directory)
        overwrite(files.document, rendered(at))
        return known

    def _appended(self, pages: Sequence[Page]) -> tuple[Path, bytes]:
        """Make what is new on the pages durable in the journal; return the document, and its text that covers it."""
        lines = lines_of_all(pages)
        event = pages[-1].event
        assert event is not None  # noqa: S101  # there would have been no lines
        files, known = self._files[event.name], self._followed[event.name]
        size = journal.record(files.journal, lines)
        with known.lock:
            known.wrote(size - len(lines), lines, pages)
            return files.document, rendered(Checkpoint(event, known.standing.since, size, known.standing.ends))
