"""The document of an event: the small file that a person can ``cat``, and a checkpoint of the journal beside it.

It is written over in place, at one fixed length, for it is written with every change: a new file that is renamed over
the old one costs as much as the fsync of the sale. Who reads at that very moment may get some bytes of each; the
checksum tells, and reading again gives the new ones.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import disk
from service.stores.sealed import seal, unseal
from service.stores.standing import CAPACITY_MAX
from service.values import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENT_BYTES = 320
"""More than the longest name and the greatest numbers take, and less than a sector of any disk."""
SUFFIX = ".json"
READS_MAX = 1000
"""How often a document is read again that others are writing over: each time the chance is below 1 in 100."""


def documents(directory: Path) -> list[Path]:
    """Return the paths of all documents in ``directory``, in the order of their names."""
    return sorted(directory.glob("*.json"))


def names(directory: Path, after: str, limit: int) -> list[str]:
    """Return the names of events behind ``after``, in their order, at most ``limit``."""
    # Not from ``documents``: a path for each takes five times as long, and anybody may ask.
    found = (name.removesuffix(SUFFIX) for name in os.listdir(directory) if name.endswith(SUFFIX))  # noqa: PTH208  # as said
    return heapq.nsmallest(limit, (name for name in found if name > after))


def overdue(directory: Path, now: float) -> Iterator[tuple[str, float]]:
    """Yield each event of which a hold has ended by ``now`` and is not swept, and when the first of them did."""
    for document in documents(directory):
        with contextlib.suppress(Damaged, OSError):  # somebody is writing it: the next time
            ends = parsed(document).ends
            if ends is not None and ends <= now:
                yield document.stem, ends


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a document says.

    ``covered`` is how many bytes it covers of the journal that begins after version ``since``; ``ends`` is when the
    first of the live holds ends, in seconds since the epoch.
    """

    event: Event
    since: int
    covered: int
    ends: float | None = None


def rendered(at: Checkpoint) -> bytes:
    """Return the document's text."""
    event = at.event
    text = seal(
        {
            "event": event.name,
            "capacity": event.capacity,
            "count": event.count,
            "version": event.version,
            "since": at.since,
            "journal": at.covered,
            "ends": at.ends,
        }
    )
    return text[:-1].ljust(DOCUMENT_BYTES - 1) + b"\n"


def parsed(document: Path) -> Checkpoint:
    """Return what a document says. Raises ``Damaged`` if it is not whole."""
    for _ in range(READS_MAX):
        text = read(document)
        try:
            return understood(text)
        except Damaged:
            if len(text) != DOCUMENT_BYTES:
                break
    raise Damaged(f"{document.name} does not hold one whole document but {len(text)} bytes: {text[:80]!r}") from None


def understood(text: bytes) -> Checkpoint:
    """Return what a document's text says. Raises ``Damaged``."""
    values = unseal(text.rstrip() + b"\n")
    try:
        event = Event(values["event"], values["capacity"], values["count"], values["version"])
        return Checkpoint(event, values["since"], values["journal"], values.get("ends"))
    except KeyError as error:
        raise Damaged(f"the document has no member {error}") from None


def seed_of(text: bytes) -> int | None:
    """Return ``count`` if ``text`` is exactly a document like the article's, ``{"count": 10}``."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    match pairs:
        case [("count", int(count))] if type(count) is int and 0 <= count <= CAPACITY_MAX:
            return count
    return None


def read(path: Path) -> bytes:
    """Return a small file's text."""
    descriptor = disk.private(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def overwrite(document: Path, text: bytes) -> None:
    """Write a rendered document over the one that is there, in one step and without cutting it off first."""
    descriptor = disk.private(document, os.O_WRONLY | os.O_CREAT)
    try:
        disk.write_over(descriptor, text)
    finally:
        os.close(descriptor)


def refill(document: Path, text: bytes) -> None:
    """Empty a document, and then fill it: who reads in between finds nothing."""
    descriptor = disk.private(document, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        disk.write(descriptor, text)
    finally:
        os.close(descriptor)


def replace(path: Path, text: bytes) -> None:
    """Put a file in place, durable before this returns: its bytes, then its name."""
    spare = _spare(path, text)
    with _gone_if_it_fails(spare):
        disk.rename(spare, path)
    disk.sync_names(path.parent)


def place(path: Path, text: bytes) -> None:
    """Put a file in place as ``replace`` does, but only where there is none. Raises ``FileExistsError``."""
    spare = _spare(path, text)
    try:
        disk.link(spare, path)
    finally:
        disk.unlink(spare)
    disk.sync_names(path.parent)


def _spare(path: Path, text: bytes) -> Path:
    """Return a file beside ``path`` that nobody else writes, with ``text`` on disk."""
    # By lot: in two containers that share the directory, processes have the same numbers. And never the name of one who
    # died within ``place``: it may be a second name of what is in use.
    spare = path.with_name(f"{path.stem}.{os.getpid()}-{secrets.randbits(64)}.tmp")
    descriptor = disk.private(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with _gone_if_it_fails(spare):
            while text:
                text = text[disk.write(descriptor, text) :]
            disk.sync(descriptor)
    finally:
        os.close(descriptor)
    return spare


@contextlib.contextmanager
def _gone_if_it_fails(spare: Path) -> Iterator[None]:
    """Leave no file behind that did not come to its place: while a disk is full, each order tries to make one."""
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError):
            disk.unlink(spare)
        raise
