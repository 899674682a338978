"""All that an event has ever been, as pages in the order of its versions; and a digest of it.

A page has one change, with the answer that is kept for its idempotency key if there is one, or such an answer alone.
What does not fit in memory is sorted in a temporary file, which SQLite makes and removes.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from service.outcomes import Cancelled, Confirmed, Held, NoSuchEvent, Sold
from service.rules import Page
from service.stores.lines import change_of, lines_of, used_of
from service.stores.sealed import unseal
from service.values import Event, Order, Resized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from service.mode import Store
    from service.rules import Used
    from service.values import Change

PAGES_MAX = 500
"""Most pages that are written together."""


class Copied(Protocol):
    """A store that can be copied, or be the copy."""

    @property
    def store(self) -> Store:
        """For all that is read as ever."""

    def held(self) -> AbstractContextManager[None]:
        """Keep others from selling there, as far as it can be done. Raises ``Refused``."""

    def notes(self, name: str) -> Iterator[tuple[int, Used]]:
        """Yield the answers that are kept for idempotency keys and stand on no change's line, with the version then."""

    def filling(self) -> AbstractContextManager[None]:
        """Have an empty store, marked as incomplete: what an earlier copy left that did not come to its end is removed.

        Raises ``Refused`` if there is an event that is of no such copy.
        """

    def append(self, name: str, pages: list[Page]) -> None:
        """Write pages that follow each other."""

    def finish(self) -> None:
        """Take the mark away: the copy is whole."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What tells one event from another: its counters, how many changes and kept answers, and a digest of all of it."""

    event: Event
    changes: int
    answers: int
    text: str


def pages(source: Copied, name: str) -> Iterator[Page]:
    """Yield an event's pages. The first stands at the capacity that it began with, as far as that can be known."""
    with _temporary() as notes:
        notes.execute("CREATE TABLE notes (version INTEGER, number INTEGER PRIMARY KEY, line BLOB)")
        rows = (
            (version, lines_of(Page(_seen(name, version, used), used=used))) for version, used in source.notes(name)
        )
        notes.executemany("INSERT INTO notes (version, line) VALUES (?, ?)", rows)
        notes.execute("CREATE INDEX by_version ON notes (version, number)")
        event = Event(name, first_capacity(source, name), 0)
        event = replace(event, count=event.capacity)
        yield from _alone(notes, event, None)
        for line in _lines(source, name):
            said = unseal(line)
            change = change_of(said)
            capacity = change.capacity if isinstance(change, Resized) else event.capacity
            event = Event(name, capacity, change.count, change.version)
            used = used_of(said) if "key" in said else _kept_for(notes, change)
            yield Page(event, used=_with(used, change), changes=(change,))
            yield from _alone(notes, event, used)


def first_capacity(source: Copied, name: str) -> int:
    """Return how many tickets an event began with: its first change tells, and if it changed just that, a refusal.

    Where nobody was refused before it, with a key, what there was does not matter.
    """
    line = next(_lines(source, name), b"")
    if not line:
        event = source.store.look(name)
        assert isinstance(event, Event)  # noqa: S101  # it was among the names
        return event.capacity
    change = change_of(unseal(line))
    if not isinstance(change, Resized):
        return change.count + change.quantity
    refused = (getattr(used.reply, "event", None) for version, used in source.notes(name) if version == 0)
    return next((event.capacity for event in refused if isinstance(event, Event)), change.capacity)


def together(each: Iterable[Page]) -> Iterator[list[Page]]:
    """Yield pages as they can be written together: a resizing ends its batch, and a key comes once in one."""
    batch: list[Page] = []
    keys: set[str] = set()
    for page in each:
        if len(batch) == PAGES_MAX or (page.used and page.used.key in keys):
            yield batch
            batch, keys = [], set()
        batch.append(page)
        keys |= {page.used.key} if page.used else set()
        if any(isinstance(change, Resized) for change in page.changes):
            yield batch
            batch, keys = [], set()
    if batch:
        yield batch


def digest(source: Copied, name: str, since: float) -> Digest:
    """Return the digest of an event, read from its beginning to its end.

    Answers that were given before ``since`` are left out: their day is over, and a store may forget them meanwhile.
    """
    event = source.store.look(name)
    assert isinstance(event, Event)  # noqa: S101  # it was among the names
    changes, text = 0, sha256(repr(event).encode())
    with _temporary() as used:
        used.execute("CREATE TABLE used (key TEXT PRIMARY KEY, what TEXT) WITHOUT ROWID")
        for page in pages(source, name):
            for change in page.changes:
                changes += 1
                text.update(repr(change).encode())
            if (
                page.used and page.used.at >= since
            ):  # a key that was used again, after its day, answers for its last use
                used.execute("INSERT OR REPLACE INTO used VALUES (?, ?)", (page.used.key, repr(page.used)))
        answers = 0
        for (what,) in used.execute("SELECT what FROM used ORDER BY key"):
            answers += 1
            text.update(what.encode())
    return Digest(event, changes, answers, text.hexdigest())


def _kept_for(notes: sqlite3.Connection, change: Change) -> Used | None:
    """Return the answer that was kept with a change, of an engine that keeps it apart."""
    return next((used for used in _noted(notes, change.version) if _is_of(used, change)), None)


def _alone(notes: sqlite3.Connection, event: Event, told: Used | None) -> Iterator[Page]:
    """Yield a page for each answer that was kept at the version of ``event``, but for the one that stands there."""
    for used in _noted(notes, event.version):
        if told is None or (used.key, used.at) != (told.key, told.at):  # a day later it may be used again
            yield Page(event, used=used)


def _noted(notes: sqlite3.Connection, version: int) -> Iterator[Used]:
    for (line,) in notes.execute("SELECT line FROM notes WHERE version = ? ORDER BY number", (version,)):
        yield used_of(unseal(line))


def _lines(source: Copied, name: str) -> Iterator[bytes]:
    lines = source.store.changes(name, 0)
    assert not isinstance(lines, NoSuchEvent)  # noqa: S101  # it was among the names
    return lines


def _is_of(used: Used, change: Change) -> bool:
    reply = used.reply
    about = reply.order if isinstance(reply, Sold | Held | Confirmed | Cancelled) else None
    return about == change and used.at == change.at


def _with(used: Used | None, change: Change) -> Used | None:
    """Return what a key was used for, about the very change that it stands with: so the two are written as one."""
    reply = used.reply if used else None
    if used and isinstance(reply, Sold | Held | Confirmed | Cancelled) and isinstance(change, Order):
        return replace(used, reply=type(reply)(change))
    return used


def _seen(name: str, version: int, used: Used) -> Event:
    """Return the event that a kept answer speaks of; where it speaks of an order, only its version matters."""
    event = getattr(used.reply, "event", None)
    return event if isinstance(event, Event) else Event(name, 0, 0, version)


@contextmanager
def _temporary() -> Iterator[sqlite3.Connection]:
    """Have a database of SQLite in a file of its own, which is gone at the end."""
    database = sqlite3.connect("", isolation_level=None)
    try:
        database.execute("BEGIN")
        yield database
    finally:
        database.close()
