"""What happens inside, told to whoever watches. Modes know nothing of it: what they are made of tells it.

``here`` is who is told in this process. By itself nobody counts (``metrics.py`` does); only the time of the last turn
is kept, by which ``readiness.py`` knows that the lock can be had without asking for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

T = TypeVar("T")


class Watch:
    """One who is told what happens. This one does not count."""

    turn_at = float("-inf")
    """When a turn of somebody of this process last came to a good end, by the monotonic clock."""

    def turn(self, wait_s: float, hold_s: float, *, done: bool) -> None:  # noqa: ARG002  # for who counts
        """Somebody waited so long, was let in, and was inside so long.

        ``done``: something was decided, and written if it was to be. One who was let in to an event that is not sold
        from any more has had a turn too, and it does not show that anybody can sell.
        """
        if done:
            self.turn_at = time.monotonic()

    def in_vain(self, wait_s: float) -> None:
        """Somebody waited so long and was not let in."""

    def batch(self, orders: int) -> None:
        """So many orders went inside together, in one turn."""

    def synced(self, took_s: float) -> None:
        """A file is on disk, after so long."""

    def tried_again(self) -> None:
        """An order that came second is decided again."""

    def refused(self, reason: str) -> None:
        """A request was refused before it had a route."""

    def answered(self, route: str, method: str, status: int, outcome: str, took_s: float) -> None:
        """A request has its reply, so long after it had arrived."""

    def queue(self, length: Callable[[], int]) -> None:
        """There is one more queue of orders; ``length`` says how many wait there."""

    def worker(self, inside: Callable[[], int]) -> None:
        """From now on it is a worker who is told; ``inside`` says how many requests are in it."""

    def alive(self, processes: set[int]) -> None:
        """These are all processes of the service. Told in the master, about once a second."""

    def died(self, workers: int) -> None:
        """So many workers have ended that were not told to. Told in the master."""

    def lost_line(self) -> None:
        """A line of the log found no room."""

    def end(self) -> None:
        """The service has ended."""

    def flush(self) -> None:
        """Hold nothing back that was told: the process is about to end, or somebody wants to know."""


here = Watch()


class timed:  # noqa: N801  # as contextlib names its own
    """A turn, of which is told how long it took to get it, how long it was held, and whether something was done."""

    __slots__ = ("_began", "_entered", "_turn", "done")

    def __init__(self, turn: AbstractContextManager[object]) -> None:
        self._turn = turn
        self.done = False
        """Whoever has the turn makes it true: what fails need not be raised within."""

    def __enter__(self) -> Self:
        """Be let in."""
        self._began = time.monotonic()
        self._turn.__enter__()
        self._entered = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Leave."""
        swallowed = self._turn.__exit__(kind, error, trace)
        here.turn(self._entered - self._began, time.monotonic() - self._entered, done=self.done)
        return swallowed


def timed_work(work: Callable[[], T]) -> Callable[[], T]:
    """Return ``work`` for who waits from now on until it is called: its turn."""
    began = time.monotonic()

    def working() -> T:
        entered, done = time.monotonic(), False
        try:
            outcome = work()
            done = True
            return outcome
        finally:
            here.turn(entered - began, time.monotonic() - entered, done=done)

    return working
