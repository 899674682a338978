"""The one process that writes: it consumes what the workers produce.

One of its threads reads the pipes. When it has read orders of an event at which nobody is, it leaves the reading to
another and sees to them itself, so that no order waits for a thread to take it over; what comes for that event
meanwhile is the next batch. So one event does not wait for another, and each has one who decides and writes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from service.commands import known_by
from service.mode import Busy, Damaged, NotWritten, Unknown
from service.pipes import GREETING, Answer, Late
from service.stillness import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from service.commands import Command
    from service.outcomes import Reply
    from service.pipes import Asked, Door, Noted

    Commit = Callable[[Iterable[Command]], Sequence[Reply | Exception]]
    Batch = tuple[Connection, list[Asked]]

LOG = logging.getLogger("turnstile")
EVENTS_MAX = 64
"""Most events that are seen to at the same time. While so many are slow, the others wait."""


class Consumer:
    """Reads, commits and answers. Make it in its own process."""

    def __init__(self, door: Door, commit: Commit, noted: Noted) -> None:
        """``commit`` decides commands of one event and makes them durable; ``noted`` is what it notes of them."""
        self._door = door
        self._commit = commit
        self._noted = noted
        self._pipes: list[Connection] = []
        self._ended = False
        self._reading = threading.Lock()
        # What stands below is for whoever has this lock; what stands above, for whoever reads.
        self._state = threading.Lock()
        self._waiting: dict[str, list[Batch]] = {}
        self._seen_to: set[str] = set()
        self._readers = 0
        self._others: list[threading.Thread] = []
        self._at = Pending()

    def at_work_since(self) -> float:
        """Return when the slowest of the batches that are seen to now was begun, or its last order; else now."""
        return min(self._at.beginnings(), default=time.monotonic())

    def run(self, lifeline: int) -> None:
        """Serve until ``lifeline`` can be read, and then what was sent before."""
        self._work(lifeline)
        for thread in self._others:
            thread.join()

    def _work(self, lifeline: int) -> None:
        try:
            while event := self._next(lifeline):
                while batches := self._taken(event):
                    self._see_to(batches)
        except BaseException:  # an event of this thread would wait for ever
            LOG.critical("the process that writes has met something unforeseen, and ends", exc_info=True)
            os._exit(1)  # the next process begins with what is on disk

    def _next(self, lifeline: int) -> str | None:
        """Return an event that has orders and nobody at it; from now on, the caller is. ``None`` at the end."""
        with self._state:
            self._readers += 1
        with self._reading:
            event = self._left_alone()
            while not (event or self._ended):
                self._read(lifeline)
                event = self._left_alone()
        with self._state:
            self._readers -= 1
            if event and not self._readers and len(self._others) < EVENTS_MAX - 1:
                self._others.append(threading.Thread(target=self._work, args=(lifeline,), daemon=True))
                self._others[-1].start()
        return event

    def _read(self, lifeline: int) -> None:
        """Wait until there is something to read, and read all there is."""
        ready = wait([lifeline, self._door.inside, *self._pipes])
        for pipe in [pipe for pipe in self._pipes if pipe in ready]:
            try:
                batch: list[Asked] = pipe.recv()
            except (EOFError, OSError):  # the worker has ended, or gave the pipe up
                # Not closed here, for one who answers may have it in hand. It is closed when nobody has it any more.
                self._pipes.remove(pipe)
            else:
                with self._state:
                    self._waiting.setdefault(batch[0].command.event, []).append((pipe, batch))
        # What was sent before the sentinel was ready with it, and has been read now.
        self._ended = lifeline in ready
        if self._door.inside in ready and not self._ended:
            for pipe in self._door.admitted():
                if _sent(pipe, GREETING):
                    self._pipes.append(pipe)

    def _left_alone(self) -> str | None:
        with self._state:
            for event in self._waiting:
                if event not in self._seen_to:
                    self._seen_to.add(event)
                    return event
        return None

    def _taken(self, event: str) -> list[Batch]:
        """Take what waits for an event; when there is nothing, the caller leaves it."""
        with self._state:
            batches = self._waiting.pop(event, [])
            if not batches:
                self._seen_to.remove(event)
            return batches

    def _see_to(self, batches: list[Batch]) -> None:
        """Commit what waits for an event with one write, and answer each worker."""
        self._at.begin(here := threading.get_ident())
        answers = iter(self._answers([asked for _, batch in batches for asked in batch]))
        self._at.over(here)
        for pipe, batch in batches:
            known = [known_by(asked.command) for asked in batch]
            noted = {name: self._noted.pop(name) for name in known if name in self._noted}
            _sent(pipe, ([next(answers) for _ in batch], noted))

    def _answers(self, batch: Sequence[Asked]) -> list[Answer]:
        begun: list[int] = []
        answers: list[Answer] = [Late()] * len(batch)
        try:
            for place, reply in zip(begun, self._commit(self._in_time(batch, begun)), strict=True):
                answers[place] = _passed_on(reply) if isinstance(reply, Exception) else reply
        except Exception as error:  # noqa: BLE001  # it goes to those whom it concerns, and the process goes on
            return [_passed_on(error)] * len(batch)
        return answers

    def _in_time(self, batch: Sequence[Asked], begun: list[int]) -> Iterator[Command]:
        """Yield the commands that may still begin, and note the places of those that have."""
        for place, asked in enumerate(batch):
            if time.monotonic() <= asked.until:
                begun.append(place)
                self._at.begin(threading.get_ident())  # a long batch is not one that hangs
                yield asked.command


def _sent(pipe: Connection, message: object) -> bool:
    """Tell whether a message could be sent. A worker that was not told gives the pipe up by itself."""
    try:
        pipe.send_bytes(message) if isinstance(message, bytes) else pipe.send(message)
    except OSError:
        return False
    return True


def _passed_on(error: Exception) -> Exception:
    """Return what a worker is told of an error: without the frames of this process, and surely a pickle."""
    if isinstance(error, NotWritten | Unknown):
        return type(error)(str(error), error.why)
    if isinstance(error, Damaged):
        return Damaged(str(error))
    if isinstance(error, Busy):
        return Busy(error.wait_s)
    LOG.error("the process that writes has met something unforeseen", exc_info=error)
    return Unknown("the process that writes met something unforeseen", repr(error))
