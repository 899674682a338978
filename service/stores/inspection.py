"""Look through a store and change nothing: what is wrong in which file, where in it, and what is to be done.

A service may sell from it meanwhile: documents are read before their journals, which only grow.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import guard, stopped
from service.stores.document import parsed, read, seed_of
from service.stores.index_check import index_looked_at
from service.stores.journal import closed, closed_path, path_of
from service.stores.recovery import events, must_begin_nothing_else, must_not_be_half_a_copy
from service.stores.replay import Refused, first_of, follows, replayed
from service.stores.unfinished import between, older_copy
from service.values import EVENT_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from service.stores.document import Checkpoint
    from service.stores.replay import Replayed
    from service.stores.standing import Standing


@dataclass(slots=True)
class Inspected:
    """What was found, a sentence each: what is ``wrong``, and what the next start puts right by itself."""

    events: int = 0
    wrong: list[str] = field(default_factory=list)
    mendable: list[str] = field(default_factory=list)


def inspected(directory: Path) -> Inspected:
    """Look through all files of a store. Raises ``Refused`` if it is none."""
    found = Inspected()
    try:
        names = sorted(events(directory) | closed(directory).keys())
        for check in (must_not_be_half_a_copy, guard.told_of):
            try:
                check(directory)
            except Refused as error:
                found.wrong.append(str(error))
        if not names and not found.wrong:
            raise Refused(f"{directory} holds no event")
        for name in names:
            found.events += 1
            try:
                _event(directory, name, found)
            except OSError as error:
                found.wrong.append(f"{error.filename or name} cannot be read ({error.strerror})")
        found.wrong += [
            f"{mark}: a journal could not be synced: look after the disk, stop the service and repair the store"
            for mark in stopped.marks(directory)
        ]
        wrong, left = index_looked_at(directory)
        found.wrong += wrong
        found.mendable += left
        no_files, open_to_others = guard.looked_at(directory)
        found.wrong += [sentence for sentence in no_files if sentence not in found.wrong]
        found.mendable += open_to_others
    except OSError as error:
        raise Refused(f"data directory {directory} cannot be read ({error.strerror}: {error.filename})") from error
    return found


def _event(directory: Path, name: str, found: Inspected) -> None:
    if not EVENT_NAME.fullmatch(name):
        found.wrong.append(f"{directory / name}.json: an event's name has only a-z, 0-9 and '-', at most 64: rename it")
        return
    document = directory / f"{name}.json"
    journal, at = path_of(document), _said(document, found)
    if not journal.exists():
        if closed(directory).get(name) or at or (document.exists() and seed_of(read(document)) is None):
            found.wrong.append(f"{journal} is missing, and its event was sold from: restore it from a backup")
        return
    try:
        since = first_of(journal).since
        each = _journals(document, at, journal, since)
        if first_of(journal).since != since:  # it was closed meanwhile, and does not change any more
            each = _journals(document, at, closed_path(journal, since), since)
    except Damaged as error:
        each = Inspected(wrong=[f"{journal}, line 1 (byte 0): {error}: restore it from a backup"])
    found.wrong += each.wrong
    found.mendable += each.mendable


def _journals(document: Path, at: Checkpoint | None, journal: Path, since: int) -> Inspected:
    """Look through the journals of an event, of which ``journal`` is the last one, and began after ``since``."""
    found = Inspected()
    earlier = closed(document.parent).get(document.stem, [])
    if journal != path_of(document):
        earlier = [each for each in earlier if each[0] < since]
    elif older_copy(journal, earlier) or (earlier and earlier[-1][1].samefile(journal)):
        found.mendable.append(f"{journal.name}: it was being closed, and the next start goes on with that")
        journal, earlier = earlier[-1][1], earlier[:-1]
    else:
        try:
            between(journal, since, earlier)
        except Refused as error:
            found.wrong.append(str(error))
            return found
    before: Standing | None = None
    name = ""
    size = journal.stat().st_size  # before it is read: what comes meanwhile is no half line
    for path, covered in [*((path, sys.maxsize) for _, path in earlier), (journal, at.covered if at else 0)]:
        try:
            last = replayed(path, covered)
            follows(path, before, name)
        except (Refused, Damaged) as error:
            found.wrong.append(str(error))
            return found  # what comes behind it cannot be told
        before, name = last.standing, path.name
    try:
        _agree(document, at, journal, last, found, size)
    except Refused as error:
        found.wrong.append(f"{document} covers {at.covered if at else 0} bytes, and there {error}")
    try:  # who starts an event makes its journal first, so what is still there now was put there later
        must_begin_nothing_else(document, read(document) if document.exists() else b"", last.at.event)
    except Refused as error:
        found.wrong.append(str(error))
    return found


def _said(document: Path, found: Inspected) -> Checkpoint | None:
    """Return what the document says, if it says anything."""
    try:
        return parsed(document)
    except FileNotFoundError:
        found.mendable.append(f"{document.name} is missing: the next start makes it from the journal")
    except Damaged as error:
        if seed_of(read(document)) is None:
            found.wrong.append(f"{document}: {error}: start the service, or repair the store, to make it again")
    return None


def _agree(document: Path, at: Checkpoint | None, journal: Path, last: Replayed, found: Inspected, size: int) -> None:
    """Hold the document to its journal."""
    event = last.at.event
    if size > last.at.covered:
        found.mendable.append(
            f"{journal.name}: half a line from byte {last.at.covered} on, which the next start cuts off"
        )
    if at is None or (at.since < last.at.since and at.event.version <= event.version):  # it is of the journal before
        return
    if at.since > last.at.since or at.covered > last.at.covered or at.event.version > event.version:
        found.wrong.append(
            f"{document} covers {at.covered} bytes and version {at.event.version} of a journal that has "
            f"{last.at.covered} and {event.version}: acknowledged sales are missing; restore {journal.name}"
        )
        return
    there = last if at.covered == last.at.covered else replayed(journal, at.covered, until=at.covered)
    if (there.at.event, there.at.covered) != (at.event, at.covered):
        found.wrong.append(f"{document} is not what {journal.name} gives at byte {at.covered}: repair the store")
    elif at.covered < last.at.covered:
        found.mendable.append(f"{document.name} is at version {at.event.version}, its journal at {event.version}")
