"""Where an order's time goes in the service, from its trace. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from loadtest.percentiles import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Passage
    from loadtest.slices import Slice


@dataclass(frozen=True, slots=True)
class Inside:
    """Where an order's time goes, from the service's trace: medians in milliseconds, and the longest
    wait, of those who were never let in too.

    ``queue`` is what is neither waiting for the lock nor inside: sockets, threads, parsing, rendering. ``idle_share``
    is the part of the time in which somebody waited that nobody was inside.
    """

    wait_ms: float
    hold_ms: float
    queue_ms: float
    longest_wait_ms: float
    idle_share: float


def idle_share(passages: Sequence[Passage]) -> float:
    """Return the part of the time in which somebody waited to be let in while nobody was inside."""
    steps: list[tuple[int, int, int]] = []
    for row in passages:
        if row.entered is not None:
            steps += [(row.asked, 1, 0), (row.entered, -1, 1), (row.left, 0, -1)]
    steps.sort()
    waiting = inside = 0
    waited = idle = 0
    for (moment, more_waiting, more_inside), (following, _, _) in pairwise(steps):
        waiting, inside = waiting + more_waiting, inside + more_inside
        waited += (following - moment) * (waiting > 0)
        idle += (following - moment) * (waiting > 0 and inside == 0)
    return idle / waited if waited else 0.0


def look_inside(slices: Sequence[Slice]) -> Inside | None:
    """Return where the time of the orders went, or ``None`` without a trace."""
    let_in = [(row, row.entered) for each in slices for row in each.passages if row.entered is not None]
    if not let_in:
        return None
    waits = sorted((entered - row.asked) / 1e6 for row, entered in let_in)
    in_vain = [(row.left - row.asked) / 1e6 for each in slices for row in each.passages if row.entered is None]
    holds = sorted((row.left - entered) / 1e6 for row, entered in let_in)
    inside = {row.order: row.left - row.asked for row, _ in let_in}
    done = (row for each in slices for row in each.operations if row.order in inside)
    queues = sorted((row.returned - row.called - inside[row.order]) / 1e6 for row in done)
    idle = [idle_share(each.passages) for each in slices]
    return Inside(
        percentile(waits, 50),
        percentile(holds, 50),
        percentile(queues, 50),
        max([waits[-1], *in_vain]),
        sum(idle) / len(idle),
    )
