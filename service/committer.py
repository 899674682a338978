"""Many orders, one commit: the orders of a worker wait in a queue, and one thread takes them inside together.

The thread waits for its turn first and empties the queue then, so a batch is as large as the wait was long, and an
order that is alone is committed at once: nobody waits for a timer. An order that has not been taken can leave the
queue, and certainly nothing was done. One that has been taken must wait for the end of its batch, which succeeds or
fails as one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING

from service.mode import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from service.rules import Command, Reply

    Waiting = tuple[Command, Future[Reply]]

BATCH_ORDERS_MAX = 256
WAITING_ORDERS_MAX = 4096
"""Most orders in the queue, those included that have left it and were not yet swept out."""
HAND_OVER_S = 0.02
"""The least that an order waits: what it takes to be handed to the thread and back, however short its patience."""


class Committer:
    """A queue of orders, and the thread that commits them. Make it in each worker, after the fork."""

    def __init__(
        self,
        turn: Callable[[], AbstractContextManager[object]],
        commit: Callable[[Sequence[Command]], Sequence[Reply]],
        waiting_orders_max: int = WAITING_ORDERS_MAX,
    ) -> None:
        """``turn`` keeps all other writers out; ``commit`` makes a batch durable and returns its replies in order."""
        self._turn = turn
        self._commit = commit
        self._waiting: queue.Queue[Waiting] = queue.Queue(waiting_orders_max)
        threading.Thread(target=self._run, name="committer", daemon=True).start()

    def ask(self, command: Command, wait_s: float) -> Reply:
        """Commit ``command`` together with others, and return its reply. Raises ``Busy``, or what ``commit`` raised."""
        answer: Future[Reply] = Future()
        try:
            self._waiting.put_nowait((command, answer))
        except queue.Full:
            raise Busy(0) from None
        try:
            return answer.result(max(wait_s, HAND_OVER_S))
        except TimeoutError:
            if answer.cancel():
                raise Busy(wait_s) from None
            return answer.result()

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            outcome: Sequence[Reply] | Exception
            try:
                with self._turn():
                    batch = self._taken(batch[0])
                    outcome = self._commit([command for command, _ in batch]) if batch else []
            except Exception as error:  # noqa: BLE001  # it goes to all who wait for it, and the thread goes on
                outcome = error
            # Outside again: the next batch, of this worker or another, need not wait for these answers.
            for number, (_, answer) in enumerate(batch):
                with contextlib.suppress(InvalidStateError):  # it left before there was a batch
                    if isinstance(outcome, Exception):
                        answer.set_exception(outcome)
                    else:
                        answer.set_result(outcome[number])

    def _taken(self, first: Waiting) -> list[Waiting]:
        """Take the orders that wait, but for those that have left."""
        batch = [first]
        while len(batch) < BATCH_ORDERS_MAX and not self._waiting.empty():
            batch.append(self._waiting.get())  # nobody else gets from it
        return [each for each in batch if each[1].set_running_or_notify_cancel()]
