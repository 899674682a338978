"""Read a journal from its first line: every line must follow from the one before.

A right checksum, the event's own name, the next version, the count and the tickets that follow. Only lines that are
void by their fence (``fencing.py``) are passed over.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from service.mode import Damaged
from service.rules import Event
from service.stores import fencing
from service.stores.document import private
from service.stores.fencing import START, DoesNotFollow, Place
from service.stores.journal import begun, closed

if TYPE_CHECKING:
    from pathlib import Path

CAPACITY_MAX = 10_000_000


class Refused(Exception):
    """The data directory cannot be used. The message is one sentence that says why and what to do."""


def verified(journal: Path) -> None:
    """Read all journals of an event. Raises ``Refused`` where a line, or a journal, does not follow from the last."""
    before = None
    for _, path in [*closed(journal.parent).get(journal.stem, []), (0, journal)]:
        if path != journal and path.samefile(journal):
            continue  # of one who died after closing it and before beginning the next
        after, _, _ = replayed(path, sys.maxsize if path != journal else 0)
        first, _ = begun(path)
        if before is None and first.version:
            raise Refused(f"{path} goes on from version {first.version}, and what came before is missing: restore it")
        if before is not None and first != before:
            raise Refused(f"{path} does not go on from where the journal before it ends: restore it from a backup")
        before = after


def replayed(journal: Path, covered: int, *, after: tuple[Event, Place, int] | None = None) -> tuple[Event, Place, int]:
    """Return the event after the journal's last line that counts, the place there, and the number of bytes up to it.

    ``after`` is what this would be after so many bytes, if that is known. A last line that is not whole is what a
    crash left of a sale that nobody was told of, unless the document, which is written after the line, covers it.
    """
    event, place, size = after or (None, START, 0)
    position = size
    with os.fdopen(private(journal, os.O_RDONLY), "rb") as lines:
        end = os.fstat(lines.fileno()).st_size
        lines.seek(size)
        for number, line in enumerate(lines, 1):
            try:
                place, change = fencing.after(place, line)
                if change is not None:
                    event = _next(event, change, journal.name.partition(".")[0])
                    size = position + len(line)
            except Damaged as error:
                whole = isinstance(error, DoesNotFollow)
                if position + len(line) == end and position >= covered and not whole:
                    break
                where = f"line {number} after byte {after[2]}" if after else f"line {number}"
                raise Refused(
                    f"{journal}, {where} (byte {position}): {error}; this store cannot be trusted to sell: restore "
                    f"it from a backup, or start anew in an empty directory"
                ) from None
            position += len(line)
    if event is None:
        raise Refused(f"{journal} has no first line that says how many tickets there are: restore it from a backup")
    return event, place, size


def _next(event: Event | None, change: dict[str, Any], name: str) -> Event:
    """Return the event after a change. Raises ``DoesNotFollow``."""
    try:
        if change["event"] != name:
            raise DoesNotFollow(f"it belongs to the event {change['event']!r}")
        return _opened(change) if event is None else _followed(event, change)
    except (KeyError, TypeError) as error:
        raise DoesNotFollow(f"a member is missing or of the wrong kind ({error})") from None


def _opened(change: dict[str, Any]) -> Event:
    version, capacity, count = change["version"], change.get("capacity"), change["count"]
    goes_on = change["status"] == "continued" and version >= 1
    begins = goes_on or (version == 0 and count == capacity)
    if not begins or type(capacity) is not int or not 0 <= count <= capacity <= CAPACITY_MAX:
        raise DoesNotFollow(f"it has version {version} and {count} of {capacity} tickets, which is no beginning")
    return Event(change["event"], capacity, count, version)


def _followed(event: Event, change: dict[str, Any]) -> Event:
    version, count, quantity = change["version"], change["count"], change["quantity"]
    if version != event.version + 1:
        twice = version <= event.version
        why = "twice: two sales did not keep each other out" if twice else "too early"
        raise DoesNotFollow(f"version {version} comes {why}")
    if count != event.count - quantity or count < 0 or quantity < 1:
        raise DoesNotFollow(f"{quantity} tickets of {event.count} were sold and {count} are said to be left")
    first = event.capacity - event.count + 1
    if change["tickets"] != list(range(first, first + quantity)):
        raise DoesNotFollow(f"the {quantity} tickets sold are not those from {first}")
    return Event(event.name, event.capacity, count, version)
