"""The ticket store: one small JSON document an event, and beside it a journal of its changes.

``<event>.json`` is what a person can ``cat``; it always shows ``count``. ``<event>.jsonl`` is the truth: a line says
what changed, and the document can be made again from it (``recovery.py`` does so). The document also says how many
bytes of the journal it covers.

``write`` keeps this order, so that a crash at any point loses nothing and invents nothing:

1. The line goes to the journal. One that does not fit is taken back: a full disk shows while nothing has changed.
2. fsync of the journal. From here on the sale is durable.
3. The document is written over. It is not fsynced: after a power loss the journal has the line, and the checksum tells
   a document that did not arrive.

Whoever dies between 1 and 3 leaves a journal that is ahead of its document. The next one inside reads the document
*and* the lines behind it, and brings the document up to date before it decides, so no order of the dead is forgotten,
no version is given twice, and whoever looks afterwards sees no less than was told before.

Nothing is kept open or in memory between two calls, so a thousand events cost no more than one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.mode import Damaged, NotWritten
from service.rules import Command, Event, NoSuchEvent, NoSuchOrder, Order, Page
from service.stores import journal
from service.stores.document import documents, overwrite, parsed, rendered, rewriting
from service.stores.order_index import OrderIndex
from service.stores.sealed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Files:
    """The two files of an event."""

    document: Path
    journal: Path


class JsonFile:
    """The store while it sells. ``recovery.prepare`` has claimed the directory and made it whole before the fork."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: dict[str, Files] = {}
        self._since: dict[str, int] = {}

    def open(self) -> None:
        self._files = {path.stem: Files(path, journal.path_of(path)) for path in documents(self.directory)}
        self._index = OrderIndex(self.directory, {name: files.journal for name, files in self._files.items()})
        self._index.catch_up_beside()

    def has(self, name: str) -> bool:
        """Tell whether there is an event of this name."""
        return name in self._files

    def read(self, command: Command) -> Page:
        files = self._files.get(command.event)
        try:
            return Page(self._current(files) if files else None)
        except OSError as error:  # nothing was decided yet
            raise not_written(error) from error

    def write(self, page: Page) -> None:
        self.write_all([page])

    def write_all(self, pages: Sequence[Page]) -> None:
        """Write pages of one event that follow each other: one write and one fsync for all of them, or none is done."""
        document, text = self._appended(pages)
        overwrite(document, text)

    def write_in_place(self, page: Page) -> None:
        """Write as the article does: truncate the document, then fill it. A reader in between finds nothing."""
        document, text = self._appended([page])
        with rewriting(document) as file:
            file.write(text)

    def look(self, name: str) -> Event | NoSuchEvent:
        files = self._files.get(name)
        return parsed(files.document)[0] if files else NoSuchEvent(name)

    def find(self, order: str) -> Order | NoSuchOrder:
        line = self._index.find(order)
        return _order(unseal(line)) if line else NoSuchOrder(order)

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        files = self._files.get(name)
        return journal.changes(files.journal, after) if files else NoSuchEvent(name)

    def _current(self, files: Files) -> Event:
        """Return the event as it stands, with its document and its journal fit to be written."""
        event, since, covered = parsed(files.document)
        if os.stat(files.journal).st_size != covered:  # noqa: PTH116  # half the time of Path.stat, with every order
            event, since, covered = _caught_up(files, event, since, covered)
        if covered >= journal.JOURNAL_BYTES_MAX:
            covered = journal.close(files.journal, since, event)
            since = event.version
            overwrite(files.document, rendered(event, since, covered))
            self._index.catch_up_beside()
        self._since[event.name] = since
        return event

    def _appended(self, pages: Sequence[Page]) -> tuple[Path, bytes]:
        """Make the changes durable in the journal; return the document, and its text that covers them."""
        lines = b"".join(map(line_of, pages))
        event = pages[-1].event
        assert event is not None  # noqa: S101  # line_of has raised else
        files = self._files[event.name]
        try:
            descriptor = journal.opened(files.journal)
        except OSError as error:
            raise not_written(error) from error
        try:
            try:
                size = journal.append(descriptor, lines)
            except OSError as error:
                raise not_written(error) from error
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return files.document, rendered(event, self._since[event.name], size)


def _caught_up(files: Files, event: Event, since: int, covered: int) -> tuple[Event, int, int]:
    """Return the event after the lines behind its document; cut off half a line that is left there."""
    with journal.appending(files.journal) as descriptor:
        size = os.fstat(descriptor).st_size
        if size < covered:
            # Somebody closed the full journal and died before the document said so; or it was cut off by force.
            began, length = journal.begun(files.journal)
            if not since < began.version == event.version:
                raise Damaged(f"{files.document.name} covers {covered} bytes of a journal that has {size}")
            since, covered = began.version, length
        *lines, rest = os.pread(descriptor, size - covered, covered).split(b"\n")
        for line in lines:
            change = unseal(line + b"\n")
            # A line that does not follow was written by someone whom nobody kept out. Here the last one to write the
            # document wins, as in any lost update; finding it is the load test's work, and recovery's.
            if change["version"] == event.version + 1:
                event = Event(event.name, event.capacity, change["count"], change["version"])
        if rest:
            os.ftruncate(descriptor, size - len(rest))
        # What the dead had not made durable, and what lookers cannot see yet, is so before anyone decides on it.
        os.fsync(descriptor)
    overwrite(files.document, rendered(event, since, size - len(rest)))
    return event, since, size - len(rest)


def line_of(page: Page, fence: int | None = None) -> bytes:
    """Return the line of the change on a page, with the fence of its writer where there is one (``fencing.py``)."""
    order = page.order
    if page.event is None or order is None:
        raise ValueError("only a page with a change on it can be written")
    return seal(
        {
            "version": order.version,
            "order": order.id,
            **({} if fence is None else {"fence": fence}),
            "event": order.event,
            "status": order.status,
            "quantity": order.quantity,
            "tickets": order.tickets,
            "count": order.count,
            "at": order.at,
            "buyer": order.buyer,
        }
    )


def _order(values: dict[str, Any]) -> Order:
    values.pop("fence", None)
    return Order(id=values.pop("order"), **values | {"tickets": tuple(values["tickets"])})


def not_written(error: OSError) -> NotWritten:
    """Return what to raise when the disk refused and nothing has changed."""
    return NotWritten(f"the ticket store cannot be written ({error.strerror}), so nothing was sold")
