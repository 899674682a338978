"""What happens to a data directory before anyone may sell from it: claim it, and make each event's two files agree.

The journal is the truth. Half a line at its end is cut off, and the document is brought up to date. Anything else that
does not fit is refused, with the file, the line and what to do, for a store that guesses is a store that sells twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import fencing
from service.stores import journal as journals
from service.stores.document import Checkpoint, private, read, rendered, replace, understood
from service.stores.fencing import LINE_BYTES_MAX
from service.stores.journal import CLOSED, appending, close, closed, opening, path_of
from service.stores.replay import Refused, Replayed, first_of, replayed, verified
from service.stores.sealed import unseal
from service.stores.standing import CAPACITY_MAX
from service.values import EVENT_NAME, Event

if TYPE_CHECKING:
    from pathlib import Path

    from service.stores.standing import Standing

SPARE = re.compile(rf"{EVENT_NAME.pattern}\.((\d+-\d+|json|jsonl)\.tmp|lease(\.(break|restore)\.\d+\.[0-9a-f]+)?)")
"""What a crash leaves behind: half a document, and the lease of a holder that was killed."""
READ_BYTES_MAX = 8 << 20
"""How much of the journals is read when the service starts: about a second. Beyond it, only what is new is read."""
NEW_EVENT = Event("default", capacity=100, count=100)


@dataclass(slots=True)
class Claimed:
    """A data directory that is ours until this process and all its children have ended."""

    directory: Path
    descriptor: int
    mended: list[str] = field(default_factory=list)
    """What had to be mended, one sentence each."""


def prepare(directory: Path, owner: str, *, verify: bool = False) -> Claimed:
    """Claim ``directory`` for ``owner`` and make every event in it whole. Raises ``Refused``.

    Journals are read from their first line as far as READ_BYTES_MAX goes, and then only from where their document
    says; with ``verify`` all of them are read, the closed ones too.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        claimed = Claimed(directory, _claim(directory, owner))
        try:
            _all_made_whole(claimed, verify=verify)
        except BaseException:
            os.close(claimed.descriptor)
            raise
    except OSError as error:
        raise Refused(f"data directory {directory} cannot be used ({error.strerror}: {error.filename})") from error
    return claimed


def _all_made_whole(claimed: Claimed, *, verify: bool) -> None:
    directory, earlier = claimed.directory, closed(claimed.directory)
    files = (path for kind in ("*.json", "*.jsonl") for path in directory.glob(kind))
    names = {path.stem for path in files if not CLOSED.fullmatch(path.name)} | earlier.keys()
    if not names:
        begin(directory / f"{NEW_EVENT.name}.json", NEW_EVENT)
    left = READ_BYTES_MAX
    for name in sorted(names or {NEW_EVENT.name}):
        if not EVENT_NAME.fullmatch(name):
            raise Refused(f"{directory / name}.json: an event's name has only a-z, 0-9 and '-', at most 64; rename it")
        document = directory / f"{name}.json"
        if verify and path_of(document).exists():
            verified(path_of(document))
        mended, read = _made_whole(document, left, earlier.get(name, []))
        claimed.mended += mended
        left -= read
    for path in (path for kind in ("*.tmp", "*.lease*") for path in directory.glob(kind)):
        if SPARE.fullmatch(path.name):  # nobody writes now, and nobody holds a lease
            path.unlink()


def _claim(directory: Path, owner: str) -> int:
    """Lock the directory. The kernel frees it when the last process that inherited the descriptor has ended."""
    descriptor = private(directory / "service.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another service"
        os.close(descriptor)
        raise Refused(
            f"data directory {directory} is in use by {holder}: stop it, or choose another directory"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{owner}\n".encode(), 0)
    return descriptor


def _made_whole(document: Path, left: int, earlier: list[tuple[int, Path]]) -> tuple[list[str], int]:
    """Make an event's document and journal agree. ``earlier`` are its closed journals.

    Return what had to be mended, one sentence each, and how many bytes were read, of which ``left`` are better not
    exceeded.
    """
    journal = path_of(document)
    text = read(document) if document.exists() else b""
    count = _seed(text)
    if not journal.exists():
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
        return [], 0
    length = journal.stat().st_size
    found, start = _replayed(journal, text, left)
    event, size = found.at.event, found.at.covered
    between = _between(journal, found.at.since, earlier)
    if count is not None and (event.version, event.capacity) != (0, count):
        raise Refused(
            f"{document} starts an event, but {journal.name} already records {event.version} changes of one: remove "
            f"the journal to start anew, or the document to go on from the journal"
        )
    mended = []
    if cut := length - size:
        with appending(journal) as descriptor:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        mended.append(f"{journal.name}: cut off the last {cut} bytes, half a line of a crash or what came too late")
    if found.place.fence:
        fencing.go_on_above(journal, found.place.fence)
    if text != rendered(found.at):
        _refuse_if_ahead(document, text, found.at)
        replace(document, rendered(found.at))
        mended.append(f"{document.name}: brought up to version {event.version} from the journal")
    # While they sell with fences, nobody may close it.
    if between or (found.place.fence and size >= journals.JOURNAL_BYTES_MAX):
        close(journal, found.standing or _standing(journal))
        new = replayed(journal, 0)
        replace(document, rendered(new.at))
    return mended, length - start


def _standing(journal: Path) -> Standing:
    standing = replayed(journal, 0).standing
    assert standing is not None  # noqa: S101  # it was read from its first line
    return standing


def _between(journal: Path, since: int, earlier: list[tuple[int, Path]]) -> bool:
    """Tell whether somebody died while closing the journal. Raises ``Refused`` where a closed one does not fit."""
    between = bool(earlier) and earlier[-1][1].samefile(journal)
    for began, path in earlier[: -1 if between else None]:
        if began >= since:
            raise Refused(
                f"{path} does not come before {journal.name}, so it is of an event that was started anew: remove "
                f"it, or restore the journal that belongs to it"
            )
    return between


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
    descriptor = private(journal, os.O_RDONLY)
    try:
        start = max(0, covered - LINE_BYTES_MAX)
        lines = os.pread(descriptor, covered - start, start).splitlines(keepends=True)
        last = unseal(lines[-1])
    except (Damaged, IndexError):
        return None
    finally:
        os.close(descriptor)
    return last.get("fence", 0) if (last.get("version"), last.get("count")) == (event.version, event.count) else None


def _seed(text: bytes) -> int | None:
    """Return ``count`` if ``text`` is exactly a document like the article's, ``{"count": 10}``."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    match pairs:
        case [("count", int(count))] if type(count) is int and 0 <= count <= CAPACITY_MAX:
            return count
    return None


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
