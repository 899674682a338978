"""Stand in line: work that is done one at a time, in the order of arrival, by all workers of a machine.

Whoever comes takes a number at once (``turns.py``). Who is first does the work itself. For the others one thread of the
worker sleeps in the kernel, which no deadline could wake: it does the work of each when its turn has come, and is back
asleep for the next without a hand-over. Who waits for that thread can leave at any time before its turn.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from service import watch
from service.later import too_late
from service.mode import Busy
from service.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.mode import Leave
    from service.turns import Place

T = TypeVar("T")
IDLE_S = 10.0
"""A thread that has had nothing to do for so long ends."""


class _Standing(Generic[T]):
    """Somebody in line. Whoever gets ``claimed`` first has it: the thread whose turn it is, or the one who leaves."""

    __slots__ = ("answer", "claimed", "place", "work")

    def __init__(self, place: Place, work: Callable[[], T], answer: Callable[[T | Exception], None]) -> None:
        self.place = place
        self.work = work
        self.answer = answer
        self.claimed = threading.Lock()

    def leave(self) -> bool:
        left = self.claimed.acquire(blocking=False)
        if left:
            self.place.give_up()
        return left


class Line(Generic[T]):
    """The line at one file. Make it in each worker, after the fork."""

    def __init__(self, path: Path) -> None:
        self._turns = Turns(path)
        self._arriving = threading.Lock()
        self._standing: queue.Queue[_Standing[T]] = queue.Queue()
        self._thread: threading.Thread | None = None
        watch.here.queue(self._length)

    def begin(self, work: Callable[[], T], answer: Callable[[T | Exception], None]) -> Leave:
        """Stand in line, or do ``work`` here if nobody is before. Raises ``Busy`` when too many stand there."""
        work = watch.timed_work(work)
        with self._arriving:  # else two might stand here in another order than that of their numbers
            place = self._turns.take()
            try:
                first = place.first()
            except BaseException:
                place.leave()  # else all who come behind would wait for it
                raise
            if not first:
                standing = _Standing(place, work, answer)
                self._stand(standing)
        if not first:
            return standing.leave
        try:
            outcome = work()
        finally:
            place.leave()
        answer(outcome)
        return too_late

    def _length(self) -> int:
        """Return how many wait. Those that have left stand in the queue until the thread has come to them."""
        with self._standing.mutex:
            return sum(not standing.claimed.locked() for standing in self._standing.queue)

    def _stand(self, standing: _Standing[T]) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="line", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the machine has no room for one more
                standing.place.leave()
                raise Busy(0) from None
            self._thread = thread
        self._standing.put(standing)

    def _idle(self) -> bool:
        """Tell whether the thread may end. Who comes after this finds no thread, and starts one."""
        with self._arriving:
            if self._standing.empty():
                self._thread = None
            return self._thread is None

    def _run(self) -> None:
        while True:
            try:
                standing = self._standing.get(timeout=IDLE_S)
            except queue.Empty:
                if self._idle():
                    return
                continue
            outcome: T | Exception
            stays = False
            try:
                standing.place.sleep()
                stays = standing.claimed.acquire(blocking=False)
                if stays:
                    outcome = standing.work()
            except Exception as error:  # noqa: BLE001  # it goes to the one who waits for it, and the thread goes on
                outcome = error
                stays = stays or standing.claimed.acquire(blocking=False)
            finally:
                standing.place.leave()
            if stays:
                standing.answer(outcome)
