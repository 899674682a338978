"""gunicorn's threaded worker, but that a request is given to a thread when it has arrived whole, and not before.

So a client that sends slowly, or opens connections ahead of need, keeps no thread waiting, and a request too many is
refused at the door (``admission.py``). Until a request is whole, the main thread looks at what is there without taking
it, and has the kernel wake it when there is more.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import ThreadWorker

from service.admission import FULL, MALFORMED, SLOW, refusal
from service.whole import HEAD_BYTES_MAX, whole
from service.wire import BODY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from gunicorn.http.message import Request
    from gunicorn.workers.gthread import TConn

    from service.problems import Problem

    Readable = Callable[[TConn, socket.socket], None]

READ_S = 10.0
"""How long a request may take to arrive, from its first byte on. Past it, the connection is closed."""
STALL_S = 10.0
"""How long a thread waits for a client to send or take the next byte."""
LINGER_S = 2.0
"""How long a client may take to end a connection on which it has had its last reply."""
LOOK_S = 0.2
"""How often connections are looked through for those whose time is over."""


class Arrivals(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gthread worker that knows what it lets in."""

    inside_max = 1000
    """Most requests that may be inside: in a thread, waiting for one, or waiting for their reply."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self._inside: set[TConn] = set()
        self._next_look = 0.0
        self._quits = False

    def enqueue_req(self, conn: TConn) -> None:
        if not (conn.initialized or conn.data_ready):
            seconds, micros = divmod(int(STALL_S * 1e6), 1_000_000)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                conn.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", seconds, micros))  # struct timeval
            conn.expected = 1
            self._watch(conn, self.cfg.keepalive)
        elif len(self._inside) >= self.inside_max:
            self._refuse(conn, FULL)
        else:
            self._inside.add(conn)
            self.tpool.submit(self.handle, conn).add_done_callback(partial(self._handled, conn))

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        if _arrived(conn):
            super().on_client_socket_readable(conn, client)
        else:
            self.poller.unregister(client)
            self.keepalived_conns.remove(conn)
            self._watch(conn, READ_S)

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        first = conn.expected == 1
        if _arrived(conn):
            super().on_pending_socket_readable(conn, client)
        elif first:
            self._unwatch(conn)
            self._watch(conn, READ_S)

    def handle_quit(self, sig: int, frame: object) -> None:
        """End at once. A terminal's Ctrl-C comes to a worker twice, from the terminal and from the master.

        gunicorn shuts its pool down in here, which may stand still for ever: on a lock that the main thread held when
        the signal came, or the same handler at its first signal. The pool ends with the process anyway.
        """
        if not self._quits:
            self._quits = True
            super(ThreadWorker, self).handle_quit(sig, frame)

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def murder_pending(self) -> None:
        """Close those whose time is over; they do not stand in its order."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        for conn in [conn for conn in self.pending_conns if conn.timeout <= now]:
            if conn.expected > 1:
                self._unwatch(conn)
                self._refuse(conn, SLOW)
            else:
                self._end(conn)

    def handle_error(self, req: Request, client: socket.socket, addr: object, exc: BaseException) -> None:
        """Say it as every other problem is said; gunicorn would send a page of HTML."""
        page = _Page()
        super().handle_error(req, page, addr, exc)
        status = int(bytes(page).split(b" ", 2)[1]) if page else 500
        client.send(refusal(MALFORMED.get(status, MALFORMED[500])))

    def _handled(self, conn: TConn, task: Future[object]) -> None:
        self._inside.discard(conn)
        self.method_queue.defer(self.finish_request, conn, task)

    def _watch(self, conn: TConn, patience_s: float, then: Readable | None = None) -> None:
        """Wait without a thread: for a request, for the rest of one, or for what ``then`` is to do."""
        conn.sock.setblocking(False)  # noqa: FBT003  # as Python has it
        conn.timeout = time.monotonic() + patience_s
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(then or self.on_pending_socket_readable, conn))
        self.pending_conns.append(conn)

    def _refuse(self, conn: TConn, problem: Problem) -> None:
        conn.expected = 1
        with contextlib.suppress(OSError):  # it may have gone
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            conn.sock.send(refusal(problem), socket.MSG_DONTWAIT)
        self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """End a connection when the client has (RFC 9112, 9.6), or in a while: not gunicorn's way, which waits here."""
        try:
            self._watch(conn, LINGER_S, self._drain)
        except (OSError, ValueError):  # it is closed already
            self.nr_conns -= 1
            conn.close()
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._end(conn)

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        try:
            left = client.recv(HEAD_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            left = b""
        if not left:
            self._end(conn)

    def _unwatch(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)

    def _end(self, conn: TConn) -> None:
        self._unwatch(conn)
        self.nr_conns -= 1
        conn.close()


class _Page(bytearray):
    """What gunicorn takes for a socket to say an error to."""

    sendall = bytearray.extend

    def gettimeout(self) -> float:
        return 0.0


def _arrived(conn: TConn) -> bool:
    """Tell whether a thread need not wait for the request; if not, there is nothing to read until there is more."""
    try:
        seen = conn.sock.recv(HEAD_BYTES_MAX + 2 * BODY_BYTES_MAX, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    # Readable, and not by more bytes: the client has ended. The thread will find out.
    arrived = len(seen) < conn.expected or whole(seen, BODY_BYTES_MAX)
    expected = 1 if arrived else len(seen) + 1
    if expected != conn.expected:
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, expected)
        conn.expected = expected
    return arrived
