"""gunicorn's threaded worker, but that it ends so that nobody who asked is left without an answer.

- SIGTERM: the service ends. No connection is taken any more, what is inside is finished, and connections that are idle
  are kept for a moment: what a client was about to send there is answered, and told that the connection ends.
- SIGHUP, from the master: another worker has taken over. Connections keep all the time that they had: a client that
  asks within it, as it may, is answered here, and told to connect anew.

Past a bound that is known beforehand the process ends hard, whatever its threads are at: the kernel frees their locks.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

from service.connections import LINGER_S, LOOK_S, READ, Connections
from service.precedence import Precedence

if TYPE_CHECKING:
    from types import FrameType

    from gunicorn.workers.gthread import TConn

    from service.connections import Readable
    from service.problems import Problem

WAIT_S = 1.0
"""How long the main thread waits for something to happen; as often it tells the master that it is there."""
PATIENCE_S = 1.0
"""How long a connection on which nothing is asked is kept when the service ends, and again until the client ends it."""
CUT_SHORT = 1
"""The exit code of a worker that ended hard. Not 3 nor 4: by these gunicorn ends the whole service."""


class Ending(Connections):
    """A gthread worker that ends within a bound."""

    inside_s = 20.0
    """How long a request may be inside until it has its outcome."""
    told = False
    """In the master: whether the worker has been told to end."""

    def init_signals(self) -> None:
        super().init_signals()
        self._ends_at = self._asked_until = math.inf
        signal.signal(signal.SIGHUP, self.handle_hup)  # else a terminal's hang-up would kill it
        signal.siginterrupt(signal.SIGHUP, False)  # noqa: FBT003  # as Python has it

    def _watch(
        self, conn: TConn, patience_s: float, then: Readable, late: Problem | None = None, what: int = READ
    ) -> None:
        """Give a client no more time for a request, once the service ends, however often it sends a piece of one.

        For reading a reply it has what there is.
        """
        if then != self._drain:
            until = self._asked_until if what == READ else self._ends_at - LINGER_S
            patience_s = min(patience_s, max(until - time.monotonic(), 0))
        super()._watch(conn, patience_s, then, late, what)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End with the service: also a worker that is being followed by another already."""
        self.patience_s = PATIENCE_S
        self._asked_until = min(self._asked_until, time.monotonic() + PATIENCE_S)
        self._ends_within(2 * PATIENCE_S + self.inside_s)
        super().handle_exit(sig, frame)

    def handle_hup(self, sig: int, frame: FrameType | None) -> None:
        """End because another one follows."""
        if self.alive:
            self._ends_within(self.outside_s() + self.inside_s + LINGER_S)
            super().handle_exit(sig, frame)

    def run(self) -> None:
        self.poller.close()  # gunicorn's
        with closing(Precedence()) as self.poller:  # also when a signal ends it: threads that give way go on
            self.poller.register(self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks)
            while self.alive:
                self.set_accept_enabled(self.nr_conns < self.worker_connections)
                self._turn(WAIT_S)
                if not self.is_parent_alive():
                    self.handle_exit(signal.SIGTERM, None)
            self.set_accept_enabled(False)  # as gunicorn has it
            for listener in self.sockets:
                listener.close()  # the master and the other workers have it too
            while self.nr_conns and time.monotonic() < self._ends_at:
                self._turn(LOOK_S)
            if self.nr_conns:
                self.log.error(
                    "%d connections are left after all that their requests may take: they are cut", self.nr_conns
                )
                self.end_hard()
            self.tpool.shutdown(wait=False)

    def outside_s(self) -> float:
        """Return how long a connection may be outside: idle, and then until a request has arrived and is let in."""
        return float(self.cfg.keepalive)

    def end_hard(self) -> None:
        """End now, without waiting for any thread."""
        os._exit(CUT_SHORT)

    def _turn(self, wait_s: float) -> None:
        self.notify()
        self.wait_for_and_dispatch_events(wait_s)
        self.murder_pending()

    def _ends_within(self, bound_s: float) -> None:
        self._ends_at = min(self._ends_at, time.monotonic() + bound_s)
