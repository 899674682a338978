"""The web service: routes of a few lines each. It knows what a mode is, but not any mode."""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import flask
from flask.logging import default_handler
from werkzeug.exceptions import HTTPException

from service import wire
from service.later import LATER, Later
from service.mode import Busy, Damaged, NotWritten, Unknown, begin_of
from service.rules import NoSuchEvent, order_id
from service.wire import Problem, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.datastructures import Headers

    from service.mode import Answer, Leave, Mode
    from service.rules import Buy, Reply
    from service.settings import Settings

DEFAULT_EVENT = "default"
VERSION_DIGITS_MAX = 18
ENCODER = json.JSONEncoder(separators=(",", ":"))
LOG = logging.getLogger("turnstile")
LOG.addHandler(default_handler)


class _Sent(flask.Response):
    """A response whose headers are complete: its Location is a path in ASCII, its length is known."""

    def get_wsgi_headers(self, _: object) -> Headers:
        return self.headers  # werkzeug would look for what there is to complete: 25 us of 450


class _Awaited(flask.Response):
    """A response that is made when the outcome is there. The headers that it has by then are added to it."""

    def __init__(self, begin: Callable[[Answer], Leave], wait_s: float) -> None:
        super().__init__()
        self.headers.clear()
        self._begin = begin
        self._wait_s = wait_s

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Later:
        def respond(outcome: Reply | Exception) -> Iterable[bytes]:
            made = _problem(outcome) if isinstance(outcome, Exception) else _replied(outcome)
            made.headers.extend(self.headers)
            return made(environ, start_response)

        return Later(self._begin, self._wait_s, respond)


def create_app(mode: Mode, settings: Settings) -> flask.Flask:
    """Return the application that sells through ``mode``. ``mode.open()`` must have run before the first request."""
    app = flask.Flask("turnstile", static_folder=None)
    app.url_map.redirect_defaults = False  # else /events/default/buy answers 308, and every order costs two calls
    _add_counter(app, mode, settings)
    _add_back_office(app, mode, settings)
    if settings.harness:
        _add_harness(app)
    app.register_error_handler(HTTPException, _route_problem)
    app.register_error_handler(Exception, _problem)
    return app


def _add_counter(app: flask.Flask, mode: Mode, settings: Settings) -> None:
    """What a buyer asks for."""
    begin = begin_of(mode)

    @app.post("/buy", defaults={"event": DEFAULT_EVENT})
    @app.post("/events/<event>/buy")
    def buy(event: str) -> flask.Response:
        command = _command(event)
        if begin and LATER in flask.request.environ:
            return _Awaited(partial(begin, command), settings.wait_s)
        return _sent(wire.replied(mode.execute(command)))

    @app.get("/tickets", defaults={"event": DEFAULT_EVENT})
    @app.get("/events/<event>")
    def look(event: str) -> flask.Response:
        return _sent(wire.looked(mode.store.look(event)))

    @app.get("/orders/<order>")
    def find(order: str) -> flask.Response:
        return _sent(wire.found(mode.store.find(order)))


def _add_back_office(app: flask.Flask, mode: Mode, settings: Settings) -> None:
    """What an operator asks for."""

    @app.get("/mode")
    def claim() -> flask.Response:
        return _sent(wire.claimed(mode.name, mode.claim, settings.workers, settings.threads))

    @app.get("/healthz")
    def healthz() -> flask.Response:
        return _sent(Response(HTTPStatus.OK, {"status": "alive"}))

    @app.get("/readyz")
    def readyz() -> flask.Response:
        try:
            mode.store.look(DEFAULT_EVENT)
        except (Damaged, OSError) as error:
            raise Problem(503, "not-ready", f"the ticket store cannot be read: {error}") from error
        return _sent(Response(HTTPStatus.OK, {"status": "ready"}))

    @app.get("/events/<event>/journal")
    def journal(event: str) -> flask.Response:
        _require_admin(settings)
        after = flask.request.args.get("after", "0")
        if not (after.isascii() and after.isdecimal() and len(after) <= VERSION_DIGITS_MAX):
            raise Problem(400, "bad-request", f"after is {after[:40]!r}: expected a version, a whole number from 0")
        lines = mode.store.changes(event, int(after))
        if isinstance(lines, NoSuchEvent):
            raise wire.no_such_event(event)
        return flask.Response(lines, mimetype="application/jsonl")


