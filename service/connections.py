"""gunicorn's threaded worker, but that connections which are not at work are watched, timed and ended in one way.

Whatever is awaited of a client, a request or the end of the connection, is awaited by the main thread, with a deadline,
and keeps no thread of the pool. What clients do, and how many there are, does not end the worker.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import PollableMethodQueue, ThreadWorker

from service.admission import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from gunicorn.workers.gthread import TConn

    from service.problems import Problem

    Readable = Callable[[TConn, socket.socket], None]

LINGER_S = 2.0
"""How long a client may take to end a connection on which it has had its last reply, or when the worker stops."""
LOOK_S = 0.2
"""How often connections are looked through for those whose time is over."""
RECEIVE_BYTES = 16 << 10
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Connections(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gthread worker that knows which connections it waits for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self.method_queue = _Calls()
        self._outside: set[TConn] = set()
        self._next_look = self._accepts_at = 0.0
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
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self.log.exception("no connection can be taken for %g s: %s", LOOK_S, error.strerror)
            self._accepts_at = time.monotonic() + LOOK_S
            self.set_accept_enabled(False)  # as gunicorn has it

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(timeout if self.alive else min(timeout, LOOK_S))

    def murder_pending(self) -> None:
        """End the connections whose time is over. A worker that stops has less of it for them."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        for conn in list(self._outside):
            if not self.alive:
                conn.timeout = min(conn.timeout, now + LINGER_S)
            if conn.timeout > now:
                continue
            self._unwatch(conn)
            if conn.late is None:
                self._close(conn)
            else:
                self._refuse(conn, conn.late)

    def handle_quit(self, sig: int, frame: object) -> None:
        """End at once. A terminal's Ctrl-C comes to a worker twice, from the terminal and from the master.

        gunicorn shuts its pool down in here, which may stand still for ever: on a lock that the main thread held when
        the signal came, or the same handler at its first signal. The pool ends with the process anyway.
        """
        if not self._quits:
            self._quits = True
            super(ThreadWorker, self).handle_quit(sig, frame)

    def _watch(self, conn: TConn, patience_s: float, then: Readable, late: Problem | None = None) -> None:
        """Wait for what ``then`` is to do; past that patience say ``late``, if anything, and end the connection."""
        conn.timeout, conn.late = time.monotonic() + patience_s, late
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(then, conn))
        self._outside.add(conn)

    def _unwatch(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self._outside.discard(conn)

    def _refuse(self, conn: TConn, problem: Problem) -> None:
        with contextlib.suppress(OSError):  # it may have gone
            conn.sock.send(refusal(problem), socket.MSG_DONTWAIT)
        self._linger(conn)

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
