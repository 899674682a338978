"""Outcomes that come later: waited for in the thread that asked, or not waited for by any thread.

A mode whose orders wait in a queue can ``begin`` a command and say its outcome when it is there. Who has a thread to
spare waits with ``awaited``. A server that knows ``Later`` need not: a thread that sleeps until its batch is done, and
is woken for one reply, costs more than deciding and writing the order (docs/performance.md).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from service import watch
from service.mode import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from service.mode import Answer, Leave
    from service.outcomes import Reply

T = TypeVar("T")
HAND_OVER_S = 0.02
"""The least that an order waits: what it takes to be handed to a thread and back, however short its patience."""
LATER = "turnstile.later"
"""The key in a WSGI environment that says: this server knows ``Later``."""


def too_late() -> bool:
    """Be what ``begin`` returns for what has been done already: nobody can leave any more."""
    return False


def at_once(reply: Reply, answer: Answer) -> Leave:
    """Answer, and return what ``begin`` returns then."""
    answer(reply)
    return too_late


class _Told:
    """An outcome, and a bare lock that is free when it is there: a ``Future`` would take five times as long."""

    __slots__ = ("_there", "outcome")

    def __init__(self) -> None:
        self._there = threading.Lock()
        self._there.acquire()
        self.outcome: Reply | Exception

    def __call__(self, outcome: Reply | Exception) -> None:
        self.outcome = outcome
        self._there.release()

    def within(self, wait_s: float) -> bool:
        return self._there.acquire(timeout=wait_s)


def awaited(begin: Callable[[T, Answer], Leave], asked: T, wait_s: float) -> Reply:
    """Begin what is asked, and wait here for the outcome: return it, or raise it.

    Raises ``Busy`` after ``wait_s`` seconds in the queue. Who can no longer leave waits on: the outcome will be there.
    """
    told, began = _Told(), time.monotonic()
    try:
        leave = begin(asked, told)
        if not told.within(max(wait_s, HAND_OVER_S)):
            if leave():
                raise Busy(wait_s)  # noqa: TRY301  # as the one that may be told
            told.within(-1)
        if isinstance(told.outcome, Exception):
            raise told.outcome
    except Busy:
        watch.here.in_vain(time.monotonic() - began)
        raise
    return told.outcome


class Later:
    """The body of a response that is made when the outcome is there. Iterate over it only then."""

    __slots__ = ("_began", "_begin", "_leave", "_outcome", "_respond", "_wait_s")

    def __init__(
        self,
        begin: Callable[[Answer], Leave],
        wait_s: float,
        respond: Callable[[Reply | Exception], Iterable[bytes]],
    ) -> None:
        """``respond`` makes the response of an outcome: it calls ``start_response`` and returns the body."""
        self._begin = begin
        self._leave: Leave = too_late
        self._wait_s = max(wait_s, HAND_OVER_S)
        self._respond = respond
        self._outcome: Reply | Exception

    def begin(self, ready: Callable[[], None]) -> float:
        """Begin, and have ``ready`` called when the outcome is there: in this thread or another, perhaps at once.

        Return how long it may be waited for, in seconds.
        """

        def answer(outcome: Reply | Exception) -> None:
            self._end(outcome)
            ready()

        self._began = time.monotonic()
        try:
            self._leave = self._begin(answer)
        except Exception as error:  # noqa: BLE001  # it is an outcome too
            answer(error)
        return self._wait_s

    def leave(self) -> bool:
        """Give up waiting. If so, certainly nothing was done, and the response says it; else ``ready`` will be called.

        Call it when ``begin`` has returned.
        """
        if not self._leave():
            return False
        self._end(Busy(self._wait_s))
        return True

    def _end(self, outcome: Reply | Exception) -> None:
        self._outcome = outcome
        if isinstance(outcome, Busy):
            watch.here.in_vain(time.monotonic() - self._began)

    def __iter__(self) -> Iterator[bytes]:
        """Make the response."""
        return iter(self._respond(self._outcome))
