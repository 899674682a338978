"""The one process that writes, and the way to it: workers produce orders, and it consumes them.

Each worker has a pipe to the writer (``pipes.py``), on which there is at most one batch at a time.

Where an order stands says what may be told of it:

- Until the writer has greeted, orders stay in the worker's queue (``committer.py``) and can leave it: *busy*.
- What was sent says until when it may begin. The writer does not begin it later: *busy*, in the writer's own words.
- Sent, and no answer: the writer died, or it was paused. It may have been done or not, so neither is said: *unknown*.
"""

from __future__ import annotations

import math
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, cast

from service.committer import WAITING_ORDERS_MAX, Committer
from service.mode import Busy, Damaged, NotWritten, Unknown
from service.pipes import travels_light
from service.rules import Buy, Event, Order, Reply, Sold, SoldOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from service.pipes import Door
    from service.rules import Command

    Commit = Callable[[Iterable[Command]], Sequence[Reply]]
    Noted = dict[str, dict[str, int | None]]

WAY_S = 0.25
"""What the way to the writer may take, beyond an order's patience: one taken in time is not late for that."""
ANSWER_S = 5.0
"""What one pause before deciding and one write may take. Past it, the outcome is unknown."""
PIPES_MAX = 8
"""How many pipes in a row may break before those who wait are told that the counter is busy."""
GREETING = b"\0"


@dataclass(frozen=True, slots=True)
class Asked:
    """A command, and until when it may begin, in seconds of the monotonic clock that all processes share."""

    command: Command
    until: float


@dataclass(frozen=True, slots=True)
class Late:
    """The writer came to it too late, and did not begin it."""


for each in (Asked, Buy, Sold, Order, SoldOut, Event):
    travels_light(each)

Answer = Reply | Exception | Late
"""An exception concerns the orders of one event; ``Line.ask`` raises it."""


class Line:
    """A worker's way to the writer. Make it in each worker, after the fork."""

    def __init__(self, door: Door, wait_s: float, noted: Noted, waiting_orders_max: int = WAITING_ORDERS_MAX) -> None:
        """``noted`` receives what the writer noted of each order, for a trace."""
        self._door = door
        self._wait_s = wait_s
        self._noted = noted
        self._until: dict[str, float] = {}
        self._pipe: Connection | None = None
        self._greeted = False
        exchange = cast("Callable[[Sequence[Command]], list[Reply]]", self._exchange)
        self._committer = Committer(self._turn, exchange, waiting_orders_max)

    def ask(self, command: Command) -> Reply:
        """Return the writer's reply. Raises ``Busy``, ``NotWritten``, ``Damaged`` or ``Unknown``."""
        self._until[command.order] = time.monotonic() + self._wait_s + WAY_S
        try:
            answer: object = self._committer.ask(command, self._wait_s)
        finally:
            del self._until[command.order]
        if isinstance(answer, Late):
            raise Busy(self._wait_s)
        if isinstance(answer, Exception):
            raise answer
        return cast("Reply", answer)

    @contextmanager
    def _turn(self, wait_s: float | None) -> Iterator[None]:
        """Wait until the writer is there, so that whoever waits can still leave. ``None``: however long it takes."""
        self._ready(math.inf if wait_s is None else time.monotonic() + wait_s)
        yield

    def _exchange(self, commands: Sequence[Command]) -> list[Answer]:
        """Send a batch and wait for its answers."""
        asked = [Asked(command, self._until[command.order]) for command in commands]
        last = max(each.until for each in asked)
        pipe = self._sent(asked, last)
        # An order that begins in time shares its round with others that begin ``wait_s`` later at most.
        longest = last + self._wait_s + ANSWER_S
        try:
            if not pipe.poll(_left(longest)):
                raise TimeoutError("no answer")
            answers, noted = pipe.recv()
        except (EOFError, OSError) as error:
            self._drop(pipe)
            raise Unknown("the process that writes died or stood still with the order in its hand") from error
        self._noted.update(noted)
        return cast("list[Answer]", answers)

    def _sent(self, asked: list[Asked], deadline: float) -> Connection:
        for _ in range(PIPES_MAX):
            pipe = self._ready(deadline)
            try:
                pipe.send(asked)
            except OSError:  # it broke before the whole of it had left, and of half a batch nothing is done
                self._drop(pipe)
            else:
                return pipe
        raise Busy(self._wait_s)

    def _ready(self, deadline: float) -> Connection:
        """Return the pipe when the writer has greeted on it; a new one, if it broke. Raises ``Busy``."""
        for _ in range(PIPES_MAX):
            try:
                pipe = self._pipe = self._pipe or self._door.knock()
            except OSError:  # too many lie there, and nobody takes them
                break
            try:
                if self._greeted:
                    if not pipe.poll(0):  # on an idle pipe there is nothing to read but its end
                        return pipe
                elif pipe.poll(_left(deadline)):
                    pipe.recv_bytes()
                    self._greeted = True
                    return pipe
                else:
                    break  # it stays at the door, for the next one who waits
            except (EOFError, OSError):
                pass
            self._drop(pipe)
        raise Busy(self._wait_s)

    def _drop(self, pipe: Connection) -> None:
        pipe.close()
        self._pipe, self._greeted = None, False


