"""The agenda: what a client does next, of what it still wants and of what is to become of its orders. Pure.

Moments are nanoseconds of the clock that the client reads.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from loadtest.plan import TIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.plan import Wish


@dataclass(slots=True)
class Agenda:
    """What a client has still to do. ``start`` is the common first moment.

    In every other stretch of ``tide_s`` what lingers is put off.
    """

    wishes: Iterator[Wish]
    start: int
    tide_s: float = 0.0
    _due: list[tuple[int, int, Wish]] = field(default_factory=list)
    _new: list[Wish] = field(default_factory=list)
    _turns: Iterator[int] = field(default_factory=count)

    def take(self, now: int) -> tuple[int, Wish] | None:
        """Return what comes next and when it is planned for; ``now`` is when the one before was answered.

        In a closed loop that is ``now``, and what is due goes before what is new. In an open loop it is the planned
        moment, though it may have passed.
        """
        if not self._new:
            self._new += [wish for wish in [next(self.wishes, None)] if wish is not None]
        opens = any(wish.planned is not None for wish in self._new)
        moment = self.start + (self._new[0].planned or 0) if opens else now
        if self._due and (not self._new or self._due[0][0] <= moment):
            due, _, wish = heapq.heappop(self._due)
            return (due if opens else max(due, now)), wish
        return (moment, self._new.pop()) if self._new else None

    def follow(self, wish: Wish, order: str, answered: int) -> None:
        """Take down what is to become of the ``order`` that came of ``wish``."""
        high = bool(self.tide_s) and (answered - self.start) // int(self.tide_s * 1e9) % 2
        for each in wish.then:
            due = answered + int(each.after_s * 1e9) * (TIDE if high and each.lingers else 1)
            heapq.heappush(self._due, (due, next(self._turns), replace(each, order=order)))
