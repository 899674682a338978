"""Growth: what a service that has warmed up uses more and more of, though it does the same all the time. Pure.

Memory, descriptors and threads are judged in each process by itself and by its age: one that was killed and started
again begins anew. What grows by design, because every change is kept, is taken out, and held to so many bytes a call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

KEPT = ("*.jsonl", "*.N.jsonl", "*.sqlite", "*.db", "*.fence")
"""Kinds of files that keep every change: journals, what is found in them, the tables of an engine, fences."""
KEPT_BYTES_A_CALL_MAX = 2_000
WARMUP_S, WARMUP_SHARE = 60.0, 0.25
"""So long after its start a process may still grow, and this part of a life that is short."""
LIFE_S_MIN, SAMPLES_MIN = 30.0, 9
"""Who lived less long, or was seen less often when it was warm, has not met all of its work yet, and says nothing."""
MASTER, WORKER = "master", "worker"
"""What processes of a service are called. The others are not clients' work: that they were still says nothing of it."""
ENDS = 5
"""The middle one of so many looks stands for a moment: one of them may have met a service that was starting."""
POINTS_MAX = 150
"""So many points make a slope: it takes all their pairs."""
STILL_SHARE = 0.2
"""What has grown, and then no more, had been warming up: the last third must have a part of the whole growth."""
TOLERANCES = {"memory": 16e6, "descriptors": 64.0, "threads": 16.0, "processes": 4.0, "files": 8.0, "bytes": 16e6}
"""What may come and go. The journal that grows is known by heart, up to 4 MiB of it: some 10 MB in each worker. A
thread that has read an index or a database keeps a connection of three descriptors."""
LEAKS = range(1, 10_000)
"""Tenths of a megabyte a minute, among which the smallest leak is looked for that would have been seen."""


@dataclass(frozen=True, slots=True)
class Process:
    """What a process of the service uses. ``born`` tells it from an earlier one with its number."""

    pid: int
    born: int
    name: str
    memory: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a service. ``files`` are its own, by kind: how many, and how many bytes.

    ``server`` is how many processes the private server of an engine has.
    """

    at_ns: int
    replies: int
    processes: tuple[Process, ...]
    files: Mapping[str, tuple[int, int]]
    server: int = 0

    def total(self, what: str) -> float:
        """Return how much of ``what`` all processes use together, or the files that are not kept by design."""
        match what:
            case "processes":
                return len(self.processes) + self.server
            case "files":
                return sum(number for kind, (number, _) in self.files.items() if kind not in KEPT)
            case "bytes":
                return sum(size for kind, (_, size) in self.files.items() if kind not in KEPT)
        return float(sum(getattr(process, what) for process in self.processes))

    @property
    def kept(self) -> int:
        """How many bytes there are that grow by design."""
        return sum(size for kind, (_, size) in self.files.items() if kind in KEPT)


@dataclass(frozen=True, slots=True)
class Growth:
    """Something that grows: what, from how much to how much, in how many seconds."""

    what: str
    first: float
    last: float
    seconds: float

    def sentence(self) -> str:
        """Say it."""
        unit = 1e6 if self.what.startswith(("memory", "bytes")) else 1.0
        amounts = f"from {self.first / unit:,.0f} to {self.last / unit:,.0f}{' MB' if unit > 1 else ''}"
        return f"the {self.what} grew {amounts} in {self.seconds:,.0f} s, and was still growing"


Points = list[tuple[float, float]]
_Lives = dict[tuple[int, int, str], list[tuple[float, Process]]]


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Return all that grows without bound."""
    found: list[Growth] = []
    for (_, _, name), rows in _grown_up(samples).items():
        for what in ("memory", "descriptors", "threads"):
            points = [(at, float(getattr(process, what))) for at, process in rows]
            found += _grows(f"{what} of a process ({name})", points, TOLERANCES[what])
    for what in ("processes", "files", "bytes"):
        words = "bytes of files that should not grow" if what == "bytes" else f"number of {what}"
        found += _grows(words, _points(samples, partial(Sample.total, what=what)), TOLERANCES[what])
    calls = samples[-1].replies - samples[0].replies if samples else 0
    if calls and samples[-1].kept - samples[0].kept > KEPT_BYTES_A_CALL_MAX * calls + TOLERANCES["bytes"]:
        found.append(_whole(f"bytes that are kept ({KEPT_BYTES_A_CALL_MAX:,} a call at most)", samples))
    return found


@dataclass(frozen=True, slots=True)
class Used:
    """What a service used: after a minute (or the warm-up of a shorter run), and at the end.

    ``judged`` is how many of the ``workers`` lived long enough to be judged. ``leak_mb_a_minute`` is what the one
    that was watched longest would have to leak at least to be found out (``None``: nobody was, or it does grow).
    """

    growths: tuple[Growth, ...]
    workers: int
    judged: int
    leak_mb_a_minute: float | None
    memory_mb: tuple[float, float]
    descriptors: tuple[float, float]
    threads: tuple[float, float]
    files: tuple[float, float]
    kept_bytes_a_call: float


