"""Excuses: which of the things that were found may have come of a holder that was out, case by case. Pure.

A case may have, if it was not over before that holder was hunted for: one that was stopped for a look may have had the
lock already, and be let go on because it had not read. Each slice had a store of its own, and each pause is looked at
by itself: that others stood still in one says nothing of another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loadtest.fates import EXCUSES, LET_IN, Excuse, excuse
from loadtest.mishaps import LOOKED, Mishap, each_by_itself

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.findings import Checked
    from loadtest.history import Operation
    from loadtest.mishaps import Stretch


def excuses(
    checked: Checked, operations: Sequence[Operation], stretches: Sequence[Stretch], survives: Sequence[str]
) -> tuple[Excuse, ...]:
    """Return the excuse of each case that is known of a slice."""
    if not checked.findings:
        return ()
    pauses = list(_pauses(stretches, operations, survives))
    returned = {row.name: row.returned for row in operations}
    ends = [
        max((returned.get(name, math.inf) for name in case.operations), default=math.inf)
        for found in checked.findings
        for case in (found.first, found.worst)
    ]
    return tuple(
        max((what for since, what in pauses if since <= end), key=EXCUSES.index, default="none") for end in ends
    )


def _pauses(
    stretches: Sequence[Stretch], operations: Sequence[Operation], survives: Sequence[str]
) -> Iterator[tuple[int, Excuse]]:
    """Yield what each pause excuses, and since when it was hunted for whom it befell."""
    since: int | None = None
    befell = iter(each_by_itself(stretches, operations))
    for each in stretches:
        since = each.from_ns if since is None else since
        # Of a pause that was taken back, for the scene was over, nobody saw what came of it.
        unseen = Mishap(LET_IN, met=False, stuck=False) if each.victim else None
        mishap = next(befell) if each.mishap else unseen
        if mishap and mishap.name == LET_IN:
            yield since, excuse(mishap, survives, met=each.met and bool(each.mishap))
        if not each.name.endswith(LOOKED):
            since = None
