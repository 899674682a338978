"""A worker's way to the one process that writes: it produces orders, and waits for what is told of them.

Where an order stands says what may be told of it:

- Until the writer has greeted, orders stay in the worker's queue (``committer.py``) and can leave it: *busy*.
- What was sent says until when it may begin. The writer does not begin it later: *busy*, in the writer's own words.
- Sent, and no answer: the writer died, or it was paused. It may have been done or not, so neither is said: *unknown*.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.committer import WAITING_ORDERS_MAX, Committer
from service.mode import Busy, Unknown
from service.pipes import PIPES_MAX, Asked, Late

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from service.commands import Command
    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.pipes import Noted, Pipes

WAY_S = 0.25
"""What the way to the writer may take, beyond an order's patience: one taken in time is not late for that."""
ANSWER_S = 5.0
"""What one decision and one write may take. Past it, the outcome is unknown."""


class Producer:
    """The orders of one event in this worker. Make it after the fork."""

    def __init__(
        self,
        pipes: Pipes,
        wait_s: float,
        noted: Noted,
        waiting_orders_max: int = WAITING_ORDERS_MAX,
        pause_s: float = 0.0,
    ) -> None:
        """``noted`` receives what the writer noted of each order; ``pause_s`` is what it pauses before deciding."""
        self._pipes = pipes
        self._wait_s = wait_s
        self._noted = noted
        self._answer_s = pause_s + ANSWER_S
        self._pipe: Connection | None = None
        self._committer: Committer[Asked] = Committer(self._turn, self._exchange, waiting_orders_max)

    def begin(self, command: Command, answer: Answer) -> Leave:
        """Begin an order. Its outcome is the writer's reply, ``Busy``, ``NotWritten``, ``Damaged`` or ``Unknown``."""
        return self._committer.begin(Asked(command, time.monotonic() + self._wait_s + WAY_S), answer)

    @contextmanager
    def _turn(self, *, wait: bool) -> Iterator[None]:
        """Have a pipe to a writer that is there. Until then, who waits can still leave."""
        self._pipe = self._taken(math.inf if wait else 0)
        try:
            yield
        finally:
            if self._pipe:
                self._pipes.give_back(self._pipe)

    def _exchange(self, asked: Sequence[Asked]) -> list[Reply | Exception]:
        """Send a batch and wait for its answers."""
        last = max(each.until for each in asked)
        pipe = self._sent(asked, last)
        # An order that begins in time shares its batch with others that begin ``wait_s`` later at most.
        longest = last + self._wait_s + self._answer_s
        try:
            if not pipe.poll(max(longest - time.monotonic(), 0)):
                raise TimeoutError("no answer")
            answers, noted = pipe.recv()
        except (EOFError, OSError) as error:
            self._drop(pipe)
            raise Unknown("the process that writes died or stood still with the order in its hand") from error
        self._noted.update(noted)
        return [Busy(self._wait_s) if isinstance(answer, Late) else answer for answer in answers]

    def _sent(self, asked: Sequence[Asked], deadline: float) -> Connection:
        for _ in range(PIPES_MAX):
            pipe = self._pipe = self._pipe or self._taken(deadline)
            try:
                pipe.send(asked)
            except OSError:  # it broke before the whole of it had left, and of half a batch nothing is done
                self._drop(pipe)
            else:
                return pipe
        raise Busy(self._wait_s)

    def _taken(self, deadline: float) -> Connection:
        pipe = self._pipes.take(deadline)
        if pipe is None:
            raise Busy(self._wait_s)
        return pipe

    def _drop(self, pipe: Connection) -> None:
        pipe.close()
        self._pipe = None
