"""gunicorn's threaded worker, but that a request is given to a thread when it has arrived whole, and not before.

So a client that sends slowly, or opens connections ahead of need, keeps no thread waiting, and a request too many is
refused at the door (``admission.py``). The main thread reads what comes, cuts it into requests (``framing.py``), and
gives one at a time to the pool; the thread that gets it has no more to read from the connection.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http import get_parser

from service.admission import CONTINUE, CUT_OFF, FULL, MALFORMED, SLOW, refusal
from service.connections import Connections, received
from service.framing import Arriving, Endless, TooLarge
from service.problems import too_large
from service.wire import BODY_BYTES_MAX

if TYPE_CHECKING:
    from concurrent.futures import Future

    from gunicorn.http.message import Request
    from gunicorn.workers.gthread import TConn

READ_S = 10.0
"""How long a request may take to arrive, from its first byte on. Past it, the connection is closed."""
STALL_S = 10.0
"""How long a thread waits for a client to take the next bytes of a reply."""
THREAD_S = 1.0
"""How long a request may wait for a thread, however short the wait for the others may be."""


class Arrivals(Connections):
    """A gthread worker that knows what it lets in."""

    inside_max = 1000
    """Most requests that may be inside: in a thread, waiting for one, or waiting for their reply."""
    wait_s = 5.0
    """How long a request may wait for a thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self._inside: set[TConn] = set()

    def enqueue_req(self, conn: TConn) -> None:
        """Take a new connection: gunicorn calls this for no other."""
        seconds, micros = divmod(int(STALL_S * 1e6), 1_000_000)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", seconds, micros))  # a timeval
        conn.initialized = True
        conn.arriving, conn.begun = Arriving(BODY_BYTES_MAX), None
        self._watch(conn, self.cfg.keepalive, self._readable)

    def finish_request(self, conn: TConn, task: Future[object]) -> None:
        self._inside.discard(conn)
        if not task.cancelled() and not task.exception() and task.result():
            self._next(conn)
        else:
            self._linger(conn)

    def _readable(self, conn: TConn, client: socket.socket) -> None:
        came = received(client)
        if came is None:
            return
        self._unwatch(conn)
        if came:
            conn.arriving.seen += came
            self._next(conn)
        elif conn.arriving.seen:
            self._refuse(conn, CUT_OFF)
        else:
            self._close(conn)

    def _next(self, conn: TConn) -> None:
        """Give the next request to a thread if it is there; else wait for it."""
        try:
            request = conn.arriving.next()
        except Endless:
            self._refuse(conn, MALFORMED[431])
        except TooLarge:
            self._refuse(conn, too_large(BODY_BYTES_MAX))
        else:
            if not request:
                self._wait(conn)
            elif len(self._inside) >= self.inside_max:
                self._refuse(conn, FULL)
            else:
                self._inside.add(conn)
                conn.begun, conn.arrived = None, time.monotonic()
                conn.parser = get_parser(self.cfg, (request,), conn.client)
                self.tpool.submit(self.handle, conn).add_done_callback(partial(self._handled, conn))

    def _wait(self, conn: TConn) -> None:
        """Wait for a request, or for the rest of one, for which there is a time from its first byte on."""
        if not conn.arriving.seen:
            self._watch(conn, self.cfg.keepalive, self._readable)
            return
        if conn.arriving.continues:
            conn.arriving.continues = False
            with contextlib.suppress(OSError):  # it may have gone
                conn.sock.send(CONTINUE, socket.MSG_DONTWAIT)
        now = time.monotonic()
        conn.begun = conn.begun or now
        self._watch(conn, conn.begun + READ_S - now, self._readable, SLOW)

    # In a thread of the pool.

    def handle(self, conn: TConn) -> object:
        if time.monotonic() - conn.arrived > max(self.wait_s, THREAD_S):
            conn.sock.send(refusal(FULL), socket.MSG_DONTWAIT)
            return False
        return super().handle(conn)

    def handle_request(self, req: Request, conn: TConn) -> object:
        if self.nr_conns >= self.worker_connections:  # others wait to be let in
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(self, req: Request, client: socket.socket, addr: object, exc: BaseException) -> None:
        """Say it as every other problem is said; gunicorn would send a page of HTML."""
        page = _Page()
        super().handle_error(req, page, addr, exc)
        status = int(bytes(page).split(b" ", 2)[1]) if page else 500
        client.send(refusal(MALFORMED.get(status, MALFORMED[500])))

    def _handled(self, conn: TConn, task: Future[object]) -> None:
        """Go on in the main thread."""
        self.method_queue.defer(self.finish_request, conn, task)


class _Page(bytearray):
    """What gunicorn takes for a socket to say an error to."""

    sendall = bytearray.extend

    def gettimeout(self) -> float:
        return 0.0
