"""A slice: one stretch of a run, with a fresh store. What is measured is measured over one or several of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loadtest.mishaps import excused, meant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Operation, Passage
    from loadtest.mishaps import Stretch
    from loadtest.plan import Plan
    from loadtest.usage import Usage


@dataclass(frozen=True, slots=True)
class Slice:
    """What is measured of a slice: the purchases that were planned in its window, and the orders' passages in it.

    The window begins after the warm-up. It ends when the time is over, or at the first refusal, for what comes after
    the last ticket costs nothing and would be taken for speed; not so where tickets come back. All attempts with one
    idempotency key are one call, from the first to the last. ``returned`` is how many decisions came back in the
    window. ``sales`` and ``usage`` are those of the whole slice, warm-up included. ``clients`` and ``workers`` is how
    many there were, whether or not they got anything; no workers: the service does not name them. What failed while
    something was done on purpose is left out, and whoever was held up by it counts, though planned in the warm-up.
    """

    operations: Sequence[Operation]
    passages: Sequence[Passage]
    usage: Usage | None
    seconds: float
    returned: int
    sales: int
    clients: int
    workers: int


def cut(  # what a slice left behind
    plan: Plan,
    operations: Sequence[Operation],
    passages: Sequence[Passage],
    usage: Usage | None,
    workers: int,
    faults: Sequence[Stretch] = (),
) -> Slice:
    """Return what is to be measured of ``operations``, which are in the order of their calls."""
    # Where some come to look only, that is no request to be measured; where nothing else is asked for, it is.
    called = [row for row in operations if row.kind != "look" and not (row.kind == "find" and plan.read_share)]
    bought = _asked_once(called) if any(row.key for row in called) else called
    decided = [row for row in bought if row.outcome in {"done", "refused"}]
    first = min((row.planned for row in bought), default=0)
    begin, end = first, max((row.returned for row in decided), default=first)
    measured = bought
    if not plan.orders:
        begin, end = first + int(plan.warmup_s * 1e9), first + int(plan.seconds * 1e9)
        sold_out = min(
            (row.returned for row in decided if row.outcome == "refused" and not plan.hold_share), default=end
        )
        if sold_out <= begin:  # all was sold before it was warm: better to measure that than refusals alone
            begin = first
        end = min(end, sold_out)
        if faults:  # then the scene may end before its time
            end = min(end, max((row.returned for row in bought), default=end))
        measured = [
            row for row in bought if row.planned < end and (begin <= row.planned or excused(row, meant(faults)))
        ]
    named = any(row.worker for row in decided)
    return Slice(
        operations=[row for row in measured if row.outcome in {"done", "refused"} or not excused(row, faults)],
        passages=[row for row in passages if begin <= row.asked < end],
        usage=usage,
        seconds=(end - begin) / 1e9,
        returned=sum(begin <= row.returned <= end for row in decided),
        sales=sum(row.outcome == "done" for row in bought),
        clients=plan.clients,
        workers=max(workers, len({row.worker for row in decided})) if named else 0,
    )


def _asked_once(rows: Sequence[Operation]) -> list[Operation]:
    """Return the last attempt with each idempotency key as if it had begun with the first; and what has no key."""
    once: dict[str, Operation] = {}
    for row in rows:
        first = once.get(row.key) if row.key else None
        once[row.key or row.name] = replace(row, planned=first.planned, called=first.called) if first else row
    return list(once.values())
