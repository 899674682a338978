"""gunicorn's threaded worker, but that no thread of it needs to wait for a reply that comes later (``later.py``).

A thread of the pool reads a request and calls the application, as always. When the body it gets is a ``Later`` whose
outcome is not there yet, the thread goes on to the next request. The main thread, which watches the idle connections,
sends the reply when the outcome is there, or when its patience has ended; a whole batch of replies costs two changes of
threads instead of two for each.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from service.access import REQUEST, request_id
from service.admission import MALFORMED, refusal
from service.guarding import guarding
from service.hanging import Hanging
from service.later import LATER, Later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gunicorn.http.message import Request
    from gunicorn.http.wsgi import Response
    from gunicorn.workers.gthread import TConn

HELD_BACK = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1})
"""Signals that end a worker, the last of them only one that has no handler for it yet."""
_LATER = object()
"""In place of "keep the connection" or not: somebody else has it."""


class _Deferred(Exception):
    """The way out of gunicorn's ``handle_request``, which would send the reply now."""

    def __init__(self, body: Later, response: Response, environ: dict[str, Any]) -> None:
        self.body = body
        self.response = response
        self.environ = environ


class _Waiting:
    """A reply that is awaited, and where it goes."""

    __slots__ = ("begun_in", "body", "conn", "deadline", "environ", "ready", "response")

    def __init__(self, conn: TConn, deferred: _Deferred) -> None:
        self.conn = conn
        self.response = deferred.response
        self.environ = deferred.environ
        self.body: Later | None = deferred.body
        self.begun_in = threading.get_ident()
        self.ready = False
        self.deadline = 0.0

    def rendered(self) -> bytes:
        """Return all bytes of the reply: sent at once, they are one packet, and tell whether the client takes them."""
        out = self.response.sock = _Collected()
        for part in self.body or ():
            self.response.write(part)
        self.response.close()
        self.body = None  # one that others wait behind shall not keep it
        return bytes(out)


class _Collected(bytearray):
    """What gunicorn takes for a socket here."""

    sendall = bytearray.extend


class Worker(Hanging):
    """A gthread worker that knows ``Later``."""

    wsgi: Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self._awaited: deque[_Waiting] = deque()  # in the order of their deadlines, for all have the same patience
        self._ready: deque[_Waiting] = deque()
        self._told = False

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)  # the master held them back

    def load_wsgi(self) -> None:
        super().load_wsgi()  # it sets ``wsgi``
        application = self.wsgi

        def asked(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
            response: Response = start_response.__self__  # type: ignore[attr-defined]  # a method of it

            def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
                response.headers.extend(guarding(headers))  # ours are well-formed, and need not be looked through
                return start_response(status, headers, exc_info)

            environ[REQUEST] = name = request_id(environ)
            response.headers.append(("X-Request-Id", name))
            environ[LATER] = True
            self._pending.begin(here := threading.get_ident())
            try:
                body = application(environ, start)
            finally:
                self._pending.over(here)
            if isinstance(body, Later):
                raise _Deferred(body, response, environ)
            return body

        self.wsgi = asked

    # In a thread of the pool.

    def handle_request(self, req: Request, conn: TConn) -> object:
        try:
            return super().handle_request(req, conn)
        except _Deferred as deferred:
            if not super()._keepalive_after(conn, True):  # noqa: FBT003  # as gunicorn has it
                deferred.response.force_close()
            return self._begun(_Waiting(conn, deferred), deferred.body)

    def _begun(self, waiting: _Waiting, body: Later) -> object:
        self._pending.begin(waiting)
        patience_s = body.begin(partial(self._answered, waiting))
        if waiting.ready:
            self._closes_if_it_ends(waiting.response)
            waiting.conn.sock.sendall(self._rendered(waiting))
            return not waiting.response.should_close()
        waiting.deadline = time.monotonic() + patience_s
        self._awaited.append(waiting)
        if len(self._awaited) == 1:
            self.method_queue.defer(_nothing)  # else the main thread might sleep past this deadline
        return _LATER

    def _closes_if_it_ends(self, response: Response) -> None:
        if not self.alive:
            response.force_close()

    def _keepalive_after(self, conn: TConn, keepalive: object) -> object:
        return keepalive if keepalive is _LATER else super()._keepalive_after(conn, keepalive)

    def _rendered(self, waiting: _Waiting) -> bytes:
        reply = waiting.rendered()
        self.log.access(waiting.response, waiting.response.req, waiting.environ, None)
        return reply

    # In whatever thread has the outcome.

    def _answered(self, waiting: _Waiting) -> None:
        self._pending.over(waiting)
        if waiting.begun_in == threading.get_ident():
            waiting.ready = True  # ``begin`` is about to return there
            return
        self._ready.append(waiting)
        if not self._told:  # one call for all that are ready by then
            self._told = True
            self.method_queue.defer(self._send_all)

    # In the main thread.

    def _handled(self, conn: TConn, task: Future[object]) -> None:
        if task.cancelled() or task.exception() or task.result() is not _LATER:
            super()._handled(conn, task)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        if self._awaited:
            timeout = min(timeout, max(self._awaited[0].deadline - time.monotonic(), 0))
        super().wait_for_and_dispatch_events(timeout)
        while self._awaited and (self._awaited[0].body is None or self._awaited[0].deadline <= time.monotonic()):
            waiting = self._awaited.popleft()
            if waiting.body and self._leaves(waiting.body):
                self._pending.over(waiting)
                self._send(waiting)

    def _leaves(self, body: Later) -> bool:
        try:
            return body.leave()
        except Exception:  # it may be served or not: its outcome will come
            self.log.exception("a request could not leave its queue")
            return False

    def _send_all(self) -> None:
        self._told = False
        while self._ready:
            self._send(self._ready.popleft())

    def _send(self, waiting: _Waiting) -> None:
        if waiting.body is None:
            return  # it has been sent
        conn, response = waiting.conn, waiting.response
        self._closes_if_it_ends(response)
        try:
            reply = self._rendered(waiting)
        except Exception:  # nothing that is the matter with one reply may end the thread of all
            self.log.exception("a reply could not be made")
            response.force_close()
            reply = refusal(MALFORMED[500])
        waiting.body = waiting.conn = waiting.response = None
        over: Future[object] = Future()
        try:
            conn.sock.sendall(reply)
            over.set_result(not response.should_close())
        except OSError as error:  # the client has gone
            over.set_exception(error)
        self.finish_request(conn, over)


def _nothing() -> None:
    """Be a call that only wakes the main thread."""
