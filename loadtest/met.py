"""Whether the holder was met who was to be stopped or killed between reading and writing, by the trace. Pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from loadtest.mishaps import HOLDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Passage
    from loadtest.mishaps import Stretch

RETRIES = "retries"
"""What an optimistic mode says of how its buyers wait."""


def known(stretch: Stretch, passages: Sequence[Passage], think_s: float, waits: str = "") -> Stretch:
    """Return ``stretch`` with what the trace says of it: a holder stopped when it had written does nothing wrong after.

    One that was killed left no line in the trace, one in a mode without notes has none with ``read`` in it, and where
    the service makes no pause there is no telling: there nobody knows better than who looked for the holder. Where who
    comes second ``waits`` by trying again, nobody holds anything, though the trace has no more of him than that.
    """
    if stretch.mishap not in HOLDERS:
        return stretch
    noted = [(row.read, row) for row in passages if row.read is not None]
    before_write = any(
        read <= stretch.from_ns < read + int(think_s * 1e9) and row.left > stretch.to_ns for read, row in noted
    )
    # One that was refused its write, and decided again, has only the second reading in the trace.
    before_write = before_write or is_between(stretch.from_ns, passages, think_s)
    met = stretch.met and (before_write or not noted or not think_s or stretch.mishap != "paused holder")
    return replace(stretch, met=met, free=not met and (waits == RETRIES or not _alone(noted)))


def is_between(moment: int, passages: Sequence[Passage], think_s: float) -> bool:
    """Tell whether whoever is alone inside then has read and not written.

    Half a pause of the service is enough to be let in after the one before has left, and a whole one has not gone by.
    """
    left = [row.left for row in passages if row.left <= moment]
    return bool(left) and think_s / 2 <= (moment - max(left)) / 1e9 < think_s


def _alone(noted: Sequence[tuple[int, Passage]]) -> bool:
    """Tell whether one after the other read and left, as a rule: who was paused may have been overtaken."""
    rows = pairwise(sorted(noted, key=itemgetter(0)))
    overtaken = [read < row.left for (_, row), (read, other) in rows if row.worker != other.worker]
    return bool(noted) and 2 * sum(overtaken) <= len(overtaken)
