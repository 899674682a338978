"""What a run cost, and how much contention it saw. Pure; percentiles are exact, from the raw values (nearest rank)."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Operation


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of the purchases that were decided (sold or sold out).

    Latencies are in milliseconds, from the planned moment to the last byte of the reply. ``overlapping`` is how many
    were under way together with another one, ``inside_max`` how many at most at once, ``workers`` how many workers
    answered and ``busiest_share`` the part that the busiest of them did.
    """

    decided: int
    errors: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    overlapping: int
    inside_max: int
    workers: int
    busiest_share: float


def measure(operations: Sequence[Operation]) -> Measured:
    """Measure the purchases of a history."""
    bought = [row for row in operations if row.kind == "buy"]
    decided = [row for row in bought if row.outcome in {"done", "refused"}]
    errors = len(bought) - len(decided)
    if not decided:
        return Measured(0, errors, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 1.0)
    latencies = sorted((row.returned - row.planned) / 1e6 for row in decided)
    elapsed_s = (max(row.returned for row in decided) - min(row.called for row in decided)) / 1e9
    overlapping, inside_max = overlaps(decided)
    workers = Counter(row.worker for row in decided)
    return Measured(
        decided=len(decided),
        errors=errors,
        requests_per_s=len(decided) / elapsed_s,
        p50_ms=percentile(latencies, 50),
        p99_ms=percentile(latencies, 99),
        longest_ms=latencies[-1],
        overlapping=overlapping,
        inside_max=inside_max,
        workers=len(workers),
        busiest_share=max(workers.values()) / len(decided),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` of the values do not exceed. ``ordered`` ascends."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def overlaps(operations: Sequence[Operation]) -> tuple[int, int]:
    """Return how many operations overlapped another in time, and how many were under way at once at most."""
    if not operations:
        return 0, 0
    ordered = sorted(operations, key=lambda row: row.called)
    overlapped = [False] * len(ordered)
    under_way: list[int] = []
    last, inside_max = 0, 0
    for index, row in enumerate(ordered):
        if index and row.called < ordered[last].returned:
            overlapped[index] = overlapped[last] = True
        if row.returned > ordered[last].returned:
            last = index
        while under_way and under_way[0] <= row.called:
            heapq.heappop(under_way)
        heapq.heappush(under_way, row.returned)
        inside_max = max(inside_max, len(under_way))
    return sum(overlapped), inside_max
