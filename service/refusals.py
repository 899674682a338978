"""gunicorn's threaded worker, but that those who find it full are told so cheaply, and told so once a second at most.

A connection on which "full" was said is kept: to open another one costs both sides several times what the refusal does.
The reply says when to come again, and who comes sooner on the same connection is left to wait until then, unless there
is little to do before. So however fast a client asks, it costs one refusal a second, and is let in no sooner than one
who does as told.
"""

from __future__ import annotations

import itertools
import socket
import time
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from service import watch
from service.admission import AGAIN_S, FULL, FULL_AND_STAYS, Door
from service.connections import Connections
from service.framing import plain

if TYPE_CHECKING:
    from gunicorn.workers.gthread import TConn

KEPT_SHARE = 0.5
"""Where more than this share of the connections that a worker may have are open, those who are refused lose theirs."""


class Refusals(Connections):
    """A gthread worker that knows whom it has refused."""

    door = Door(threads=1, waiting_max=1000, wait_s=5.0)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self._inside: set[TConn] = set()
        self._early: list[tuple[float, int, TConn, bytes]] = []  # when to come again, who came first
        self._numbers = itertools.count()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        if self._early:
            timeout = min(timeout, max(self._early[0][0] - time.monotonic(), 0))
        super().wait_for_and_dispatch_events(timeout)
        now = time.monotonic()
        self.door.look(now, len(self._inside))
        for _ in range(len(self._early)):  # one who is turned away again waits for the next time
            if not (self._early[0][0] <= now or self._idle() or not self.alive):
                break
            *_, conn, request = heappop(self._early)
            if self._idle() and gone(conn.sock):  # else it is looked at when it is its turn
                self._refuse(conn, FULL)
            else:
                self._come(conn, request)

    def _idle(self) -> bool:
        return self.door.idle(len(self._inside))

    def _turn_away(self, conn: TConn, request: bytes) -> None:
        """Say that it is full; to one who was told so a moment ago, say it when the time has come."""
        now = time.monotonic()
        if now < conn.again and self.alive:
            heappush(self._early, (conn.again, next(self._numbers), conn, request))
        elif not (plain(request) and self.alive and self.nr_conns <= KEPT_SHARE * self.worker_connections):
            self._refuse(conn, FULL)
        elif _taken(conn.sock, FULL_AND_STAYS):
            watch.here.refused(FULL.slug)
            conn.again = now + AGAIN_S
            self._next(conn)
        else:
            self._linger(conn)

    def _come(self, conn: TConn, request: bytes) -> None:
        """Let a request in, or turn it away."""
        raise NotImplementedError

    def _next(self, conn: TConn) -> None:
        """Go on with what has come behind a request."""
        raise NotImplementedError


def gone(client: socket.socket) -> bool:
    """Tell whether the client has ended its side meanwhile."""
    try:
        return client.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _taken(client: socket.socket, reply: bytes) -> bool:
    """Send a reply, and tell whether there was room for all of it."""
    try:
        return client.send(reply, socket.MSG_DONTWAIT) == len(reply)
    except OSError:
        return False
