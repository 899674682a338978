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
4. *Once* (``once.py``). Calls with one idempotency key, and repeated confirmations or cancellations of one order, are
   one operation, from the first call that can have done it (the one the journal names, if it names one) to the first
   reply. It has one effect and one answer, and its key is nobody else's.
5. *Conservation* (``conservation.py``). Replies, journal, ticket numbers and the final count agree; everybody got as
   many tickets as they asked for; and there were enough tickets for those who were never told theirs.
6. *Lives* (``lives.py``). An order begins once, is confirmed while it is held, and ends once, and what is said of it is
   true. A hold lasts as long as was promised, and keeps its tickets from others no longer: by the client's clock, in
   bounds that are true but not the narrowest.

Nothing found means linearizable. Versions force the order of the changes, stated versions the place of the observers,
and a total order is a linearization when no operation returned before one that stands earlier was called (Herlihy and
Wing, "Linearizability: a correctness condition for concurrent objects", TOPLAS 12(3), 1990). Conversely every finding
contradicts the one order that the versions leave. The tests hold this to a search through all orders, both ways.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest import conservation, lives
from loadtest.conservation import CHANGING, kind_of
from loadtest.findings import Checked, Found
from loadtest.once import one_for_each
from loadtest.sizes import orders, sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.findings import Anomaly
    from loadtest.history import Change, Operation
    from loadtest.sizes import Sizes


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
    everything = [*operations, last] if last else operations
    size = sizes(start.capacity, journal or ())
    rows, journal = one_for_each(everything, orders(journal), found)
    _wrong_by_themselves(rows, everything, found)
    versions = _placed(rows, journal, size, start, found)
    _before_the_start(versions, start, found)
    _lost_updates(versions, found)
    _counts(versions, size.capacity, start, found)
    _real_time(versions, found)
    steps = conservation.steps_of(rows, journal)
    conservation.check(rows, journal, steps, size, start.count, found)
    conservation.check_untold(rows, _untold(versions), size.capacity, found)
    lives.check(everything, rows, journal, steps, found, known=start.count == start.capacity)
    sold = conservation.owned(rows)
    left = last.count if last and last.outcome == "done" else None
    return Checked(found.findings(), sold, left)


def _wrong_by_themselves(once: Sequence[Operation], everything: Iterable[Operation], found: Found) -> None:
    for row in everything:
        if row.problem == "torn-read":
            found.add("torn read", f"{row.name} met a document that nobody wrote whole", row.name)
        if row.problem == "key-reused":
            sentence = f"{row.name} was told that its key belongs to another request, and there was none but its own"
            found.add("double effect", sentence, row.name)
    for row in once:
        decided = row.kind in CHANGING and row.outcome in {"done", "refused"}
        if decided and (row.version is None or row.count is None):
            found.add("miscount", f"{row.name} was answered without a version and a count", row.name)
        wanted = 1 if row.partial else row.quantity
        if row.outcome == "refused" and row.kind in {"buy", "hold"} and row.count is not None and row.count >= wanted:
            sentence = f"{row.name} was refused {row.quantity} tickets while {row.count} were left"
            found.add("undersell", sentence, row.name, size=row.count)


def _placed(
    once: Sequence[Operation], journal: Sequence[Change] | None, size: Sizes, start: Start, found: Found
) -> _Versions:
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
    for change, more in size.changes:
        resized = _Placed(f"capacity {change.capacity}", -math.inf, math.inf, more, change.count)
        versions[change.version].changes.append(resized)
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
    owners = conservation.asked(once)
    done = [row for row in owners.values() if row.outcome == "done"]
    told = {(row.order, conservation.RECORDED_AS[row.kind], row.version) for row in done}
    held = {change.order for change in journal if change.status == "held"}
    for change in journal:
        if (change.order, change.status, change.version) not in told:
            kind, whose = kind_of(change, held)
            delta = conservation.ADDED[kind] * len(change.tickets)
            owner = owners.get(whose)
            name, called = (owner.name, owner.called) if owner else (f"{change.status} {change.order}", -math.inf)
            versions[change.version].changes.append(_Placed(name, called, math.inf, delta, change.count))


def _untold(versions: _Versions) -> list[tuple[int, int]]:
    """Return versions, and how many tickets they sold to somebody who was never told which."""
    return [
        (version, -row.delta)
        for version, place in versions.items()
        for row in place.changes
        if row.count is None and row.delta is not None
    ]


def _before_the_start(versions: _Versions, start: Start, found: Found) -> None:
    for version in sorted(version for version in versions if version <= start.version):
        for row in versions[version].changes:
            found.add("lost update", f"{row.name} made version {version}, which was there at the start", row.name)
        for row in versions[version].observers if version < start.version else ():
            found.add("stale read", f"{row.name} saw version {version}, and the start was {start.version}", row.name)


def _lost_updates(versions: _Versions, found: Found) -> None:
    for version in sorted(versions):
        changes = sorted(versions[version].changes, key=_called)
        for row in changes[1:]:
            first = changes[0]
            how = "under way together" if row.called < first.returned else "the second when the first was long over"
            sentence = f"{first.name} and {row.name} both made version {version}, {how}"
            found.add("lost update", sentence, first.name, row.name, size=len(changes))


def _counts(versions: _Versions, capacity: int, start: Start, found: Found) -> None:
    """Replay the versions. Where two changes made one, either may be what the next one read; ``None`` is any count."""
    before: set[int | None] = {start.count}
    for version in sorted(versions):
        place = versions[version]
        now: set[int | None] = {start.count} if version == start.version else set()
        for row in place.changes:
            possible = {None if None in (count, row.delta) else count + row.delta for count in before}  # type: ignore[operator]  # neither is None
            now |= possible if row.count is None else {row.count}
            if row.count is not None and None not in possible and row.count not in possible:
                off = min(abs(row.count - count) for count in possible if count is not None)
                sentence = f"{row.name} left {row.count} tickets at version {version}, where {_either(possible)} follow"
                found.add("miscount", sentence, row.name, size=off)
        for row in place.observers:
            if now and None not in now and row.count not in now:
                found.add("miscount", f"{row.name} saw {row.count} tickets at version {version}, not {_either(now)}")
        for count in now:
            if count is not None and not 0 <= count <= capacity:
                found.add("miscount", f"{count} tickets of {capacity} are left at version {version}")
        before = now or {None}


def _real_time(versions: _Versions, found: Found) -> None:
    """Find every operation that returned before one placed earlier was called."""
    latest, latest_observes = None, False
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
