"""What a run cost, how its buyers fared, and how much contention it saw. Pure.

Percentiles are exact, from the raw values (nearest rank). A run may consist of several slices, each with a fresh store:
their values are merged; percentiles are never averaged.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loadtest.cost import Cost, add_up
from loadtest.history import NOT_SENT, host_of
from loadtest.inside import Inside, look_inside
from loadtest.percentiles import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.history import Operation
    from loadtest.slices import Slice

LATE_MS = 5.0
"""A purchase that was sent more than this after its planned moment was late: its client was still busy."""


@dataclass(frozen=True, slots=True)
class Share:
    """How evenly something fell to several: Jain's index (1: all alike, 1/n: one had all), the least and the most.

    Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination", DEC TR-301, 1984.
    """

    jain: float
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of the purchases that were decided (sold or sold out). ``errors`` are in no percentile.

    Latencies are in milliseconds, from the planned moment to the last byte of the reply. ``overlapping`` is how many
    were under way together with another one, ``contended_sales`` how many of
    these were sales, ``inside_max`` how many were under way at most at once. ``late_share`` is the part that
    was sent late. ``busiest_share`` is the part that the busiest worker answered, ``busiest_host_share`` the part of
    the busiest host.
    """

    decided: int
    errors: int
    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    longest_ms: float
    late_share: float
    overlapping: int
    contended_sales: int
    inside_max: int
    workers: int
    busiest_share: float
    busiest_host_share: float
    by_client: Share
    by_worker: Share | None
    inside: Inside | None
    cost: Cost | None


def measure(slices: Sequence[Slice]) -> Measured:
    """Measure the purchases of one or several slices."""
    decided = [[row for row in each.operations if row.outcome in {"done", "refused"}] for each in slices]
    merged = [row for rows in decided for row in rows]
    asked = [row for each in slices for row in each.operations]
    values = latencies(slices)
    seen = [overlaps(rows) for rows in decided]
    seconds = sum(each.seconds for each in slices)
    busiest = [max(Counter(row.worker for row in rows).values()) for rows in decided if rows]
    busiest_host = [max(Counter(host_of(row.worker) for row in rows).values()) for rows in decided if rows]
    return Measured(
        decided=len(merged),
        errors=len(asked) - len(merged),
        requests_per_s=sum(each.returned for each in slices) / seconds if seconds else 0.0,
        p50_ms=percentile(values, 50),
        p90_ms=percentile(values, 90),
        p99_ms=percentile(values, 99),
        p999_ms=percentile(values, 99.9),
        longest_ms=percentile(values, 100),
        late_share=sum(map(_is_late, asked)) / len(asked) if asked else 0.0,
        overlapping=sum(count for count, _ in seen),
        contended_sales=sum(row.outcome == "done" for rows in decided for row in overlapped(rows)),
        inside_max=max((most for _, most in seen), default=0),
        workers=max((each.workers for each in slices), default=0),
        busiest_share=sum(busiest) / len(merged) if merged else 1.0,
        busiest_host_share=sum(busiest_host) / len(merged) if merged else 1.0,
        by_client=share(_each(slices, decided, "client")),
        by_worker=share(_each(slices, decided, "worker")) if all(each.workers for each in slices) else None,
        inside=look_inside(slices),
        cost=add_up([each.usage for each in slices if each.usage is not None], sum(each.sales for each in slices)),
    )


def _each(
    slices: Sequence[Slice], decided: Sequence[Sequence[Operation]], whose: Literal["client", "worker"]
) -> list[int]:
    """Return how many decisions each client or worker of each slice had; nothing is an amount too."""
    amounts: list[int] = []
    for each, rows in zip(slices, decided, strict=True):
        had = list(Counter(getattr(row, whose) for row in rows).values())
        there = each.clients if whose == "client" else each.workers
        amounts += had + [0] * (there - len(had))
    return amounts


def latencies(slices: Sequence[Slice]) -> list[float]:
    """Return the latencies of all decided purchases in milliseconds, ascending."""
    rows = (row for each in slices for row in each.operations)
    return sorted((row.returned - row.planned) / 1e6 for row in rows if row.outcome in {"done", "refused"})


def share(amounts: Iterable[int]) -> Share:
    """Return how evenly ``amounts`` are spread."""
    each = list(amounts)
    squares = sum(amount * amount for amount in each)
    return Share(sum(each) ** 2 / (len(each) * squares), min(each), max(each)) if squares else Share(1.0, 0, 0)


def overlaps(operations: Sequence[Operation]) -> tuple[int, int]:
    """Return how many operations overlapped another in time, and how many were under way at once at most."""
    under_way: list[int] = []
    inside_max = 0
    for row in sorted(operations, key=lambda row: row.called):
        while under_way and under_way[0] <= row.called:
            heapq.heappop(under_way)
        heapq.heappush(under_way, row.returned)
        inside_max = max(inside_max, len(under_way))
    return len(overlapped(operations)), inside_max


def overlapped(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations that overlapped another in time."""
    ordered = sorted(operations, key=lambda row: row.called)
    found = [False] * len(ordered)
    last = 0
    for index, row in enumerate(ordered):
        if index and row.called < ordered[last].returned:
            found[index] = found[last] = True
        if row.returned > ordered[last].returned:
            last = index
    return [row for row, did in zip(ordered, found, strict=True) if did]


def _is_late(row: Operation) -> bool:
    return row.problem == NOT_SENT or row.called - row.planned > LATE_MS * 1e6
