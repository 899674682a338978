"""Many orders, one commit: the orders of a worker wait in a queue, and one thread takes them inside together.

The thread waits for its turn first and empties the queue then, so a batch is as large as the wait was long. An order
that finds nobody waiting, and its turn free, need not wait for a thread: it commits by itself, at once. Nobody waits
for a timer. An order that has not been taken can leave the queue, and certainly nothing was done. One that has been
taken must wait for the end of its batch, which succeeds or fails as one.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Protocol

from service.mode import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from service.rules import Command, Reply

    class Turn(Protocol):
        """What keeps all other writers out: until it is their turn, or else ``Busy`` at once."""

        def __call__(self, *, wait: bool) -> AbstractContextManager[object]: ...

    Commit = Callable[[Sequence[Command]], Sequence[Reply | Exception]]

BATCH_ORDERS_MAX = 256
WAITING_ORDERS_MAX = 4096
"""Most orders in the queue, those included that have left it and were not yet swept out."""
IDLE_S = 10.0
"""A thread that has had nothing to do for so long ends, so that a thousand events do not keep a thousand threads."""
HAND_OVER_S = 0.02
"""The least that an order waits: what it takes to be handed to the thread and back, however short its patience."""


class _Waiting:
    """An order in the queue. Whoever gets ``claimed`` first has it: the thread that takes it, or the order that leaves.

    Two bare locks do what a ``Future`` does, in a fifth of the time.
    """

    __slots__ = ("claimed", "command", "done", "outcome")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.claimed = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.outcome: Reply | Exception


class Committer:
    """A queue of orders, and the thread that commits them. Make it in each worker, after the fork."""

    def __init__(self, turn: Turn, commit: Commit, waiting_orders_max: int = WAITING_ORDERS_MAX) -> None:
        """``commit`` makes a batch durable and returns its replies in order. An exception among them is its order's."""
        self._turn = turn
        self._commit = commit
        self._waiting: queue.Queue[_Waiting] = queue.Queue(waiting_orders_max)
        self._inside = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, command: Command, wait_s: float) -> Reply:
        """Commit ``command``, together with others, and return its reply. Raises ``Busy`` or what ``commit`` raised."""
        outcome = self._alone(command)
        if outcome is None:
            outcome = self._queued(_Waiting(command), wait_s)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _alone(self, command: Command) -> Reply | Exception | None:
        """Commit ``command`` in its own thread, if nobody waits and the turn is free."""
        if not self._waiting.empty() or not self._inside.acquire(blocking=False):
            return None
        ours = False
        try:
            with self._turn(wait=False):
                ours = True
                return self._commit([command])[0]
        except Busy:
            if ours:
                raise
            return None
        finally:
            self._inside.release()

    def _queued(self, order: _Waiting, wait_s: float) -> Reply | Exception:
        try:
            self._waiting.put_nowait(order)
        except queue.Full:
            raise Busy(0) from None
        self._have_a_thread(order)
        if not order.done.acquire(timeout=max(wait_s, HAND_OVER_S)):
            if order.claimed.acquire(blocking=False):
                raise Busy(wait_s)
            order.done.acquire()
        return order.outcome

    def _have_a_thread(self, order: _Waiting) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="committer", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the machine has no room for one more
                    order.claimed.acquire(blocking=False)  # it stays in the queue, and whoever finds it passes it over
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
            try:
                with self._inside, self._turn(wait=True):
                    batch = self._taken(batch[0])
                    outcomes = self._outcomes(batch)
            except Exception as error:  # noqa: BLE001  # no turn could be had: it goes to all who wait for it
                outcomes = [error] * len(batch)
            # Outside again: the next batch, of this worker or another, need not wait for these answers.
            for order, outcome in zip(batch, outcomes, strict=True):
                order.outcome = outcome
                order.done.release()

    def _taken(self, first: _Waiting) -> list[_Waiting]:
        """Take the orders that wait, but for those that have left."""
        batch = [first]
        while len(batch) < BATCH_ORDERS_MAX and not self._waiting.empty():
            batch.append(self._waiting.get())  # nobody else gets from it
        return [each for each in batch if each.claimed.acquire(blocking=False)]

    def _outcomes(self, batch: Sequence[_Waiting]) -> Sequence[Reply | Exception]:
        if not batch:
            return []
        try:
            return self._commit([order.command for order in batch])
        except Exception as error:  # noqa: BLE001  # the batch fails as one, and the thread goes on
            return [error] * len(batch)
