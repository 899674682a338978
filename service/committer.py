"""Many orders, one commit: the orders of a worker wait in a queue, and one thread takes them inside together.

The thread waits for its turn first and empties the queue then, so a batch is as large as the wait was long. An order
that finds nobody waiting, and its turn free, need not wait for a thread: it commits by itself, at once. Nobody waits
for a timer. An order that has not been taken can leave the queue, and certainly nothing was done. One that has been
taken must wait for the end of its batch, which succeeds or fails as one.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from service import watch
from service.later import too_late
from service.mode import Busy

T = TypeVar("T")
"""An order: the command, and what is to be known of it."""

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from service.mode import Answer, Leave
    from service.outcomes import Reply

    class Turn(Protocol):
        """What keeps all other writers out: until it is their turn, or else ``Busy`` at once."""

        def __call__(self, *, wait: bool) -> AbstractContextManager[object]: ...

    Commit = Callable[[Sequence[T]], Sequence[Reply | Exception]]

BATCH_ORDERS_MAX = 256
WAITING_ORDERS_MAX = 4096
"""Most orders in the queue, those included that have left it and were not yet swept out."""
IDLE_S = 10.0
"""A thread that has had nothing to do for so long ends, so that a thousand events do not keep a thousand threads."""


class _Waiting(Generic[T]):
    """An order in the queue. Whoever claims it first has it: the thread that takes it, or the order that leaves."""

    __slots__ = ("_claimed", "answer", "asked")

    def __init__(self, asked: T, answer: Answer) -> None:
        self.asked = asked
        self.answer = answer
        self._claimed = threading.Lock()

    def claim(self) -> bool:
        return self._claimed.acquire(blocking=False)

    @property
    def claimed(self) -> bool:
        return self._claimed.locked()


class Committer(Generic[T]):
    """A queue of orders, and the thread that commits them. Make it in each worker, after the fork."""

    def __init__(self, turn: Turn, commit: Commit[T], waiting_orders_max: int = WAITING_ORDERS_MAX) -> None:
        """``commit`` makes a batch durable and returns its replies in order. An exception among them is its order's."""
        self._turn = turn
        self._commit = commit
        self._waiting: queue.Queue[_Waiting[T]] = queue.Queue(waiting_orders_max)
        watch.here.queue(self._length)
        self._inside = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, asked: T, answer: Answer) -> Leave:
        """Put an order in the queue, or commit it here if it is alone. Raises ``Busy`` when the queue is full."""
        outcome = self._alone(asked)
        if outcome is not None:
            answer(outcome)
            return too_late
        order = _Waiting(asked, answer)
        try:
            self._waiting.put_nowait(order)
        except queue.Full:
            raise Busy(0) from None
        self._have_a_thread(order)
        return order.claim

    def _length(self) -> int:
        """Return how many orders wait. Those that have left stand in the queue until it is their turn."""
        with self._waiting.mutex:
            return sum(not order.claimed for order in self._waiting.queue)

    def _alone(self, asked: T) -> Reply | Exception | None:
        """Commit an order in its own thread, if nobody waits and the turn is free."""
        if not self._waiting.empty() or not self._inside.acquire(blocking=False):
            return None
        ours = False
        try:
            with watch.timed(self._turn(wait=False)) as turn:
                ours = True
                watch.here.batch(1)
                (outcome,) = self._commit([asked])
                turn.done = _any_done([outcome])
                return outcome
        except Busy:
            if ours:
                raise
            return None
        finally:
            self._inside.release()

    def _have_a_thread(self, order: _Waiting[T]) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="committer", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the machine has no room for one more
                    order.claim()  # it stays in the queue, and whoever finds it passes it over
                    raise Busy(0) from None
                self._thread = thread

    def _idle(self) -> bool:
        """Tell whether the thread may end. Who puts an order after this finds no thread, and starts one."""
        with self._starting:
            if self._waiting.empty():
                self._thread = None
            return self._thread is None

    def _run(self) -> None:
        while True:
            try:
                batch = [self._waiting.get(timeout=IDLE_S)]
            except queue.Empty:
                if self._idle():
                    return
                continue
            outcomes: Sequence[Reply | Exception]
            taken: list[_Waiting[T]] | None = None
            try:
                with self._inside, watch.timed(self._turn(wait=True)) as turn:
                    batch = taken = self._taken(batch[0])
                    outcomes = self._outcomes(batch)
                    turn.done = _any_done(outcomes)
            except Exception as error:  # noqa: BLE001  # no turn could be had: it goes to all who wait for it
                if taken is None:
                    batch = [each for each in batch if each.claim()]  # who has left was told so
                outcomes = [error] * len(batch)
            # Outside again: the next batch, of this worker or another, need not wait for these answers.
            for order, outcome in zip(batch, outcomes, strict=True):
                order.answer(outcome)

    def _taken(self, first: _Waiting[T]) -> list[_Waiting[T]]:
        """Take the orders that wait, but for those that have left."""
        batch = [first]
        while len(batch) < BATCH_ORDERS_MAX and not self._waiting.empty():
            batch.append(self._waiting.get())  # nobody else gets from it
        return [each for each in batch if each.claim()]

    def _outcomes(self, batch: Sequence[_Waiting[T]]) -> Sequence[Reply | Exception]:
        if not batch:
            return []
        watch.here.batch(len(batch))
        try:
            return self._commit([order.asked for order in batch])
        except Exception as error:  # noqa: BLE001  # the batch fails as one, and the thread goes on
            return [error] * len(batch)


def _any_done(outcomes: Sequence[Reply | Exception]) -> bool:
    """Tell whether something was decided, and written if it was to be: where the first was, there is no more to see."""
    return any(not isinstance(outcome, Exception) for outcome in outcomes)
