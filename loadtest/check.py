"""The check: does one order of the operations, one after the other, explain every reply? Pure, and O(n log n).

Every reply of the service states the ``version`` of the event that it made or saw, and the ``count`` there. So the
order of the changes is not searched for: it is stated, and only has to be verified. The state is (version, count) and
starts where the service says. A sale or a hold of q tickets goes from (k, r) to (k+1, r-q), a cancelled order or an
expired hold to (k+1, r+q), a confirmation to (k+1, r).

1. *Unique and gapless.* Two changes with one version are a lost update. A version that no reply owns must be owned by
   an operation of unknown outcome: the journal names it; without a journal, the i-th such version goes to the i-th
   earliest unknown operation (which is exact when these are alike, and accuses nobody wrongly when they are not).
2. *Replay.* Each change's count follows from the one before. An observer (a look, a refusal) that states version k saw
   the count of k, and a refusal was right only if fewer were left than it asked for.
3. *Real time.* The order found is: change k, then the observers of k, then change k+1. Whoever returned before another
   was even called must not stand behind it. One pass with the latest call so far finds every such inversion.
4. *Once.* Calls with one idempotency key are one operation, from the first call to the first reply that says it is
   done, and may have one effect only.
5. *Conservation* (``conservation.py``): replies, journal, ticket numbers and the final count agree.

Nothing found means linearizable. Versions force the order of the changes, stated versions the place of the observers,
and a total order is a linearization when no operation returned before one that stands earlier was called (Herlihy and
Wing, "Linearizability: a correctness condition for concurrent objects", TOPLAS 12(3), 1990). Conversely every finding
contradicts the one order that the versions leave. The tests hold this to a search through all orders, both ways.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loadtest import conservation
from loadtest.conservation import CHANGING, kind_of
from loadtest.findings import Checked, Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.findings import Anomaly
    from loadtest.history import Change, Operation


@dataclass(frozen=True, slots=True)
class Start:
    """The event before the first operation: how many tickets there are, how many of them are left, the version."""

    capacity: int
    count: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class _Placed:
    """An operation at its place. One of unknown outcome may have returned at any time after its call: at infinity.

    ``delta`` is what it adds to the count; ``None`` for a count or a delta that nobody knows.
    """

    name: str
    called: float
    returned: float
    delta: int | None
    count: int | None


@dataclass(slots=True)
class _Version:
    """The changes that made one version (there should be one), and the observers that saw it."""

    changes: list[_Placed] = field(default_factory=list)
    observers: list[_Placed] = field(default_factory=list)


_Versions = dict[int, _Version]


def check(
    operations: Sequence[Operation], journal: Sequence[Change] | None, start: Start, last: Operation | None = None
) -> Checked:
    """Check a whole history of one event.

    ``journal`` is what the service recorded since ``start`` (``None``: it cannot be had), ``last`` a look after all
    else had ended.
    """
    found = Found()
    once = _once([*operations, last] if last else operations, found)
    _refusals_and_torn_reads(once, found)
    versions = _placed(once, journal, start, found)
    _lost_updates(versions, found)
    _counts(versions, start, found)
    _real_time(versions, found)
    conservation.check(once, journal, start.capacity, start.count, found)
    sold = sum(len(row.tickets) for row in once if row.kind == "buy" and row.outcome == "done")
    left = last.count if last and last.outcome == "done" else None
    return Checked(found.findings(), sold, left)


def _once(everything: Iterable[Operation], found: Found) -> list[Operation]:
    """Return one operation for all calls with one key, and for a cancellation or confirmation that was repeated."""
    alone: list[Operation] = []
    groups: defaultdict[str, list[Operation]] = defaultdict(list)
    for row in everything:
        if row.key:
            groups[row.key].append(row)
        elif row.kind in {"cancel", "confirm"} and row.outcome == "done":
            groups[f"{row.kind} {row.order} {row.version}"].append(row)
        else:
            alone.append(row)
    return alone + [_merged(rows, found) for rows in groups.values()]


def _merged(rows: list[Operation], found: Found) -> Operation:
    rows.sort(key=lambda row: row.returned)
    decided = [row for row in rows if row.outcome in {"done", "refused"}]
    for row in decided[1:]:
        if (row.outcome, row.order, row.version) != (decided[0].outcome, decided[0].order, decided[0].version):
            sentence = f"{decided[0].name} was answered with version {decided[0].version}, and again with {row.version}"
            found.add("double effect", sentence, decided[0].name, row.name)
    unknown = [row for row in rows if row.outcome == "unknown"]
    told = (decided or unknown or rows)[0]
    return replace(told, called=min(row.called for row in rows))


def _refusals_and_torn_reads(once: Sequence[Operation], found: Found) -> None:
    for row in once:
        if row.problem == "torn-read":
            found.add("torn read", f"{row.name} met a document that nobody wrote whole", row.name)
        _stated_and_granted(row, found)
        wanted = 1 if row.partial else row.quantity
        if row.outcome == "refused" and row.kind in {"buy", "hold"} and row.count is not None and row.count >= wanted:
            sentence = f"{row.name} was refused {row.quantity} tickets while {row.count} were left"
            found.add("undersell", sentence, row.name, size=row.count)


def _stated_and_granted(row: Operation, found: Found) -> None:
    """Check that a reply states what it must, and that a sale grants what was asked, or what was left of it."""
    if row.kind not in CHANGING or row.outcome not in {"done", "refused"}:
        return
    if row.version is None or row.count is None:
        found.add("miscount", f"{row.name} was answered without a version and a count", row.name)
    elif row.outcome == "done" and row.kind in {"buy", "hold"}:
        there = row.count + len(row.tickets)
        due = min(row.quantity, there) if row.partial else row.quantity
        if len(row.tickets) != due:
            sentence = f"{row.name} asked for {row.quantity} of {there} tickets and got {len(row.tickets)}"
            found.add("miscount", sentence, row.name, size=abs(len(row.tickets) - due))


def _placed(once: Sequence[Operation], journal: Sequence[Change] | None, start: Start, found: Found) -> _Versions:
    """Return every operation that took effect or saw one, at its version."""
    versions: _Versions = defaultdict(_Version)
    unknown = sorted((row for row in once if row.kind in CHANGING and row.outcome == "unknown"), key=_called)
    for row in once:
        if row.version is not None and row.outcome in {"done", "refused"}:
            place = versions[row.version]
            changes = row.kind in CHANGING and row.outcome == "done"
            sold = CHANGING.get(row.kind, 0) * len(row.tickets)
            placed = _Placed(row.name, row.called, row.returned, sold, row.count)
            (place.changes if changes else place.observers).append(placed)
    if journal is not None:
        _place_recorded(versions, once, journal)
    missing = [
        version
        for version in range(start.version + 1, max(versions, default=0) + 1)
        if version not in versions or not versions[version].changes
    ]
    if journal is None:
        alike = len({(row.kind, row.quantity, row.partial) for row in unknown}) == 1 and not unknown[0].partial
        for version, row in zip(missing, unknown, strict=False):
            known = alike and row.kind in {"buy", "hold"}
            delta: int | None = CHANGING[row.kind] * row.quantity if known else None
            versions[version].changes.append(_Placed(row.name, row.called, math.inf, delta, None))
        missing = missing[len(unknown) :]
    for version in missing:
        found.add("missing version", f"nobody made version {version}")
    return versions


def _place_recorded(versions: _Versions, once: Sequence[Operation], journal: Sequence[Change]) -> None:
    """Place what the journal has and nobody was told of: unknown outcomes, and holds that expired by themselves."""
    owners = {conservation.identity(row): row for row in once if row.kind in CHANGING}
    told = {(row.order, conservation.RECORDED_AS[row.kind]) for row in owners.values() if row.outcome == "done"}
    held = {change.order for change in journal if change.status == "held"}
    for change in journal:
        if (change.order, change.status) not in told:
            kind, whose = kind_of(change, held)
            delta = (1 if kind == "expire" else CHANGING[kind]) * len(change.tickets)
            owner = owners.get(whose)
            name, called = (owner.name, owner.called) if owner else (f"{change.status} {change.order}", -math.inf)
            versions[change.version].changes.append(_Placed(name, called, math.inf, delta, change.count))


def _lost_updates(versions: _Versions, found: Found) -> None:
    for version in sorted(versions):
        changes = sorted(versions[version].changes, key=_called)
        for row in changes[1:]:
            first = changes[0]
            how = "under way together" if row.called < first.returned else "the second when the first was long over"
            sentence = f"{first.name} and {row.name} both made version {version}, {how}"
            found.add("lost update", sentence, first.name, row.name, size=len(changes))


def _counts(versions: _Versions, start: Start, found: Found) -> None:
    """Replay the versions. Where two changes made one, either may be what the next one read; ``None`` is any count."""
    before: set[int | None] = {start.count}
    for version in sorted(versions):
        place = versions[version]
        now: set[int | None] = {start.count} if version == start.version else set()
        for row in place.changes:
            possible = {None if None in (count, row.delta) else count + row.delta for count in before}  # type: ignore[operator]
            now |= possible if row.count is None else {row.count}
            if row.count is not None and None not in possible and row.count not in possible:
                off = min(abs(row.count - count) for count in possible if count is not None)
                sentence = f"{row.name} left {row.count} tickets at version {version}, where {_either(possible)} follow"
                found.add("miscount", sentence, row.name, size=off)
            if row.count is not None and not 0 <= row.count <= start.capacity:
                found.add("miscount", f"{row.name} left {row.count} tickets of {start.capacity}", row.name)
        for row in place.observers:
            if now and None not in now and row.count not in now:
                found.add("miscount", f"{row.name} saw {row.count} tickets at version {version}, not {_either(now)}")
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
                    anomaly: Anomaly = "stale read" if latest_observes else "reordered"
                    found.add(anomaly, sentence, latest.name, row.name, size=latest.called - row.returned)
            for row in group:
                if latest is None or row.called > latest.called:
                    latest, latest_observes = row, observes


def _called(row: Operation | _Placed) -> float:
    return row.called


def _either(counts: set[int | None]) -> str:
    return " or ".join(sorted(map(str, counts)))