def used(samples: Sequence[Sample]) -> Used | None:
    """Return what was used; ``None`` if that was not looked at long enough."""
    totals = {
        what: warm(_points(samples, partial(Sample.total, what=what)))
        for what in ("memory", "descriptors", "threads", "files")
    }
    if len(totals["memory"]) < SAMPLES_MIN:
        return None
    ends = {
        what: (median(value for _, value in points[:ENDS]), median(value for _, value in points[-ENDS:]))
        for what, points in totals.items()
    }
    calls = samples[-1].replies - samples[0].replies
    first, last = ends["memory"]
    return Used(
        growths=tuple(growths(samples)),
        workers=_workers(_lives(samples)),
        judged=_workers(_grown_up(samples)),
        leak_mb_a_minute=_smallest_leak(samples),
        memory_mb=(first / 1e6, last / 1e6),
        descriptors=ends["descriptors"],
        threads=ends["threads"],
        files=ends["files"],
        kept_bytes_a_call=(samples[-1].kept - samples[0].kept) / calls if calls else 0.0,
    )


def warm(points: Points) -> Points:
    """Return what comes after the warm-up."""
    if not points:
        return []
    begin = points[0][0] + min(WARMUP_S, WARMUP_SHARE * (points[-1][0] - points[0][0]))
    return [point for point in points if point[0] >= begin]


def slope(points: Points) -> float:
    """Return the median of the slopes between any two points (Theil and Sen): a few wild ones do not move it."""
    few = points[:: max(1, len(points) // POINTS_MAX)]
    slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in combinations(few, 2)]
    return median(slopes) if slopes else 0.0


def _grows(what: str, points: Points, tolerance: float) -> Iterable[Growth]:
    """Yield a growth if there is one: by the slope, and by the thirds, the last of which must still grow."""
    after = warm(points)
    if len(after) < SAMPLES_MIN:
        return
    third = len(after) // 3
    first, middle, last = (
        median(value for _, value in part) for part in (after[:third], after[third:-third], after[-third:])
    )
    seconds = after[-1][0] - after[0][0]
    rises = first <= middle and last - middle > STILL_SHARE * (last - first)
    if rises and last - first > tolerance / 2 and slope(after) * seconds > tolerance:
        yield Growth(what, first, last, seconds)


def _smallest_leak(samples: Sequence[Sample]) -> float | None:
    """Return the least that would have been seen in who was watched longest, beside what its memory did anyway."""
    lives = [rows for (_, _, name), rows in _grown_up(samples).items() if name == WORKER]
    longest = max(lives, key=lambda rows: rows[-1][0] - rows[0][0], default=[])
    points = [(at, float(process.memory)) for at, process in longest]
    if not points or _leaking(points, 0):
        return None
    place = bisect_left(LEAKS, x=True, key=partial(_leaking, points))
    return LEAKS[place] / 10 if place < len(LEAKS) else None


def _leaking(points: Points, tenths: int) -> bool:
    """Tell whether memory is said to grow with so many tenths of a megabyte a minute on top."""
    first = points[0][0]
    more = [(at, value + tenths * 1e5 / 60 * (at - first)) for at, value in points]
    return any(_grows("memory", more, TOLERANCES["memory"]))


def _whole(what: str, samples: Sequence[Sample]) -> Growth:
    first, last = samples[0], samples[-1]
    return Growth(what, first.kept, last.kept, (last.at_ns - first.at_ns) / 1e9)


def _grown_up(samples: Sequence[Sample]) -> _Lives:
    """Return those that lived long enough to be judged."""
    return {
        whose: rows
        for whose, rows in _lives(samples).items()
        if rows[-1][0] - rows[0][0] >= LIFE_S_MIN and len(warm([(at, 0.0) for at, _ in rows])) >= SAMPLES_MIN
    }


def _workers(lives: _Lives) -> int:
    return sum(name == WORKER for _, _, name in lives)


def _lives(samples: Sequence[Sample]) -> _Lives:
    """Return each process with when it was seen, and how."""
    lives: defaultdict[tuple[int, int, str], list[tuple[float, Process]]] = defaultdict(list)
    for sample in samples:
        for process in sample.processes:
            lives[process.pid, process.born, process.name].append((sample.at_ns / 1e9, process))
    return dict(lives)


def _points(samples: Sequence[Sample], value: Callable[[Sample], float]) -> Points:
    return [(sample.at_ns / 1e9, value(sample)) for sample in samples]
