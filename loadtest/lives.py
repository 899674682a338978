"""Lives: an order begins once, is confirmed while it is held, and ends once; a hold, not before its time. Pure.

When a hold began is known from its call and its reply, on the client's own clock. So is between which two moments it
ended, as far as the service's clock runs as fast: nobody has to set the two alike.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING

from loadtest.conservation import FOLLOWS, RECORDED_AS, some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.conservation import Step
    from loadtest.findings import Anomaly, Found
    from loadtest.history import Change, Operation

CLOCK_NS = 50_000_000
"""How far two clocks may part during a hold: one of them may be corrected meanwhile."""
NOT_FOUND = 404
SAID = {"hold-expired": "expired", "order-cancelled": "cancelled"}
"""What a refusal to confirm or to cancel says of the order."""


def check(
    once: Sequence[Operation], journal: Sequence[Change] | None, steps: Sequence[Step], found: Found, *, known: bool
) -> None:
    """Follow each order through its life. ``known``: none is older than the start."""
    _lives(steps, found, known=known)
    _vanished(once, found)
    if journal is not None:
        _refusals(once, steps, found)
        _deadlines(once, journal, found)


def _lives(steps: Sequence[Step], found: Found, *, known: bool) -> None:
    orders: dict[str, tuple[str, tuple[int, ...]]] = {}
    for step in steps:
        status, tickets = orders.get(step.order, ("", step.tickets))
        orders[step.order] = (RECORDED_AS[step.kind], step.tickets)
        wrong = status not in FOLLOWS[step.kind] and (status or known)
        if wrong or tickets != step.tickets:
            sentence = (
                f"{step.kind} of {step.order} at version {step.version}, tickets {some(step.tickets)}: "
                f"it was {status or 'not there'}, tickets {some(tickets)}"
            )
            anomaly: Anomaly = ("double effect" if status else "ghost order") if wrong else "miscount"
            found.add(anomaly, sentence, step.name)


def _vanished(once: Sequence[Operation], found: Found) -> None:
    """Find orders that were acknowledged, and that the service knew nothing of when it was asked again."""
    told = {row.order: row for row in once if row.kind in {"buy", "hold"} and row.outcome == "done"}
    for row in once:
        if row.status == NOT_FOUND and row.order in told and told[row.order].returned < row.called:
            sentence = f"{told[row.order].name} was acknowledged, and {row.name} was told that there is no such order"
            found.add("phantom order", sentence, told[row.order].name, row.name)


def _refusals(once: Sequence[Operation], steps: Sequence[Step], found: Found) -> None:
    """Check that who could not confirm or cancel was told the truth of the order at the version that was stated."""
    refused = [row for row in once if row.kind in {"confirm", "cancel"} and row.outcome == "refused"]
    if not refused:
        return
    lives: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        lives[step.order].append(step)
    for row in refused:
        life = lives[row.order]
        before = bisect_right([step.version for step in life], row.version or 0)
        status = RECORDED_AS[life[before - 1].kind] if before else ""
        said = SAID.get(row.problem, "")
        if (said and status != said) or status in FOLLOWS[row.kind]:
            sentence = f"{row.name} was refused ({row.problem or 'no reason'}) at version {row.version}"
            found.add("phantom order", f"{sentence}, where {row.order} was {status or 'not there'}", row.name)


def _deadlines(once: Sequence[Operation], journal: Sequence[Change], found: Found) -> None:
    """Check that a hold lasted as long as was promised, and no longer."""
    named = {change.buyer: change.order for change in journal if change.status == "held"}
    holds = {
        row.order or named.get(row.name, ""): row
        for row in once
        if row.kind == "hold" and row.ttl_s and row.outcome in {"done", "unknown"}
    }
    if not holds:
        return
    sold = {change.order for change in journal if change.status == "sold"}
    for row in once:
        hold = holds.get(row.order) if row.kind in {"confirm", "cancel"} else None
        if hold is None:
            continue
        if row.problem == "hold-expired" and (early := _soonest(hold) - row.returned) > 0:
            sentence = (
                f"{row.name} was told that the hold of {hold.name} had ended, {early / 1e9:.3f} s before its time"
            )
            found.add("phantom order", sentence, hold.name, row.name, size=early)
        ends = row.kind == "confirm" or row.order not in sold
        if ends and row.outcome == "done" and (late := row.called - _latest(hold)) > 0:
            sentence = f"{row.name} was called {late / 1e9:.3f} s after the hold of {hold.name} had ended, and accepted"
            found.add("double effect", sentence, hold.name, row.name, size=late)
    _expiries(once, {change.version: change.order for change in journal if change.status == "expired"}, holds, found)


def _expiries(once: Sequence[Operation], expired: dict[int, str], holds: dict[str, Operation], found: Found) -> None:
    """Find holds that had ended, as somebody saw, before their time."""
    seen = [row for row in once if row.version is not None and row.outcome in {"done", "refused"}]
    seen.sort(key=lambda row: row.version or 0)
    first: Operation | None = None
    for version in sorted(expired, reverse=True):
        while seen and (seen[-1].version or 0) >= version:
            row = seen.pop()
            first = row if first is None or row.returned < first.returned else first
        hold = holds.get(expired[version])
        if hold and first and (early := _soonest(hold) - first.returned) > 0:
            sentence = (
                f"the hold of {hold.name} ended at version {version}, {early / 1e9:.3f} s before its time or more"
            )
            found.add("phantom order", f"{sentence}, as {first.name} saw", hold.name, first.name, size=early)


def _soonest(hold: Operation) -> float:
    return hold.called + hold.ttl_s * 1e9 - CLOCK_NS


def _latest(hold: Operation) -> float:
    told = hold.outcome == "done"
    return hold.returned + hold.ttl_s * 1e9 + CLOCK_NS if told else math.inf
