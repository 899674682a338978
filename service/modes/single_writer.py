"""One process that writes for all: the article's queue, and the daemon that consumes it.

How it keeps others out: there are none. Orders wait in a queue for each event, and go in batches through a pipe
(``producer.py``) to one process (``daemon.py``) that decides and writes (``consumer.py``), for all workers here.
What it leaves undone: when the writer dies, orders in its hand have an unknown outcome; the others wait for the next.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from service.batch import commit
from service.consumer import Consumer
from service.daemon import Daemon
from service.each import Each
from service.later import at_once, awaited
from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent
from service.pipes import Door, Pipes
from service.producer import Producer

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile


class SingleWriter:
    name = "single_writer"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "power loss"),
        waits="queues",
        fair=False,
        price="two more hops between processes for every batch, and a paused writer stops all events",
    )

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float, pause_s: float = 0.0) -> None:
        self.store = store
        self._decide = decide
        self._wait_s, self._pause_s = wait_s, pause_s  # the pause is before each decision
        self._door = Door()
        self._noted = getattr(store, "noted", {})  # of a trace
        self.daemons = (Daemon("ticket-writer", self._consume),)

    def open(self) -> None:
        self.store.open()
        pipes = Pipes(self._door)
        self._producers = Each(lambda _: Producer(pipes, self._wait_s, self._noted, pause_s=self._pause_s))

    def execute(self, command: Command) -> Reply:
        return awaited(self.begin, command, self._wait_s)

    def begin(self, command: Command, answer: Answer) -> Leave:
        if not self.store.has(command.event):
            return at_once(NoSuchEvent(command.event), answer)
        return self._producers[command.event].begin(command, answer)

    def _consume(self, lifeline: int) -> None:
        self.store.open()
        consumer = Consumer(self._door, partial(commit, self.store, self._decide), self._noted)
        self.daemons[0].at_work_since = consumer.at_work_since
        consumer.run(lifeline)
