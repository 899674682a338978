"""The ticket store: one small JSON document an event, and beside it a journal of its changes.

``<event>.json`` is what a person can ``cat``; it always shows ``count``. ``<event>.jsonl`` is the truth: a line says
what changed, and the document can be made again from it (``recovery.py`` does so). The document also says how many
bytes of the journal it covers.

``write`` keeps this order, so that a crash at any point loses nothing and invents nothing:

1. The new document goes to a spare file. A full disk shows here, while nothing has changed.
2. The line goes to the journal. A line that does not fit is taken back.
3. fsync of the journal. From here on the sale is durable.
4. The spare file is renamed over the document. It is not fsynced: after a power loss the journal has the line, and the
   checksum tells a document that did not arrive.

Whoever dies between 2 and 4 leaves a journal that is ahead of its document. The next one inside reads the document
*and* the lines behind it, and brings the document up to date before it decides, so no order of the dead is forgotten,
no version is given twice, and whoever looks afterwards sees no less than was told before.
"""

from __future__ import annotations

import math
import os
import re
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from service.mode import Damaged, NotWritten
from service.rules import Command, Event, NoSuchEvent, NoSuchOrder, Order, Page
from service.stores.document import documents, parsed, private, rendered, rewriting
from service.stores.sealed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ORDER_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class _Files:
    """An event's document, and the descriptor of its journal in this process."""

    document: Path
    journal: int


class JsonFile:
    """The store while it sells. ``recovery.prepare`` has claimed the directory and made it whole before the fork."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: dict[str, _Files] = {}

    def open(self) -> None:
        for document in documents(self.directory):
            # O_APPEND: even a mode that keeps nobody out never writes one line into the middle of another.
            journal = private(document.with_suffix(".jsonl"), os.O_RDWR | os.O_APPEND)
            self._files[document.stem] = _Files(document, journal)

    def read(self, command: Command) -> Page:
        files = self._files.get(command.event)
        if files is None:
            return Page(event=None)
        event, covered = parsed(files.document)
        size = os.fstat(files.journal).st_size
        if size != covered:
            event, size = _caught_up(event, files, covered, size)
            # What the dead had not made durable, and what lookers cannot see yet, is so before anyone decides on it.
            os.fsync(files.journal)
            spare = _spare(files.document)
            _overwrite(spare, rendered(event, size))
            spare.replace(files.document)
        return Page(event)

    def write(self, page: Page) -> None:
        self.write_all([page])

    def write_all(self, pages: Sequence[Page]) -> None:
        """Write pages of one event that follow each other: one write and one fsync for all of them, or none is done."""
        changes = [self._change(page) for page in pages]
        files, event, _ = changes[-1]
        lines = b"".join(line for _, _, line in changes)
        spare = _spare(files.document)
        try:
            _overwrite(spare, rendered(event, os.fstat(files.journal).st_size + len(lines)))
            _append(files.journal, lines)
        except OSError as error:
            spare.unlink(missing_ok=True)
            raise NotWritten(f"the ticket store cannot be written ({error.strerror}), so nothing was sold") from error
        os.fsync(files.journal)
        spare.replace(files.document)

    def write_in_place(self, page: Page) -> None:
        """Write as the article does: truncate the document, then fill it. A reader in between finds half a file."""
        files, event, line = self._change(page)
        _append(files.journal, line)
        os.fsync(files.journal)
        _overwrite(files.document, rendered(event, os.fstat(files.journal).st_size))

    def events(self) -> list[str]:
        """Return the names of all events."""
        return list(self._files)

    def look(self, name: str) -> Event | NoSuchEvent:
        files = self._files.get(name)
        return parsed(files.document)[0] if files else NoSuchEvent(name)

    def find(self, order: str) -> Order | NoSuchOrder:
        if ORDER_ID.fullmatch(order):
            # A quotation mark inside a buyer's name is escaped in JSON, so this finds the member and no other text.
            member = f'"order":"{order}"'.encode()
            for name in self._files:
                for line in self._lines(name):
                    if member in line:
                        return _order(unseal(line))
        return NoSuchOrder(order)

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        if name not in self._files:
            return NoSuchEvent(name)
        return (line for line in self._lines(name) if _version(line) > after)

    def _lines(self, name: str) -> Iterator[bytes]:
        with self._files[name].document.with_suffix(".jsonl").open("rb") as journal:
            for line in journal:
                if line.endswith(b"\n"):  # else somebody is writing it
                    yield line

    def _change(self, page: Page) -> tuple[_Files, Event, bytes]:
        if page.event is None or page.order is None:
            raise ValueError("only a page with a change on it can be written")
        values = asdict(page.order)
        line = seal({"version": values.pop("version"), "order": values.pop("id"), **values})
        return self._files[page.event.name], page.event, line


def _spare(document: Path) -> Path:
    """Return the thread's own spare file: two writers whom nobody kept apart would otherwise share one."""
    return document.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")


def _caught_up(event: Event, files: _Files, covered: int, size: int) -> tuple[Event, int]:
    """Return the event after the lines behind the document, and where they end; cut off half a line that is left."""
    if size < covered:
        raise Damaged(f"{files.document.name} covers {covered} bytes of a journal that has {size}")
    # From the newline before: two writers whom nobody kept apart both foretell where their line will end, and one is
    # wrong. What is left of the other's line is then passed over.
    _, *lines, rest = os.pread(files.journal, size - covered + 1, covered - 1).split(b"\n")
    for line in lines:
        change = unseal(line + b"\n")
        # A line that does not follow was written by someone whom nobody kept out. Here the last one to write the
        # document wins, as in any lost update; finding it is the load test's work, and recovery's.
        if change["version"] == event.version + 1:
            event = Event(event.name, event.capacity, change["count"], change["version"])
    if rest:
        os.ftruncate(files.journal, size - len(rest))
    return event, size - len(rest)


def _append(journal: int, lines: bytes) -> None:
    """Append ``lines``, all or none. Raises ``OSError`` if they do not fit."""
    start = os.fstat(journal).st_size
    written = os.write(journal, lines)
    if written < len(lines):
        # Half a line is no sale. Written again from its middle, it might share the journal with another's line.
        os.ftruncate(journal, start)
        raise OSError(0, "no room in the journal")


def _overwrite(path: Path, text: bytes) -> None:
    with rewriting(path) as file:
        file.write(text)


def _version(line: bytes) -> float:
    try:
        return float(unseal(line)["version"])
    except Damaged:
        return math.inf  # to be shown, whatever is asked for: whoever reads the journal is to see that it is damaged


def _order(values: dict[str, Any]) -> Order:
    return Order(id=values.pop("order"), **values | {"tickets": tuple(values["tickets"])})
