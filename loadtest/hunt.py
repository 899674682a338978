"""The hunt for the holder: which process, or which host, is inside the lock.

Nobody outside can see it. So they are stopped one after the other, in an order by chance: where the others are still
answered, it was not the one, and it goes on at once. The one that nobody can do without is the holder, unless the trace
says that somebody else was inside when it was stopped: where they stand in line, the others soon wait for anyone who is
out. With a trace they are also stopped when somebody has read and not written. Where nobody ever waits, as with
optimistic modes, there is none to be found, and any will do.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.met import is_between, known
from loadtest.mishaps import RECOVERY_S, SETTLE_S, Stretch
from loadtest.schedule import HUNT_S, PAUSE_S, PAUSE_S_MAX

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from loadtest.drive import Progress
    from loadtest.history import Passage
    from loadtest.mishaps import Name
    from loadtest.victims import Victim

STALL_S, STALL_THINKS = 0.4, 3
"""Without a reply for so long, and so many pauses of the service between read and write, the others are held up. It is
sooner than PostgreSQL ends the transaction of one who is paused (a second and a pause after it was heard of last)."""
TRIES_MAX = 36
"""So often one is stopped to see whether it is the holder: with four workers and a daemon, one time in a thousand it is
not met."""
BETWEEN_S = (0.0, 0.2)
"""How long all go on before the next one is stopped: by chance, or each would be met at the same step."""
POLL_S = 0.02
RIPE_THINKS, RIPE_POLL_S = 2, 0.005
"""For so many pauses of the service is waited until somebody has been inside for half of one."""


class Watch:
    """How many were answered so far, and whether the scene is over."""

    def __init__(self, think_s: float) -> None:
        self._stall_s = STALL_S + STALL_THINKS * think_s
        self._begun, self._over = threading.Event(), threading.Event()
        self.answered = 0

    def told(self, progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Return ``progress``, overheard: it says when replies come, and when none do."""

        def overheard(now: Progress) -> None:
            self.answered = now.done - now.errors
            if self.answered:
                self._begun.set()
            progress(now)

        return overheard

    def wait_for_the_first(self) -> None:
        """Return when somebody was answered, or the scene is over."""
        self._begun.wait()

    def end(self) -> None:
        """Say that the scene is over."""
        self._over.set()
        self._begun.set()

    @property
    def over(self) -> bool:
        """Whether it is."""
        return self._over.is_set()

    def waited(self, seconds: float) -> bool:
        """Wait; tell whether the scene is over before that."""
        return self._over.wait(max(0.0, seconds))

    def none_answered(self, seconds: float) -> bool:
        """Tell whether nobody is answered for so long; at once if somebody is, or the scene is over.

        The last look is behind the time, however late this thread comes to it: else a busy machine would be taken for
        a holder who holds up the others.
        """
        before, deadline = self.answered, time.monotonic() + seconds
        while True:
            is_last = time.monotonic() >= deadline
            if self.waited(POLL_S) or self.answered > before:
                return False
            if is_last:
                return True

    def others_are_held_up(self) -> bool:
        """Tell whether nobody is answered any more, now that one is stopped and what was under way has come."""
        return self.none_answered(self._stall_s)


@dataclass(frozen=True, slots=True)
class Trace:
    """What the service has written by now of who was inside, if it writes a trace."""

    passages: Callable[[], Sequence[Passage]] = tuple
    think_s: float = 0.0

    def had_another(self, moment: int) -> bool:
        """Tell whether somebody was inside then who has left meanwhile."""
        return any(row.entered is not None and row.entered <= moment < row.left for row in self.passages())

    def is_ripe(self) -> bool:
        """Tell whether somebody is between reading and writing now; also if there is no telling."""
        passages = self.passages()
        silent = not self.think_s or all(row.read is None for row in passages)
        return silent or is_between(time.monotonic_ns(), passages, self.think_s)

    def met(self, paused: Stretch) -> bool:
        """Tell whether, as far as it says, the holder was paused between reading and writing."""
        return known(paused, self.passages(), self.think_s).met


class Hunt:
    """Finds the holder among ``those``, in an order by ``chance``.

    ``looked_at`` is told of each that went on, and since when it was stopped.
    """

    def __init__(
        self,
        those: Callable[[], Sequence[Victim]],
        watch: Watch,
        chance: random.Random,
        looked_at: Callable[[Victim, int], None],
        trace: Trace,
    ) -> None:
        self._those = those
        self._watch = watch
        self._chance = chance
        self._looked_at = looked_at
        self._trace = trace

    def stop(self) -> tuple[Victim, int, bool]:
        """Return who is stopped now, since when, and whether it holds up the others."""
        turns = self._turns()
        for left in reversed(range(TRIES_MAX)):
            ripe = time.monotonic() + RIPE_THINKS * self._trace.think_s
            while not self._trace.is_ripe() and time.monotonic() < ripe and not self._watch.waited(RIPE_POLL_S):
                pass
            victim, since = next(turns), time.monotonic_ns()
            victim.pause()
            if self._is_holder(since):
                return victim, since, True
            if not left or self._watch.over:
                break
            victim.resume()
            self._looked_at(victim, since)
            self._watch.waited(self._chance.uniform(*BETWEEN_S))
        return victim, since, False

    def pause(self, mishap: Name) -> Stretch:
        """Leave it stopped. Again, while there is time, if it had not read yet by then, or had written."""
        last = time.monotonic() + HUNT_S - PAUSE_S
        while True:
            victim, since, met = self.stop()
            self._watch.waited(RECOVERY_S - (time.monotonic_ns() - since) / 1e9)
            stood_still = self._watch.none_answered(PAUSE_S_MAX - RECOVERY_S)
            self._watch.waited(PAUSE_S - (time.monotonic_ns() - since) / 1e9)
            name, now = f"{victim.name}{holding(met)} paused", time.monotonic_ns()
            victim.resume()  # who was inside may leave at once, and after what is noted
            paused = Stretch(name, since, now, mishap, met, victim=victim.identity)
            if not met or stood_still or time.monotonic() > last or self._left_met(paused):
                return paused
            self._looked_at(victim, since)

    def _is_holder(self, since: int) -> bool:
        settled = not self._watch.waited(SETTLE_S) and not self._trace.had_another(since)
        return settled and self._watch.others_are_held_up() and not self._trace.had_another(since)

    def _left_met(self, paused: Stretch) -> bool:
        self._watch.waited(SETTLE_S + self._trace.think_s)  # it leaves now
        return self._trace.met(paused)

    def _turns(self) -> Iterator[Victim]:
        """Yield all that are there in an order by chance, again and again."""
        while True:
            there = self._those()
            yield from self._chance.sample(there, len(there))


def holding(met: bool) -> str:  # noqa: FBT001  # as it was found
    """Return what a name says of one who holds up the others."""
    return ", which holds up the others," if met else ""
