"""gunicorn's threaded worker, but that a request is given to a thread when it has arrived whole, and not before.

So a client that sends slowly, or opens connections ahead of need, keeps no thread waiting, and a request too many is
refused at the door (``admission.py``, ``refusals.py``). The main thread reads what comes, cuts it into requests
(``framing.py``), and gives one at a time to the pool; the thread that gets it has no more to read from the connection.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from gunicorn.http import errors, get_parser

from service import watch
from service.admission import CONTINUE, CUT_OFF, FULL, IDLE, MALFORMED, SLOW, refusal, unclear
from service.connections import received
from service.ending import Ending
from service.framing import Arriving, Endless, TooLarge
from service.outgoing import STALL_S
from service.problems import too_large
from service.refusals import Refusals, gone
from service.wire import BODY_BYTES_MAX

if TYPE_CHECKING:
    from concurrent.futures import Future

    from gunicorn.http.message import Request
    from gunicorn.workers.gthread import TConn

    from service.outgoing import Outgoing

READ_S = 10.0
"""How long a request may take to arrive, from its first byte on. Past it, the connection is closed."""
UNREAD_BYTES = 64 << 10
"""How much of replies that are not read the kernel is asked to keep; it takes twice that."""
READERS_MAX = 128
"""So many clients of a worker may be behind with their reading, each with the rest of one reply that is kept for it. Of
more, the one ends whose time would be over first."""
THREAD_S = 1.0
"""How long a request may wait for a thread, however short the wait for the others may be."""
CHECK = re.compile(rb"(?:GET|HEAD) /(healthz|readyz)[ ?]")
"""What asks how the worker is. Each has a thread of its own: it is answered however many wait for the others, and
whether the worker is alive also while another check waits for the lock."""
CHECKS_MAX = 32
STATUSES = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    errors.ForbiddenProxyRequest: 403,
}
"""What a request is refused with that gunicorn cannot read; all others with 400."""
NOT_THE_CLIENT = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


class Arrivals(Refusals, Ending):
    """A gthread worker that knows what it lets in."""

    wait_s = 5.0
    """How long a request may wait for a thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self._checked: set[TConn] = set()
        self._readers: set[TConn] = set()
        self._queued: deque[tuple[float, Future[object]]] = deque()  # by when each is to have a thread

    def get_thread_pool(self) -> ThreadPoolExecutor:
        self._checks = {name: ThreadPoolExecutor(1, name) for name in ("healthz", "readyz")}
        for pool in self._checks.values():
            pool.submit(int).result()  # its thread is there from the start, as the others are
        return super().get_thread_pool()

    def init_process(self) -> None:
        watch.here.worker(lambda: len(self._inside))
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """Take a new connection: gunicorn calls this for no other."""
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        conn.initialized = True
        conn.arriving, conn.begun, conn.again = Arriving(BODY_BYTES_MAX), None, 0.0
        came = received(conn.sock)  # where many come, the request is there before the connection is taken
        if came is None:
            self._watch(conn, self.cfg.keepalive, self._readable)
        else:
            self._came(conn, came)

    def outside_s(self) -> float:
        return super().outside_s() + READ_S + STALL_S

    def finish_request(self, conn: TConn, task: Future[object]) -> None:
        is_check = conn in self._checked
        (self._checked if is_check else self._inside).discard(conn)
        if task.cancelled():  # it found no thread in time
            self._refuse(conn, FULL)
            return
        if not is_check:
            self.door.leaves()
        keep = not task.exception() and bool(task.result())
        if not conn.sock.unsent or conn.sock.fileno() < 0:  # what failed while it was sent has been closed
            self._over(conn, keep)
            return
        if len(self._readers) >= READERS_MAX:
            slowest = min(self._readers, key=attrgetter("timeout"))
            self._unwatch(slowest)
            self._close(slowest)
        self._readers.add(conn)
        self._watch(conn, STALL_S, partial(self._has_room, keep), what=selectors.EVENT_WRITE)

    def _over(self, conn: TConn, keep: bool) -> None:  # noqa: FBT001  # passed through a pool
        """Go on when a reply has been sent."""
        if keep:
            self._next(conn)
        else:
            self._linger(conn)

    def _has_room(self, keep: bool, conn: TConn, client: Outgoing) -> None:  # noqa: FBT001  # passed through a pool
        """Send what is left of a reply."""
        try:
            sent = client.send_more()
        except OSError:  # it has gone
            self._unwatch(conn)
            self._close(conn)
            return
        if sent:
            self._unwatch(conn)
            self._over(conn, keep)

    def _unwatch(self, conn: TConn) -> None:
        super()._unwatch(conn)
        self._readers.discard(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        if self._queued:
            timeout = min(timeout, max(self._queued[0][0] - time.monotonic(), 0))
        super().wait_for_and_dispatch_events(timeout)
        now = time.monotonic()
        while self._queued and (self._queued[0][0] <= now or self._queued[0][1].running() or self._queued[0][1].done()):
            self._queued.popleft()[1].cancel()  # which one that has a thread does not hear

    def _readable(self, conn: TConn, client: socket.socket) -> None:
        came = received(client)
        if came is not None:
            self._unwatch(conn)
            self._came(conn, came)

    def _came(self, conn: TConn, came: bytes) -> None:
        """Go on with what a client has sent, which is nothing when it has ended its side."""
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
            if request:
                conn.begun = None
                self._come(conn, request)
            else:
                self._wait(conn)

    def _come(self, conn: TConn, request: bytes) -> None:
        """Give a request to a thread, if there is room for it."""
        check = CHECK.match(request)
        if not (len(self._checked) < CHECKS_MAX if check else self.door.lets_in(len(self._inside))):
            self._turn_away(conn, request)
            return
        conn.arrived = time.monotonic()
        conn.parser = get_parser(self.cfg, (request,), conn.client)
        if check:
            self._checked.add(conn)
            task = self._checks[check[1].decode()].submit(self.handle, conn)
        else:
            self._inside.add(conn)
            task = self.tpool.submit(self.handle, conn)
            self._queued.append((conn.arrived + max(self.wait_s, THREAD_S), task))
        task.add_done_callback(partial(self._handled, conn))

    def _wait(self, conn: TConn) -> None:
        """Wait for a request, or for the rest of one, for which there is a time from its first byte on."""
        if not conn.arriving.seen:
            self._watch(conn, self.cfg.keepalive, self._readable, IDLE)
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
        if conn not in self._checked:
            self.poller.give_way()
        if not self._idle() and gone(conn.sock):  # there are others to sell to
            watch.here.refused(FULL.slug)
            conn.sock.send(refusal(FULL), socket.MSG_DONTWAIT)
            return False
        return super().handle(conn)

    def handle_request(self, req: Request, conn: TConn) -> object:
        if problem := unclear([name for name, _ in req.headers], newer=req.version >= (1, 1)):
            watch.here.refused(problem.slug)
            conn.sock.sendall(refusal(problem))
            return False
        if self.nr_conns >= self.worker_connections:  # others wait to be let in
            req.force_close()
        req.arrived = conn.arrived
        return super().handle_request(req, conn)

    def handle_error(self, req: Request, client: socket.socket, addr: object, exc: BaseException) -> None:  # noqa: ARG002  # as gunicorn has it
        """Say it as every other problem is said, and log nothing that was sent: it may be a token, or an order.

        gunicorn would send a page of HTML, and log the header field or the request line that it could not read.
        """
        status = 500
        if isinstance(exc, errors.ParseException) and not isinstance(exc, NOT_THE_CLIENT):
            status = next((status for kind, status in STATUSES.items() if isinstance(exc, kind)), 400)
            self.log.warning("a request was refused before it was read (%s)", type(exc).__name__)
        else:
            self.log.error("a request could not be served", exc_info=exc)
        watch.here.refused(MALFORMED[status].slug)
        client.sendall(refusal(MALFORMED[status]))

    def _handled(self, conn: TConn, task: Future[object]) -> None:
        """Go on in the main thread."""
        self.method_queue.defer(self.finish_request, conn, task)
