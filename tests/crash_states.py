"""What a power loss may leave: every step that a store takes at the disk, and the states that POSIX allows after each.

The method is that of ALICE (Pillai and others, OSDI 2014) and CrashMonkey (Mohan and others, OSDI 2018): run a workload
once, record its steps, and then build, for each moment, what may be on disk if the power goes at that moment.

A disk has names and files. What was written to a file is certain once the file was synced; until then each write may
have come whole, in pieces of any bytes, or not at all, and later ones without earlier ones: where a later one came and
what is before it did not, there are zeros. A name that was given or taken is certain once the directory was synced;
until then each may have come or not, and a rename may have given the new name without having taken the old one. Not
among the states: blocks that were of other files before, and bits that flip (tests of their own flip those).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


IGNORED = ("service.lock", "orders.sqlite")
"""Who holds the directory is the kernel's to know, and SQLite's file can be made again: neither is part of a state."""
PIECES_MAX = 2
"""Of one write, at most so many pieces come when it does not come whole."""
CORNERS_MAX = 8
"""Of what is pending, so many of the last steps are looked at one by one; the others are left to chance."""


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes that went to a file. ``pieces`` are those that came, as ``(from, to)``."""

    file: int
    at: int
    text: bytes
    pieces: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Truncated:
    """A file that was made so long."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Names:
    """Names that were given to a file, or taken (``None``): in one step, in this order."""

    given: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """A file that was synced, or (``None``) the directory."""

    file: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody was told that so much is done: so many lines of each event."""

    lines: Mapping[str, int]


Pending = Written | Truncated | Names
Step = Pending | Synced | Told


@dataclass(frozen=True, slots=True)
class Image:
    """What a directory holds: the names of each file, sorted, and its bytes."""

    files: tuple[tuple[tuple[str, ...], bytes], ...]

    def digest(self) -> bytes:
        """Return what tells one image from another."""
        told = blake2b(digest_size=16)
        for names, text in self.files:
            told.update(b"%r %d\n" % (names, len(text)))
            told.update(text)
        return told.digest()

    def put(self, folder: Path) -> None:
        """Let a folder hold this, and nothing else."""
        for each in os.listdir(folder):  # noqa: PTH208  # thousands of times: a third of what Path takes
            os.unlink(f"{folder}/{each}")  # noqa: PTH108  # as above
        for (first, *others), text in self.files:
            descriptor = os.open(f"{folder}/{first}", os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, text)
            os.close(descriptor)
            for other in others:
                os.link(f"{folder}/{first}", f"{folder}/{other}")


@dataclass(frozen=True, slots=True)
class Crash:
    """A moment at which the power goes: what is on disk for certain, what may be, and what was told by then."""

    step: int
    names: Mapping[str, int]
    files: Mapping[int, bytes]
    pending: tuple[Pending, ...]
    told: Mapping[str, int]

    def image(self, came: Sequence[Pending]) -> Image:
        """Return what is there if, of what is pending, this came."""
        names, files = dict(self.names), dict(self.files)
        for step in came:
            _take(step, names, files)
        found: dict[int, list[str]] = {}
        for name, file in sorted(names.items()):
            if not name.startswith(IGNORED):
                found.setdefault(file, []).append(name)
        return Image(tuple((tuple(each), files.get(file, b"")) for file, each in found.items()))

    def corners(self) -> Iterator[Sequence[Pending]]:
        """Yield what is most telling: nothing came, all, all but one, one alone, and all up to some step."""
        pending = list(self.pending)
        yield []
        for number in range(max(0, len(pending) - CORNERS_MAX), len(pending)):
            yield pending[: number + 1]
            yield pending[:number] + pending[number + 1 :]
            yield pending[number : number + 1]
        data = [step for step in pending if not isinstance(step, Names)]
        yield data
        yield [step for step in pending if isinstance(step, Names)]

    def drawn(self, chance: random.Random) -> list[Pending]:
        """Return what chance lets come: the last step in pieces and the others whole or not at all, or each its own."""
        *before, last = self.pending
        match chance.randrange(3):
            case 0:
                return [*before, *_drawn(last, chance)]
            case 1:
                return _drawn(last, chance)
        return [each for step in self.pending for each in _drawn(step, chance)]


def crashes(names: Mapping[str, int], files: Mapping[int, bytes], steps: Sequence[Step]) -> Iterator[Crash]:
    """Yield each moment at which the power may go, where ``names`` and ``files`` were on disk before the steps."""
    crash = Crash(0, names, files, (), {})
    for number, step in enumerate(steps, 1):
        match step:
            case Told(lines):
                crash = replace(crash, step=number, told=lines)
            case Synced(file):
                crash = _synced(replace(crash, step=number), file)
            case _:
                crash = replace(crash, step=number, pending=(*crash.pending, step))
        yield crash


def _synced(crash: Crash, file: int | None) -> Crash:
    """Return the crash after a file, or the directory, was synced: what was pending there is certain."""
    names, files = dict(crash.names), dict(crash.files)
    left: list[Pending] = []
    for step in crash.pending:
        if (step.file if isinstance(step, Written | Truncated) else None) == file:
            _take(step, names, files)
        else:
            left.append(step)
    return replace(crash, names=names, files=files, pending=tuple(left))


def _take(step: Pending, names: dict[str, int], files: dict[int, bytes]) -> None:
    """Let a step have come."""
    match step:
        case Names(given):
            for name, file in given:
                if file is None:
                    names.pop(name, None)
                else:
                    names[name] = file
        case Truncated(file, size):
            files[file] = files.get(file, b"")[:size].ljust(size, b"\0")
        case Written(file, at, text, pieces):
            whole = bytearray(files.get(file, b""))
            for start, end in pieces:
                whole.extend(bytes(max(0, at + end - len(whole))))
                whole[at + start : at + end] = text[start:end]
            files[file] = bytes(whole)


def _drawn(step: Pending, chance: random.Random) -> list[Pending]:
    """Return what chance leaves of a step: the whole of it, nothing, or a part."""
    fate = chance.random()
    if fate < 0.35:
        return [step]
    if fate < 0.6 or isinstance(step, Truncated):
        return []
    if isinstance(step, Names):
        return [Names(step.given[:1])]
    ends = sorted(chance.randrange(len(step.text) + 1) for _ in range(2 * chance.randint(1, PIECES_MAX)))
    if chance.random() < 0.5:
        ends[0] = 0
    return [replace(step, pieces=tuple(zip(ends[::2], ends[1::2], strict=True)))]
