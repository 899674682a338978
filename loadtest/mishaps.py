"""What was done on purpose to a service, or to one who held the lock, and what became of the others. Pure.

A claim says what may happen to the one inside, with nothing lost and nobody stuck. What was lost, the check finds. This
finds that nobody was served any more when there had been time to recover: for a lease to end, a death to be noticed, a
service to start. It also finds who was let down although no claim excuses that: a service that did not start again, one
who was inside and got no answer when it ended in order, and a full disk of which somebody was told nothing definite.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loadtest.history import NOT_SENT, REPLY_LOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Kind, Operation

Name = Literal[
    "killed worker", "killed holder", "paused holder", "killed service", "restarted service", "full disk", "slow disk"
]
"""Claims speak of two of them, by these names: the killed holder and the paused one."""

AT_ONCE: frozenset[Name] = frozenset({"killed worker", "killed holder", "paused holder"})
"""Here others are there to be served from the beginning on; else somebody is again when it is over."""
HOLDERS: frozenset[Name] = frozenset({"killed holder", "paused holder"})
"""What is meant for the one inside, who may not be met; and what a claim may leave out."""
LOOKED = "stopped for a look"
"""How the name of a stretch ends in which one was only stopped to see whether he holds up the others."""
RECOVERY_S = 3.0
"""So long after that nobody need be served yet: above any lease that a mode here takes."""
WATCHED_S = 2.0
"""How long after that is looked whether anybody is served."""
SETTLE_S = 0.2
"""So long after one was stopped there may still come replies that were under way."""
LOOKING: frozenset[Kind] = frozenset({"look", "find"})
"""Calls that change nothing: they may be answered though nobody is let in."""
NOT_WRITTEN = "not-written"
"""What a service says of an order that its disk had no room for."""
INSIDE_S = 0.25
"""Who called so long before a service was told to end was inside by then, and is to be answered."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in which something was done on purpose; both ends on the clock of the history.

    ``mishap`` is what it was, if it was meant to last; one who was only stopped to see whether he holds up the others
    has none. ``met`` says that he did hold them up, and by the trace, if there is one, between reading and writing.
    ``gone`` is why the service did not start again, if it did not, and ``ended`` what was wrong with its end, if it was
    told to end. ``victim`` is whom it befell: a process, or a host. ``free`` says that no holder was met because there
    is none: nobody keeps others out while he decides.
    """

    name: str
    from_ns: int
    to_ns: int
    mishap: Name | None = None
    met: bool = False
    gone: str = ""
    ended: str = ""
    victim: str = ""
    free: bool = False


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happened to a mode, ``times`` in all slices. ``met``: to whom it was meant for, once at least.

    ``stuck``: nobody was served when there had been time to recover, once at least. ``recovered_s`` is the longest that
    it took until somebody was (``None``: it was not seen), ``excused`` how many calls failed meanwhile. ``wrong`` is
    what no claim excuses, in a sentence. ``free``: there is no holder whom it could be meant for.
    """

    name: Name
    met: bool
    stuck: bool
    times: int = 1
    recovered_s: float | None = None
    excused: int = 0
    wrong: str = ""
    free: bool = False


def befallen(slices: Sequence[tuple[Sequence[Stretch], Sequence[Operation]]]) -> tuple[Mishap, ...]:
    """Return what happened in slices, of which each has its stretches and its operations; in order."""
    cases: dict[Name, list[tuple[Stretch, _Seen]]] = {}
    for stretches, operations in slices:
        rows = _Seen(operations if stretches else ())
        for each in stretches:
            if each.mishap:
                cases.setdefault(each.mishap, []).append((each, rows))
    return tuple(_pooled(name, of_name) for name, of_name in cases.items())


def each_by_itself(stretches: Sequence[Stretch], operations: Sequence[Operation]) -> list[Mishap]:
    """Return what happened in a slice, one for each stretch that was meant to last."""
    rows = _Seen(operations)
    return [_pooled(each.mishap, [(each, rows)]) for each in stretches if each.mishap]