def _command(event: str) -> Buy:
    order = order_id(event, secrets.token_hex(12))
    return wire.buy(event, order, flask.request.headers.get("Content-Type", ""), _body())


def _body() -> bytes:
    """Return the request's body, of which no more is read than is needed to refuse it."""
    announced = flask.request.content_length
    if (announced or 0) > wire.BODY_BYTES_MAX:
        raise wire.too_large()
    try:
        body = flask.request.stream.read(wire.BODY_BYTES_MAX + 1)
    except Exception as error:  # whatever it is called there: nothing was decided yet, so nothing was done
        raise wire.cut_off("it is not well-formed") from error
    if announced is not None and len(body) < announced:
        raise wire.cut_off(f"it has {len(body)} bytes, and {announced} were announced")
    return body


def _replied(reply: Reply) -> flask.Response:
    try:
        return _sent(wire.replied(reply))
    except Problem as problem:
        return _problem(problem)


def _sent(response: Response) -> flask.Response:
    headers = {"Content-Type": response.content_type, **response.headers}
    return _Sent(f"{ENCODER.encode(response.body)}\n", response.status, headers)


def _require_admin(settings: Settings) -> None:
    if not settings.admin_token:
        raise Problem(403, "forbidden", "no admin token is set: start the service with TURNSTILE_ADMIN_TOKEN")
    shown = flask.request.headers.get("Authorization", "")
    if not hmac.compare_digest(shown.encode(), f"Bearer {settings.admin_token}".encode()):
        raise Problem(401, "not-signed-in", "expected the header Authorization: Bearer and the admin token")


def _add_harness(app: flask.Flask) -> None:
    """What a load test asks for: which worker answered, and an answer that neither locks nor stores."""

    @app.after_request
    def name_worker(response: flask.Response) -> flask.Response:
        response.headers["Turnstile-Worker"] = str(os.getpid())
        return response

    @app.post("/noop")
    def noop() -> flask.Response:
        command = _command(DEFAULT_EVENT)
        return _sent(Response(HTTPStatus.OK, {"order": command.order, "quantity": command.quantity}))


def _problem(error: Exception) -> flask.Response:
    """Every failure is definite or it is not: 4xx and 503 mean *certainly not done*, 500 means *unknown*."""
    match error:
        case Problem():
            return _sent(error.response())
        case Busy():
            return _sent(Problem(503, "busy", f"{error}; try again").response())
        case NotWritten():
            LOG.error("%s", error)
            return _sent(Problem(503, "not-written", f"{error}; try again later").response())
        case Damaged():
            LOG.error("%s", error)
            detail = "the ticket store held something that nobody wrote whole"
            return _sent(Problem(500, "torn-read", detail).response())
        case Unknown():
            LOG.error("%s", error)
            return _sent(Problem(500, "unknown-outcome", f"{error}: look whether it was done").response())
    LOG.error("unforeseen", exc_info=error)
    detail = "something unforeseen happened: look whether it was done"
    return _sent(Problem(500, "unknown-outcome", detail).response())


def _route_problem(error: HTTPException) -> flask.Response:
    """Return the response for what the web framework itself refuses."""
    place = f"{flask.request.method} {flask.request.path[:100]!r}"
    allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    match error.code:
        case HTTPStatus.NOT_FOUND:
            detail = f"there is no route {place}: expected one such as GET /tickets or POST /buy"
            return _problem(Problem(404, "not-found", detail))
        case HTTPStatus.METHOD_NOT_ALLOWED:
            sent = _problem(Problem(405, "method-not-allowed", f"there is no route {place}: expected {allowed} there"))
            sent.headers["Allow"] = allowed
            return sent
    return _problem(Problem(error.code or 500, "bad-request", error.description or error.name))
