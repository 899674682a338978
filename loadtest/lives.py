"""Lives: an order begins once, is confirmed while it is held, and ends once; a hold, not before its time. Pure.

When a hold began is known from its call and its reply, on the client's own clock. So is between which two moments it
ended, as far as the service's clock runs as fast: nobody has to set the two alike.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from operator import attrgetter
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


def check(  # all that is known of them
    everything: Sequence[Operation], once: Sequence[Operation], journal: Sequence[Change] | None,
    steps: Sequence[Step], found: Found, *, known: bool,
) -> None:  # fmt: skip
    """Follow each order through its life. ``known``: none is older than the start."""
    _lives(steps, found, known=known)
    _vanished(once, found)
    _confirmed_again(everything, once, steps, found)
    if journal is not None:
        _refusals(once, steps, found)
        _deadlines(once, journal, steps, found)


def _lives(steps: Sequence[Step], found: Found, *, known: bool) -> None:
    orders: dict[str, Step] = {}
    for step in steps:
        last = orders.get(step.order)
        orders[step.order] = step
        status, tickets = (RECORDED_AS[last.kind], last.tickets) if last else ("", step.tickets)
        wrong = status not in FOLLOWS[step.kind] and (status or known)
        if last and step.kind in {"buy", "hold"}:  # each of them makes an order of its own
            sentence = (
                f"{step.name} got {step.order} at version {step.version}, tickets {some(step.tickets)}: the same order "
                f"was {status} before, at version {last.version}, tickets {some(tickets)} ({last.name})"
            )
            found.add("double effect", sentence, last.name, step.name)
        elif wrong or tickets != step.tickets:
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


def _confirmed_again(
    everything: Sequence[Operation], once: Sequence[Operation], steps: Sequence[Step], found: Found
) -> None:
    """Find who was told that an order is confirmed, and asked only when it was cancelled, as somebody had seen."""
    cancelled = {step.order: step.version for step in steps if step.kind == "cancel"}
    again = [row for row in everything if row.kind == "confirm" and row.order in cancelled]
    if not again:
        return
    asked: dict[str, int] = {}  # with a key, what was asked before is answered as before
    for row in again:
        if row.outcome != "not done":
            asked[row.key or row.name] = min(row.called, asked.get(row.key or row.name, row.called))
    seen = _Seen(once)
    for row in again:
        version = cancelled[row.order]
        first = seen.first(version)
        if row.outcome != "done" or first is None or (row.version or 0) > version:
            continue
        if (late := asked[row.key or row.name] - first.returned) > 0:
            sentence = f"{row.name} was told that {row.order} is sold, and {first.name} had seen it cancelled before"
            found.add("double effect", sentence, first.name, row.name, size=late)


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


def _deadlines(once: Sequence[Operation], journal: Sequence[Change], steps: Sequence[Step], found: Found) -> None:
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
    _kept_back(once, steps, holds, found)


def _expiries(once: Sequence[Operation], expired: dict[int, str], holds: dict[str, Operation], found: Found) -> None:
    """Find holds that had ended, as somebody saw, before their time."""
    seen = _Seen(once)
    for version in sorted(expired, reverse=True):
        hold, first = holds.get(expired[version]), seen.first(version)
        if hold and first and (early := _soonest(hold) - first.returned) > 0:
            sentence = (
                f"the hold of {hold.name} ended at version {version}, {early / 1e9:.3f} s before its time or more"
            )
            found.add("phantom order", f"{sentence}, as {first.name} saw", hold.name, first.name, size=early)


def _kept_back(once: Sequence[Operation], steps: Sequence[Step], holds: dict[str, Operation], found: Found) -> None:
    """Find who was refused tickets of holds that had ended before he called: they can be sold at once."""
    live: list[tuple[float, str, int]] = []
    ahead = iter(steps)
    step = next(ahead, None)
    refused = [row for row in once if row.kind in {"buy", "hold"} and row.outcome == "refused"]
    for row in sorted(refused, key=lambda row: row.version or 0):
        while step and step.version <= (row.version or 0):
            if step.order in holds:
                each = _latest(holds[step.order]), step.order, len(step.tickets)
                place = bisect_left(live, each)
                if step.kind == "hold":
                    live.insert(place, each)
                elif live[place : place + 1] == [each]:
                    del live[place]
            step = next(ahead, None)
        left, wanted = row.count or 0, 1 if row.partial else row.quantity
        ended = []
        for latest, order, tickets in live:
            if latest >= row.called or left >= wanted:
                break
            left += tickets
            ended.append(holds[order].name)
        if ended and left >= wanted:
            sentence = f"{row.name} was refused {row.quantity} tickets, and the hold of {ended[0]} had ended before"
            found.add("undersell", sentence, row.name, *ended)


class _Seen:
    """Who saw first that a version was there: that or a later one."""

    def __init__(self, once: Sequence[Operation]) -> None:
        rows = [row for row in once if row.version is not None and row.outcome in {"done", "refused"}]
        rows.sort(key=lambda row: row.version or 0)
        self._versions = [row.version or 0 for row in rows]
        for place in reversed(range(len(rows) - 1)):
            rows[place] = min(rows[place], rows[place + 1], key=attrgetter("returned"))
        self._first = rows

    def first(self, version: int) -> Operation | None:
        """Return whoever returned first of those that saw the version."""
        place = bisect_left(self._versions, version)
        return self._first[place] if place < len(self._first) else None


def _soonest(hold: Operation) -> float:
    return hold.called + hold.ttl_s * 1e9 - CLOCK_NS


def _latest(hold: Operation) -> float:
    told = hold.outcome == "done"
    return hold.returned + hold.ttl_s * 1e9 + CLOCK_NS if told else math.inf