class _Seen:
    """The operations of a slice, so sorted that those about a stretch of a long one are found at once."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._rows = sorted(operations, key=lambda row: row.called)
        self._called = [row.called for row in self._rows]
        self._longest = max((row.returned - row.called for row in self._rows), default=0)
        self.served = sorted(row.returned for row in self._rows if _is_served(row))

    def during(self, since: int, until: int) -> list[Operation]:
        """Return those that were under way."""
        first, last = bisect_left(self._called, since - self._longest), bisect_left(self._called, until)
        return [row for row in self._rows[first:last] if row.returned > since]

    def first_served(self, since: int) -> int | None:
        """Return when somebody was served first from then on."""
        place = bisect_left(self.served, since)
        return self.served[place] if place < len(self.served) else None


def _pooled(name: Name, cases: Sequence[tuple[Stretch, _Seen]]) -> Mishap:
    recovered = [_recovered_s(each, rows) for each, rows in cases]
    known_s = [seconds for seconds in recovered if seconds is not None]
    return Mishap(
        name,
        met=any(_met(each, rows) for each, rows in cases),
        stuck=any(_stuck(each, rows) for each, rows in cases),
        times=len(cases),
        recovered_s=max(known_s) if len(known_s) == len(recovered) else None,
        excused=sum(
            _failed(row) and excused(row, [each])
            for each, rows in cases
            for row in rows.during(each.from_ns, each.to_ns + int(RECOVERY_S * 1e9))
        ),
        wrong=next((why for each, rows in cases if (why := _wrong(each, rows))), ""),
        free=all(each.free for each, _ in cases),
    )


def excused(operation: Operation, stretches: Sequence[Stretch]) -> bool:
    """Tell whether a call was under way while something was done on purpose: that it failed is no wonder.

    So is one without any answer soon after: its connection was kept, and led to one who is no more.
    """
    unanswered = not operation.status and operation.problem != NOT_SENT
    after = int(RECOVERY_S * 1e9)
    return any(
        operation.called < each.to_ns + (after if each.mishap and unanswered else 0)
        and operation.returned > each.from_ns
        for each in stretches
    )


def meant(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return those that were meant to last, without the looks at who holds up the others."""
    return [each for each in stretches if each.mishap]


def _free(stretch: Stretch) -> int:
    """Return from when on others were there to be served."""
    return stretch.from_ns if stretch.mishap in AT_ONCE else stretch.to_ns


def _failed(row: Operation) -> bool:
    return row.outcome in {"unknown", "not done"} and row.problem != REPLY_LOST


def _is_served(row: Operation) -> bool:
    return row.kind not in LOOKING and row.outcome in {"done", "refused"}


def _watched(stretch: Stretch) -> tuple[int, int]:
    """Return when it is looked whether anybody is served."""
    since = _free(stretch) + int(RECOVERY_S * 1e9)
    until = since + int(WATCHED_S * 1e9)
    return since, max(until, stretch.to_ns) if stretch.mishap == "paused holder" else until


def _stuck(stretch: Stretch, operations: _Seen) -> bool:
    since, until = _watched(stretch)
    first = operations.first_served(since)
    return (first is None or first >= until) and _others_were_asked(stretch, operations)


def _others_were_asked(stretch: Stretch, operations: _Seen) -> bool:
    """Tell whether anybody waited for another than the one that is paused: else nobody can have been served."""
    asked = [row for row in operations.during(*_watched(stretch)) if row.kind not in LOOKING]
    paused = stretch.victim if stretch.mishap == "paused holder" else ""
    return any(not paused or paused not in row.worker.split("/") for row in asked)


def _recovered_s(stretch: Stretch, operations: _Seen) -> float | None:
    settle_ns = int(SETTLE_S * 1e9) if stretch.mishap == "paused holder" else 0
    since = _free(stretch)
    first = operations.first_served(since + settle_ns + 1)
    return (first - since) / 1e9 if first and not stretch.gone else None


def _is_cut_off(row: Operation, stretch: Stretch) -> bool:
    """Tell whether a call began and ended without an answer meanwhile: what comes after may be the next fault's."""
    inside = stretch.from_ns <= row.called and row.returned <= stretch.to_ns + int(RECOVERY_S * 1e9)
    return inside and not row.status and row.problem != REPLY_LOST


def _met(stretch: Stretch, operations: _Seen) -> bool:
    """Tell whether it came to whom it was meant for. A full disk is met by who is told of it."""
    if stretch.mishap != "full disk":
        return stretch.met and _others_were_asked(stretch, operations)
    return any(row.problem == NOT_WRITTEN for row in operations.during(stretch.from_ns, stretch.to_ns))


def _wrong(stretch: Stretch, operations: _Seen) -> str:
    if stretch.gone or stretch.ended:
        return stretch.gone or stretch.ended
    if stretch.mishap == "restarted service":
        inside_since = stretch.from_ns - int(INSIDE_S * 1e9)
        under_way = [row for row in operations.during(stretch.from_ns, stretch.to_ns) if row.problem != REPLY_LOST]
        inside = [row for row in under_way if row.called < inside_since]
        if unanswered := sum(not row.status for row in inside):
            return f"{unanswered} of {len(inside)} calls that were inside when it was told to end got no answer"
    if stretch.mishap == "full disk":
        told = [row for row in operations.during(stretch.from_ns, stretch.to_ns) if row.outcome == "unknown"]
        if vague := sum(bool(row.status) for row in told):
            return f"with a full disk {vague} replies said nothing definite"
        if cut_off := sum(_is_cut_off(row, stretch) for row in told):
            return f"with a full disk {cut_off} calls got no answer"
    return ""
