"""How an answer leaves through Flask: a reply, a problem, or a response that is made later."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

import flask
from flask.logging import default_handler

from service import replies
from service.later import Later
from service.mode import Busy, Damaged, NotWritten, Unknown
from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.datastructures import Headers
    from werkzeug.exceptions import HTTPException

    from service.mode import Answer, Leave
    from service.problems import Response
    from service.values import Reply

ENCODER = json.JSONEncoder(separators=(",", ":"))
LOG = logging.getLogger("turnstile")
LOG.addHandler(default_handler)


class _Sent(flask.Response):
    """A response whose headers are complete: its Location is a path in ASCII, its length is known."""

    def get_wsgi_headers(self, _: object) -> Headers:
        return self.headers  # werkzeug would look for what there is to complete: 25 us of 450


class Awaited(flask.Response):
    """A response that is made when the outcome is there. The headers that it has by then are added to it."""

    def __init__(self, begin: Callable[[Answer], Leave], wait_s: float) -> None:
        super().__init__()
        self.headers.clear()
        self._begin = begin
        self._wait_s = wait_s

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Later:
        def respond(outcome: Reply | Exception) -> Iterable[bytes]:
            made = problem(outcome) if isinstance(outcome, Exception) else replied(outcome)
            made.headers.extend(self.headers)
            return made(environ, start_response)

        return Later(self._begin, self._wait_s, respond)


def sent(response: Response) -> flask.Response:
    """Return a response as Flask sends it."""
    headers = {"Content-Type": response.content_type, **response.headers}
    return _Sent(f"{ENCODER.encode(response.body)}\n", response.status, headers)


def replied(reply: Reply) -> flask.Response:
    """Return the response for what was decided."""
    try:
        return sent(replies.replied(reply))
    except Problem as refused:
        return problem(refused)


def problem(error: Exception) -> flask.Response:
    """Return the response for what was raised: whatever is not known to be definite is unknown."""
    match error:
        case Problem():
            return sent(error.response())
        case Busy():
            return sent(Problem(503, "busy", f"{error}; try again").response())
        case NotWritten():
            LOG.error("%s", error)
            return sent(Problem(503, "not-written", f"{error}; try again later").response())
        case Damaged():
            LOG.error("%s", error)
            detail = "the ticket store held something that nobody wrote whole"
            return sent(Problem(500, "torn-read", detail).response())
        case Unknown():
            LOG.error("%s", error)
            return sent(Problem(500, "unknown-outcome", f"{error}: look whether it was done").response())
    LOG.error("unforeseen", exc_info=error)
    detail = "something unforeseen happened: look whether it was done"
    return sent(Problem(500, "unknown-outcome", detail).response())


def route_problem(error: HTTPException) -> flask.Response:
    """Return the response for what the web framework itself refuses."""
    place = f"{flask.request.method} {flask.request.path[:100]!r}"
    allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    match error.code:
        case HTTPStatus.NOT_FOUND:
            detail = f"there is no route {place}: expected one such as GET /tickets or POST /buy"
            return problem(Problem(404, "not-found", detail))
        case HTTPStatus.METHOD_NOT_ALLOWED:
            refused = problem(
                Problem(405, "method-not-allowed", f"there is no route {place}: expected {allowed} there")
            )
            refused.headers["Allow"] = allowed
            return refused
    return problem(Problem(error.code or 500, "bad-request", error.description or error.name))
