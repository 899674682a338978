"""gunicorn's threaded worker, but that connections which are not at work are watched, timed and ended in one way.

Whatever is awaited of a client, a request or the end of the connection, is awaited by the main thread, with a deadline,
and keeps no thread of the pool. What clients do, and how many there are, does not end the worker.
"""

from __future__ import annotations

import contextlib
import errno
import math
import selectors
import socket
import threading
import time
from functools import partial
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

from service import watch
from service.admission import IDLE, refusal
from service.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from service.precedence import Precedence
    from service.problems import Problem

    Readable = Callable[[TConn, socket.socket], None]

LINGER_S = 2.0
"""How long a client may take to end a connection on which it has had its last reply."""
LOOK_S = 0.2
"""How often connections are looked through for those whose time is over."""
ACCEPTED_AT_ONCE_MAX = 64
"""So many new connections are taken one after the other where many come; where few do, each goes to whoever is free.
Where as many leave as come, others are served for as long as that took: a connection for each request is endless."""
ENDED_SHARE = 0.02
"""What part of the connections is ended when there are as many as there may be, so that others can come."""
RECEIVE_BYTES = 16 << 10
READ = selectors.EVENT_READ
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
LOST = frozenset({
    *(errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET),
})  # fmt: skip
"""What befell the connection that was to be taken, and not who takes it: accept(2)."""


class Connections(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gthread worker that knows which connections it waits for."""

    poller: Precedence
    patience_s = math.inf
    """What a connection that is not at work has left of its time when the worker is about to end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self.method_queue = _Calls()
        self._outside: set[TConn] = set()
        self._next_look = self._accepts_at = 0.0
        self._left = 0  # since connections were taken last
        self._quits = False

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Have all threads from the start: the main thread would end if there were no room for one later."""
        pool: ThreadPoolExecutor = super().get_thread_pool()
        everyone = threading.Barrier(self.cfg.threads)
        for thread in [pool.submit(everyone.wait) for _ in range(self.cfg.threads)]:
            thread.result()
        return pool

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  # as gunicorn has it
        super().set_accept_enabled(enabled and time.monotonic() >= self._accepts_at)

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, or some where many come: a look for what is ready costs as much as taking one."""
        began, before, many = time.monotonic(), self.nr_conns, not self._idle()
        for _ in range(ACCEPTED_AT_ONCE_MAX if many else 1):
            if not self._take(listener):
                break
        if many and self._left >= self.nr_conns - before:
            now = time.monotonic()
            self._accepts_at = max(self._accepts_at, now + (now - began))
        self._left = 0

    def _take(self, listener: socket.socket) -> bool:
        """Take a connection, and tell whether there may be another."""
        if self.nr_conns >= self.worker_connections:
            return False
        try:
            client, address = listener.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in LOST:
                return True
            if error.errno not in NO_ROOM:
                raise
            self.log.exception("no connection can be taken for %g s: %s", LOOK_S, error.strerror)
            self._accepts_at = time.monotonic() + LOOK_S
            return False
        self.nr_conns += 1
        self.enqueue_req(TConn(self.cfg, Outgoing(client), address, listener.getsockname()))
        return True

    def _idle(self) -> bool:
        """Tell whether there is little to do."""
        raise NotImplementedError

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        timeout = timeout if self.alive else min(timeout, LOOK_S)
        if self.alive and not self._accepting and self.nr_conns < self.worker_connections:
            # Who comes meanwhile wakes nobody; when the worker ends, nobody is taken any more.
            timeout = min(timeout, max(self._accepts_at - time.monotonic(), 0))
        super().wait_for_and_dispatch_events(timeout)
        if self.nr_conns >= self.worker_connections:  # not before: what is ended may be what is ready
            self._make_room()

    def murder_pending(self) -> None:
        """End the connections whose time is over."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        for conn in list(self._outside):
            if not (self.alive or conn.reads):
                conn.timeout = min(conn.timeout, now + self.patience_s)
            if conn.timeout > now:
                continue
            self._unwatch(conn)
            if conn.lingers:
                self._close(conn)
            elif conn.late:
                self._refuse(conn, conn.late)
            else:
                self._linger(conn)

    def handle_quit(self, sig: int, frame: object) -> None:
        """End at once. A terminal's Ctrl-C comes to a worker twice, from the terminal and from the master.

        gunicorn shuts its pool down in here, which may stand still for ever: on a lock that the main thread held when
        the signal came, or the same handler at its first signal. The pool ends with the process anyway.
        """
        if not self._quits:
            self._quits = True
            super(ThreadWorker, self).handle_quit(sig, frame)

    def _make_room(self) -> None:
        """End the connections whose time would be over first: who opens all there are locks nobody else out."""
        for conn in nsmallest(math.ceil(ENDED_SHARE * self.nr_conns), self._outside, attrgetter("timeout")):
            self._unwatch(conn)
            if conn.late:
                self._say(conn, conn.late)
            self._close(conn)

    def _watch(
        self, conn: TConn, patience_s: float, then: Readable, late: Problem | None = None, what: int = READ
    ) -> None:
        """Wait for what ``then`` is to do; past that patience say ``late``, if anything, and end the connection.

        For bytes to come, or for the client to read what was sent.
        """
        conn.timeout, conn.late, conn.lingers = time.monotonic() + patience_s, late, then == self._drain
        conn.reads = what != READ
        self.poller.register(conn.sock, what, partial(then, conn))
        self._outside.add(conn)

    def _unwatch(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self._outside.discard(conn)

    def _refuse(self, conn: TConn, problem: Problem) -> None:
        self._say(conn, problem)
        self._linger(conn)

    def _say(self, conn: TConn, problem: Problem) -> None:
        if problem is not IDLE:  # no request came that was refused
            watch.here.refused(problem.slug)
        with contextlib.suppress(OSError):  # it may have gone
            conn.sock.send(refusal(problem), socket.MSG_DONTWAIT)

    def _linger(self, conn: TConn) -> None:
        """End a connection when the client has (RFC 9112, 9.6), or in a while: not gunicorn's way, which waits here."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            self._watch(conn, LINGER_S, self._drain)
        except (OSError, ValueError):  # it has gone already
            self._close(conn)

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        if received(client) == b"":
            self._unwatch(conn)
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        self._left += 1
        conn.close()


class _Calls(PollableMethodQueue):  # type: ignore[misc]  # gunicorn has no types
    """What other threads ask of the main thread."""

    def close(self) -> None:
        """Leave the pipe to the end of the process: a thread that comes late must not write to a file of its number."""


def received(client: socket.socket) -> bytes | None:
    """Return what has come: nothing at its end, and ``None`` if that is to be waited for."""
    try:
        return client.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
