"""The check: does one order of the operations, one after the other, explain every reply? Pure, and O(n log n).

Every reply of the service states the ``version`` of the event that it made or saw, and the ``count`` there. So the
order of the changes is not searched for: it is stated, and only has to be verified.

1. *Unique and gapless.* Change number k takes the event from version k-1 to k. Two changes with one version are a lost
   update. A version that no reply owns must be owned by an operation of unknown outcome: the journal names it; without
   a journal, the i-th such version goes to the i-th earliest unknown operation.
2. *Replay.* From N tickets at version 0, each change of q tickets leaves q fewer; every reply's ``count`` must agree.
   An observer (a look, a refusal) that states version k saw the count of k, and a refusal was right only if fewer were
   left than it asked for.
3. *Real time.* The order found is: change k, then the observers of k, then change k+1. Whoever returned before another
   was even called must not stand behind it. One pass with the latest call so far finds every such inversion.
4. *Conservation.* Each acknowledged order is in the journal as it was acknowledged, none is there that was certainly
   not done, no ticket number has two owners, and what is left plus what was sold is what there was.

Nothing found means linearizable: versions force the order of the changes, stated versions the place of the observers,
and a total order is a linearization when no operation returned before one that stands earlier was called (Herlihy and
Wing, "Linearizability: a correctness condition for concurrent objects", TOPLAS 12(3), 1990).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.findings import Checked, Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Change, Operation


@dataclass(frozen=True, slots=True)
class _Placed:
    """An operation at its place. One of unknown outcome may have returned at any time after its call: at infinity."""

    name: str
    called: float
    returned: float
    quantity: int
    count: int | None


@dataclass(slots=True)
class _Version:
    """The changes that made one version (there should be one), and the observers that saw it."""

    changes: list[_Placed] = field(default_factory=list)
    observers: list[_Placed] = field(default_factory=list)


_Versions = dict[int, _Version]


def check(
    operations: Sequence[Operation], journal: Sequence[Change] | None, capacity: int, last: Operation | None
) -> Checked:
    """Check a whole history of one event with ``capacity`` tickets.

    ``journal`` is what the service recorded (``None``: it cannot be had), ``last`` a look after all else had ended.
    """
    found = Found()
    everything = [*operations, last] if last else list(operations)
    _torn_reads_and_undersells(everything, found)
    if journal is not None:
        _journal_against_replies(everything, journal, found)
    versions = _placed(everything, journal, found)
    _lost_updates(versions, found)
    _counts(versions, capacity, found)
    _real_time(versions, found)
    sold = [row for row in everything if row.outcome == "done" and row.kind == "buy"]
    left = last.count if last and last.outcome == "done" else None
    _tickets(sold, capacity, found)
    _sum(everything, journal, capacity, left, found)
    return Checked(found.findings(), sum(len(row.tickets) for row in sold), left)


def _torn_reads_and_undersells(everything: Sequence[Operation], found: Found) -> None:
    for row in everything:
        if row.problem == "torn-read":
            found.add("torn read", f"{row.name} met a document that nobody wrote whole")
        if row.outcome == "refused" and row.count is not None and row.count >= (1 if row.partial else row.quantity):
            found.add("undersell", f"{row.name} was refused {row.quantity} tickets while {row.count} were left")


def _journal_against_replies(everything: Sequence[Operation], journal: Sequence[Change], found: Found) -> None:
    recorded = {change.order: change for change in journal}
    names = {row.name: row for row in everything if row.kind == "buy"}
    for row in names.values():
        if row.outcome != "done":
            continue
        change = recorded.get(row.order)
        if change is None:
            found.add("phantom order", f"{row.name} was acknowledged (version {row.version}) and is not in the journal")
        elif (change.version, change.tickets, change.count) != (row.version, row.tickets, row.count):
            found.add("miscount", f"{row.name} was told version {row.version}, the journal says {change.version}")
    for change in journal:
        owner = names.get(change.buyer)
        if owner is None or (owner.outcome == "done" and owner.order != change.order):
            found.add("ghost order", f"version {change.version} is in the journal, but nobody was told of it")
        elif owner.outcome in {"refused", "not done"}:
            found.add("ghost order", f"{change.buyer} was told that nothing was done, and the journal has it")


def _placed(everything: Sequence[Operation], journal: Sequence[Change] | None, found: Found) -> _Versions:
    """Return every operation that took effect or saw one, at its version."""
    versions: _Versions = defaultdict(_Version)
    for row in everything:
        if row.version is None or row.outcome not in {"done", "refused"}:
            continue
        changes = row.kind == "buy" and row.outcome == "done"
        place = versions[row.version]
        (place.changes if changes else place.observers).append(
            _Placed(row.name, row.called, row.returned, len(row.tickets), row.count)
        )
    unknown = [row for row in everything if row.kind == "buy" and row.outcome == "unknown"]
    if journal is not None:
        called = {row.name: row.called for row in unknown}
        for change in journal:
            if change.buyer in called:
                owner = _Placed(change.buyer, called[change.buyer], math.inf, change.quantity, change.count)
                versions[change.version].changes.append(owner)
    missing = [version for version in range(1, max(versions, default=0) + 1) if not versions[version].changes]
    if journal is None:
        owners = sorted(unknown, key=lambda row: row.called)
        for version, row in zip(missing, owners, strict=False):
            versions[version].changes.append(_Placed(row.name, row.called, math.inf, 0, None))
        missing = missing[len(owners) :]
    for version in missing:
        found.add("missing version", f"nobody made version {version}")
    return versions


def _lost_updates(versions: _Versions, found: Found) -> None:
    for version in sorted(versions):
        changes = sorted(versions[version].changes, key=lambda row: row.called)
        for row in changes[1:]:
            found.add("lost update", f"{changes[0].name} and {row.name} both made version {version}")


def _counts(versions: _Versions, capacity: int, found: Found) -> None:
    """Replay the versions. Where two changes made one, either may be what the next one read; unknown is any count."""
    before: set[int | None] = {capacity}
    for version in sorted(versions):
        place = versions[version]
        now: set[int | None] = {row.count for row in place.changes} if version else {capacity}
        for row in place.changes if version else ():
            if None not in before and row.count is not None and row.count + row.quantity not in before:
                found.add("miscount", f"{row.name} left {row.count} tickets at version {version}, not {before}")
            if row.count is not None and not 0 <= row.count <= capacity:
                found.add("miscount", f"{row.name} left {row.count} tickets of {capacity}")
        for row in place.observers:
            if now and None not in now and row.count not in now:
                found.add("miscount", f"{row.name} saw {row.count} tickets at version {version}, not {now}")
        before = now or {None}


def _real_time(versions: _Versions, found: Found) -> None:
    """Find every operation that returned before one placed earlier was called."""
    latest: _Placed | None = None
    latest_observes = False
    for version in sorted(versions):
        place = versions[version]
        for group, observes in ((place.changes, False), (place.observers, True)):
            for row in group:
                if latest is not None and row.returned < latest.called:
                    sentence = f"{latest.name} was called after {row.name} had returned, and stands before it"
                    found.add("stale read" if latest_observes else "reordered", sentence)
            for row in group:
                if latest is None or row.called > latest.called:
                    latest, latest_observes = row, observes


def _tickets(sold: Sequence[Operation], capacity: int, found: Found) -> None:
    owner: dict[int, str] = {}
    twice: set[int] = set()
    for row in sold:
        for ticket in row.tickets:
            if ticket in owner and ticket not in twice:
                twice.add(ticket)
                found.add("double sale", f"ticket {ticket} was sold to {owner[ticket]} and to {row.name}")
            owner.setdefault(ticket, row.name)
            if not 1 <= ticket <= capacity:
                found.add("oversell", f"{row.name} got ticket {ticket} of {capacity}")
    surplus = sum(len(row.tickets) for row in sold) - capacity
    if surplus > 0:
        found.add("oversell", f"{capacity + surplus} tickets of {capacity} were sold", surplus)


def _sum(
    everything: Sequence[Operation],
    journal: Sequence[Change] | None,
    capacity: int,
    left: int | None,
    found: Found,
) -> None:
    """Check that tickets sold and tickets left make up the capacity, as far as it is known which were sold."""
    if journal is not None:
        sold = sum(change.quantity for change in journal)
    elif any(row.outcome == "unknown" for row in everything):
        return
    else:
        sold = sum(len(row.tickets) for row in everything)
    if left is not None and sold + left != capacity:
        found.add("miscount", f"{sold} tickets sold and {left} left do not make {capacity}")
