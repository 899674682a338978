"""What was done on purpose to a host that held the lock, and what became of the others. Pure.

A claim says what may happen to the one inside, with nothing lost and nobody stuck. What was lost, the check finds. That
nobody was served any more, this finds: a lease, or a server that notices a death, has had time to let another in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Operation, Passage

Name = Literal["paused holder", "killed holder"]
"""As the claims have it."""

RECOVERY_S = 3.0
"""So long after the mishap the others may still wait: above any lease that a mode here takes."""
WATCHED_S = 2.0
"""How long after that is looked whether anybody is served."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in which something was done to a host; both ends on the clock of the history.

    ``mishap`` is what it was to the one inside, if it was meant to last; a host that was only stopped to see whether it
    holds up the others has none. ``met`` says that it did hold them up, and by the trace, if there is one, between
    reading and writing.
    """

    name: str
    from_ns: int
    to_ns: int
    mishap: Name | None = None
    met: bool = False


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happened to hosts of a mode. ``met``: one that held up the others, in every slice.

    ``stuck``: nobody was served when the others had had time to recover, in one slice at least.
    """

    name: Name
    met: bool
    stuck: bool


def befallen(slices: Sequence[tuple[Sequence[Stretch], Sequence[Operation]]]) -> Mishap | None:
    """Return what happened in slices, of which each has its stretches and its operations; ``None`` if nothing did."""
    meant = [(each.mishap, each, rows) for stretches, rows in slices for each in stretches if each.mishap]
    if not meant:
        return None
    name, _, _ = meant[0]
    return Mishap(name, all(each.met for _, each, _ in meant), any(_stuck(each, rows) for _, each, rows in meant))


def known(stretch: Stretch, passages: Sequence[Passage], think_s: float) -> Stretch:
    """Return ``stretch`` with what the trace says of it: a holder stopped when it had written does nothing wrong after.

    One that was killed left no line in the trace, and one in a mode without notes has none with ``read`` in it.
    """
    noted = [row.read for row in passages if row.read is not None and row.left > stretch.to_ns]
    if stretch.mishap != "paused holder" or not any(row.read is not None for row in passages):
        return stretch
    before_write = any(read <= stretch.from_ns < read + int(think_s * 1e9) for read in noted)
    return replace(stretch, met=stretch.met and before_write)


def excused(operation: Operation, stretches: Sequence[Stretch]) -> bool:
    """Tell whether a call was under way while something was done to a host: that it failed is no wonder."""
    return any(operation.called < each.to_ns and operation.returned > each.from_ns for each in stretches)


def _stuck(stretch: Stretch, operations: Sequence[Operation]) -> bool:
    since = stretch.from_ns + int(RECOVERY_S * 1e9)
    until = since + int(WATCHED_S * 1e9)
    return not any(
        row.kind != "look" and row.outcome in {"done", "refused"} and since <= row.returned < until
        for row in operations
    )
