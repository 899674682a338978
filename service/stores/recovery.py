"""What happens to a data directory before anyone may sell from it: claim it, and make each event's two files agree.

The journal is the truth. Half a line at its end is cut off, and the document is brought up to date. Anything else that
does not fit is refused, with the file, the line and what to do, for a store that guesses is a store that sells twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.rules import Event
from service.stores.document import private, rendered, rewriting
from service.stores.replay import CAPACITY_MAX, Refused, replayed
from service.stores.sealed import seal, unseal

if TYPE_CHECKING:
    from pathlib import Path

EVENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
SPARE = re.compile(rf"{EVENT_NAME.pattern}\.(\d+-\d+|json|jsonl)\.tmp")
NEW_EVENT = Event("default", capacity=100, count=100)


@dataclass(slots=True)
class Claimed:
    """A data directory that is ours until this process and all its children have ended."""

    directory: Path
    descriptor: int
    mended: list[str] = field(default_factory=list)
    """What had to be mended, one sentence each."""


def prepare(directory: Path, owner: str) -> Claimed:
    """Claim ``directory`` for ``owner`` and make every event in it whole. Raises ``Refused``."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        claimed = Claimed(directory, _claim(directory, owner))
        names = {path.stem for kind in ("*.json", "*.jsonl") for path in directory.glob(kind)}
        if not names:
            _begin(directory / f"{NEW_EVENT.name}.json", NEW_EVENT)
        for name in sorted(names or {NEW_EVENT.name}):
            if not EVENT_NAME.fullmatch(name):
                raise Refused(
                    f"{directory / name}.json: an event's name has only a-z, 0-9 and '-', at most 64; rename it"
                )
            claimed.mended += _made_whole(directory / f"{name}.json")
        for path in directory.glob("*.tmp"):
            if SPARE.fullmatch(path.name):  # of a write that a crash ended; nobody writes now
                path.unlink()
    except OSError as error:
        raise Refused(f"data directory {directory} cannot be used ({error.strerror}: {error.filename})") from error
    return claimed


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


def _made_whole(document: Path) -> list[str]:
    """Make an event's document and journal agree. Return what had to be mended, one sentence each."""
    journal = document.with_suffix(".jsonl")
    text = document.read_bytes() if document.exists() else b""
    count = _seed(text)
    if not journal.exists():
        if count is None:
            raise Refused(
                f'{document} starts no event: expected {{"count": 10}}, with a whole number from 0 to {CAPACITY_MAX}; '
                f"if it belongs to an event that was sold from, its {journal.name} is missing: restore that"
            )
        _begin(document, Event(document.stem, count, count))
        return []
    event, size = replayed(journal, _covered(text))
    if count is not None and (event.version, event.capacity) != (0, count):
        raise Refused(
            f"{document} starts an event, but {journal.name} already records {event.version} changes of one: remove "
            f"the journal to start anew, or the document to go on from the journal"
        )
    mended = []
    if cut := journal.stat().st_size - size:
        descriptor = private(journal, os.O_RDWR)
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
        os.close(descriptor)
        mended.append(f"{journal.name}: cut off the last {cut} bytes, half a line that a crash left behind")
    if text != rendered(event, size):
        _refuse_if_ahead(document, text, event)
        _replace(document, rendered(event, size))
        mended.append(f"{document.name}: brought up to version {event.version} from the journal")
    return mended


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


def _begin(document: Path, event: Event) -> None:
    """Make the journal's first line, which says how many tickets there are, and then the document."""
    opening = seal(
        {
            "version": 0,
            "event": event.name,
            "status": "opened",
            "capacity": event.capacity,
            "count": event.count,
            "at": time.time(),
        }
    )
    _replace(document.with_suffix(".jsonl"), opening)
    _replace(document, rendered(event, len(opening)))


def _covered(text: bytes) -> int:
    """Return how many bytes of the journal the document covers; none, if it is not whole."""
    try:
        covered: int = unseal(text)["journal"]
    except (Damaged, KeyError):
        return 0
    return covered


def _refuse_if_ahead(document: Path, text: bytes, event: Event) -> None:
    """Refuse a journal that is shorter than a document that it was on disk before: acknowledged sales are missing."""
    try:
        version = unseal(text)["version"]
    except Damaged:
        return
    if version > event.version:
        raise Refused(
            f"{document} knows version {version}, but the journal ends at {event.version}: acknowledged sales are "
            f"missing; restore {document.stem}.jsonl, or remove the document to go on without them"
        )


def _replace(path: Path, text: bytes) -> None:
    """Put a file in place, durable before this returns: its bytes, then its name."""
    spare = path.with_suffix(f"{path.suffix}.tmp")
    with rewriting(spare) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    spare.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