class Writer:
    """The one who consumes. Make it in its own process."""

    def __init__(self, door: Door, commit: Commit, noted: Noted) -> None:
        """``commit`` decides commands of one event and makes them durable; ``noted`` is what it notes of them."""
        self._door = door
        self._commit = commit
        self._noted = noted
        self._pipes: list[Connection] = []

    def run(self, lifeline: int) -> None:
        """Take one batch from every pipe that has one, commit them, answer; until ``lifeline`` can be read."""
        ending = False
        while not ending:
            ready = wait([lifeline, self._door.inside, *self._pipes])
            # What was sent before the sentinel is ready with it, so this round is the last one.
            ending = lifeline in ready
            batches = [(pipe, self._received(pipe)) for pipe in [pipe for pipe in self._pipes if pipe in ready]]
            answers = iter(self._answers([asked for _, batch in batches for asked in batch]))
            for pipe, batch in batches:
                if batch:
                    self._tell(pipe, ([next(answers) for _ in batch], self._notes(batch)))
            if self._door.inside in ready and not ending:
                for pipe in self._door.admitted():
                    self._pipes.append(pipe)
                    self._tell(pipe, None)

    def _received(self, pipe: Connection) -> list[Asked]:
        try:
            return cast("list[Asked]", pipe.recv())
        except (EOFError, OSError):  # the worker has ended, or gave the pipe up
            self._drop(pipe)
            return []

    def _tell(self, pipe: Connection, answer: object) -> None:
        """Answer; ``None`` is the greeting."""
        try:
            if answer is None:
                pipe.send_bytes(GREETING)
            else:
                pipe.send(answer)
        except OSError:
            self._drop(pipe)

    def _drop(self, pipe: Connection) -> None:
        self._pipes.remove(pipe)
        pipe.close()

    def _notes(self, batch: Sequence[Asked]) -> Noted:
        orders = [asked.command.order for asked in batch]
        return {order: self._noted.pop(order) for order in orders if order in self._noted}

    def _answers(self, batch: Sequence[Asked]) -> list[Answer]:
        """Commit the orders of each event together. Those of an event fail together, and without the others."""
        answers: list[Answer] = [Late()] * len(batch)
        events: dict[str, list[int]] = {}
        for place, asked in enumerate(batch):
            events.setdefault(asked.command.event, []).append(place)
        for places in events.values():
            begun: list[int] = []
            told: Sequence[Answer]
            try:
                told = self._commit(_in_time(batch, places, begun))
            except Exception as error:  # noqa: BLE001  # it goes to those whom it concerns, and the writer goes on
                begun, told = places, [_sent_on(error)] * len(places)
            for place, answer in zip(begun, told, strict=True):
                answers[place] = answer
        return answers


def _left(deadline: float) -> float | None:
    """Return the seconds until ``deadline``; ``None`` where there is none."""
    return None if deadline == math.inf else max(deadline - time.monotonic(), 0)


def _in_time(batch: Sequence[Asked], places: Sequence[int], begun: list[int]) -> Iterator[Command]:
    """Yield the commands at ``places`` that may still begin, and note which have."""
    for place in places:
        if time.monotonic() <= batch[place].until:
            begun.append(place)
            yield batch[place].command


def _sent_on(error: Exception) -> Exception:
    """Return what a worker is told of an error: without the frames of this process, and surely a pickle."""
    if isinstance(error, (NotWritten, Damaged)):
        return type(error)(str(error))
    traceback.print_exception(error)
    return Unknown(f"the process that writes met something unforeseen ({error!r})")
