"""What happens to a data directory before anyone may sell from it: claim it, and make each event's two files agree.

The journal is the truth. Half a line at its end is cut off, and the document is brought up to date. Anything else that
does not fit is refused, with the file, the line and what to do, for a store that guesses is a store that sells twice.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import disk, fencing, guard, stopped
from service.stores import journal as journals
from service.stores.claim import claim, door, join
from service.stores.disk import NotSynced
from service.stores.document import Checkpoint, read, rendered, replace, seed_of, understood
from service.stores.fencing import LINE_BYTES_MAX
from service.stores.journal import CLOSED, appending, close, closed, opening, path_of
from service.stores.replay import Refused, Replayed, first_of, replayed, unusable, verified
from service.stores.sealed import unseal
from service.stores.standing import CAPACITY_MAX
from service.stores.unfinished import between, go_on, older_copy
from service.values import EVENT_NAME, Event

if TYPE_CHECKING:
    from pathlib import Path

    from service.stores.claim import Claimed
    from service.stores.standing import Standing

SPARE = re.compile(rf"{EVENT_NAME.pattern}\.((\d+-\d+|json|jsonl)\.tmp|lease(\.(break|restore)\.\d+\.[0-9a-f]+)?)")
"""What a crash leaves behind: half a document, and the lease of a holder that was killed."""
READ_BYTES_MAX = 8 << 20
"""How much of the journals is read when the service starts: about a second. Beyond it, only what is new is read."""
NEW_EVENT = Event("default", capacity=100, count=100)
INCOMPLETE = "incomplete"
"""The file that says that a copy was begun here and has not come to its end."""


def prepare(directory: Path, owner: str, *, verify: bool = False, shared: bool = False) -> Claimed:
    """Claim ``directory`` for ``owner`` and make every event in it whole. Raises ``Refused``.

    Journals are read from their first line as far as READ_BYTES_MAX goes, and then only from where their document
    says; with ``verify`` all of them are read, the closed ones too. Where others of this name sell already from what is
    ``shared``, it is whole.
    """
    try:
        disk.make_folder(directory)
        told = guard.told_of(directory)
        with door(directory) if shared else contextlib.nullcontext():
            claimed = join(directory, owner) if shared else claim(directory, owner)
            try:
                claimed.told += told + guard.narrowed(directory)
                if claimed.first:
                    _must_not_be_stopped(directory)
                    make_whole(claimed, verify=verify)
                if claimed.first and shared:
                    claimed.let_others_in()
            except BaseException:
                claimed.free()
                raise
    except OSError as error:
        raise unusable(directory, error) from error
    return claimed


def make_whole(claimed: Claimed, *, verify: bool) -> None:
    """Make every event in a claimed directory whole. Raises ``Refused``."""
    directory, earlier = claimed.directory, closed(claimed.directory)
    must_not_be_half_a_copy(directory)
    disk.sync_names(directory)  # one who gave a name may have been killed before it was on disk
    names = events(directory) | earlier.keys()
    if not names:
        begin(directory / f"{NEW_EVENT.name}.json", NEW_EVENT)
    left = sys.maxsize if verify else READ_BYTES_MAX
    for name in sorted(names or {NEW_EVENT.name}):
        if not EVENT_NAME.fullmatch(name):
            raise Refused(f"{directory / name}.json: an event's name has only a-z, 0-9 and '-', at most 64; rename it")
        document = directory / f"{name}.json"
        if path_of(document).exists() and older_copy(path_of(document), earlier.get(name, [])):
            go_on(path_of(document), earlier[name][-1][1])
        if verify and path_of(document).exists():
            verified(path_of(document))
        try:
            left -= _made_whole(claimed, document, left, earlier.get(name, []))
        except NotSynced as error:  # the next start would find the system thinking that all is on disk
            why = stopped.unknown(path_of(document), error)
            raise Refused(f"{why}: look after the disk, then run python -m service repair {directory}") from error
    for path in (path for kind in ("*.tmp", "*.lease*") for path in directory.glob(kind)):
        if SPARE.fullmatch(path.name):  # nobody writes now, and nobody holds a lease
            disk.unlink(path)
    disk.sync_names(directory)  # one that was there may be on disk only if whoever gave it was not killed right then


def _must_not_be_stopped(directory: Path) -> None:
    for mark in stopped.marks(directory):
        raise Refused(
            f"{mark}: a journal could not be synced, so what was written last may not be on disk: look after the disk, "
            f"then run python -m service repair {directory}"
        )


def must_not_be_half_a_copy(directory: Path) -> None:
    """Raise ``Refused`` where a copy was begun and not ended."""
    if (directory / INCOMPLETE).exists():
        raise Refused(f"data directory {directory} is a copy that has not come to its end: make it again")


def _begin(document: Path, count: int | None, earlier: list[tuple[int, Path]]) -> None:
    """Begin an event of which there is no journal, if its document says how many tickets it has."""
    journal = path_of(document)
    if earlier:
        raise Refused(
            f"{journal} is missing, but {earlier[-1][1].name} records sales of this event: restore the journal, or "
            f"remove {document.stem}.*.jsonl too to start anew"
        )
    if count is None:
        raise Refused(
            f'{document} starts no event: expected {{"count": 10}}, with a whole number from 0 to {CAPACITY_MAX}; '
            f"if it belongs to an event that was sold from, its {journal.name} is missing: restore that"
        )
    begin(document, Event(document.stem, count, count))


def events(directory: Path) -> set[str]:
    """Return the names of the events that have a document, or a journal that grows."""
    files = (path for kind in ("*.json", "*.jsonl") for path in directory.glob(kind))
    return {path.stem for path in files if not CLOSED.fullmatch(path.name)}


def _made_whole(claimed: Claimed, document: Path, left: int, earlier: list[tuple[int, Path]]) -> int:
    """Make an event's document and journal agree. ``earlier`` are its closed journals.

    Return how many bytes were read, of which ``left`` are better not exceeded.
    """
    journal = path_of(document)
    text = read(document) if document.exists() else b""
    if not journal.exists():
        _begin(document, seed_of(text), earlier)
        return 0
    length = journal.stat().st_size
    found, start = _replayed(journal, text, left)
    event, size = found.at.event, found.at.covered
    unfinished = between(journal, found.at.since, earlier)
    must_begin_nothing_else(document, text, event)
    if cut := length - size:
        with appending(journal) as descriptor:
            disk.truncate(descriptor, size)
            disk.sync(descriptor)
        claimed.mended.append(
            f"{journal.name}: cut off the last {cut} bytes, half a line of a crash or what came too late"
        )
    if found.place.fence:
        fencing.go_on_above(journal, found.place.fence)
    if text != rendered(found.at):
        _refuse_if_ahead(document, text, found.at)
        with appending(journal) as descriptor:
            disk.sync(descriptor)  # else a power loss could leave a document that knows more than its journal
        replace(document, rendered(found.at))
        claimed.mended.append(f"{document.name}: brought up to version {event.version} from the journal")
    # While they sell with fences, nobody may close it.
    if unfinished or (found.place.fence and size >= journals.JOURNAL_BYTES_MAX):
        close(journal, found.standing or _standing(journal))
        new = replayed(journal, 0)
        replace(document, rendered(new.at))
    elif found.standing is None:
        claimed.believed[event.name] = found.at
    return length - start


def must_begin_nothing_else(document: Path, text: bytes, event: Event) -> None:
    """Raise ``Refused`` where a document says how an event begins, and its journal has another, or has sold from it."""
    count = seed_of(text)
    if count is not None and (event.version, event.capacity) != (0, count):
        raise Refused(
            f"{document} starts an event, but {path_of(document).name} already records {event.version} changes of one: "
            f"remove the journal to start anew, or the document to go on from the journal"
        )


def _standing(journal: Path) -> Standing:
    standing = replayed(journal, 0).standing
    assert standing is not None  # noqa: S101  # it was read from its first line
    return standing


def _replayed(journal: Path, text: bytes, left: int) -> tuple[Replayed, int]:
    """Return what a journal says, and from where on it was read."""
    try:
        since = first_of(journal).since
        known = understood(text)
    except Damaged:  # of the journal: to be refused, with the line
        return replayed(journal, _covered(text)), 0
    if since != known.since:  # the document is of the journal before
        return replayed(journal, 0), 0
    if left < known.covered <= journal.stat().st_size:
        fence = _ends(journal, known.covered, known.event)
        if fence is not None:
            return replayed(journal, known.covered, after=(known, fence)), known.covered
    return replayed(journal, known.covered), 0


def _covered(text: bytes) -> int:
    try:
        return understood(text).covered
    except Damaged:
        return 0


def _ends(journal: Path, covered: int, event: Event) -> int | None:
    """Return the fence (0: none) of the line that ends there, if it is the one that made ``event`` what it is."""
    descriptor = disk.private(journal, os.O_RDONLY)
    try:
        start = max(0, covered - LINE_BYTES_MAX)
        lines = os.pread(descriptor, covered - start, start).splitlines(keepends=True)
        last = unseal(lines[-1])
    except (Damaged, IndexError):
        return None
    finally:
        os.close(descriptor)
    return last.get("fence", 0) if (last.get("version"), last.get("count")) == (event.version, event.count) else None


def begin(document: Path, event: Event) -> None:
    """Make the journal's first line, which says how many tickets there are, and then the document."""
    line = opening(event)
    replace(path_of(document), line)
    replace(document, rendered(Checkpoint(event, event.version, len(line))))


def _refuse_if_ahead(document: Path, text: bytes, at: Checkpoint) -> None:
    """Refuse a journal that is shorter than a document that it was on disk before: acknowledged sales are missing."""
    try:
        known = understood(text)
    except Damaged:
        return
    end = f"are missing; restore {document.stem}.jsonl, or remove the document to go on without them"
    if known.event.version > at.event.version:
        raise Refused(
            f"{document} knows version {known.event.version}, but the journal ends at {at.event.version}: acknowledged "
            f"sales {end}"
        )
    if known.since == at.since and known.covered > at.covered:  # a line that is no change has no version of its own
        raise Refused(
            f"{document} covers {known.covered} bytes, but the journal ends at {at.covered}: answers to retries {end}"
        )
