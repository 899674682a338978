"""How an answer leaves through Flask: a reply, a problem, or a response that is made later."""

from __future__ import annotations

import difflib
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

import flask
from flask.logging import default_handler
from werkzeug.datastructures import Headers

from service import replies
from service.later import Later
from service.mode import Busy, Conflict, Damaged, NotWritten, Unknown, told
from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.exceptions import HTTPException

    from service.mode import Answer, Leave
    from service.outcomes import Reply
    from service.problems import Response

ROUTE, SAID, ASKED = "turnstile.route", "turnstile.said", "turnstile.asked"
"""Keys in a WSGI environment: the route that was found, and the body of the reply, for who notes what was answered."""
ENCODER = json.JSONEncoder(separators=(",", ":"))
LOG = logging.getLogger("turnstile")
LOG.addHandler(default_handler)


class _Sent(flask.Response):
    """A response whose headers are complete: its Location is a path in ASCII, its length is known."""

    def get_wsgi_headers(self, _: object) -> Headers:
        return self.headers  # werkzeug would look for what there is to complete: 25 us of 450


class Awaited(flask.Response):
    """A response that is made when the outcome is there, by then without Flask. Headers that it has are added to it."""

    def __init__(self, begin: Callable[[Answer], Leave], wait_s: float) -> None:
        # Not what a response is made of otherwise: it is only for Flask to hand on.
        self.headers = Headers()
        self._on_close: list[Callable[[], object]] = []
        self._begin = begin
        self._wait_s = wait_s

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Later:
        def respond(outcome: Reply | Exception) -> Iterable[bytes]:
            made = problem(outcome) if isinstance(outcome, Exception) else replied(outcome)
            environ[SAID] = made.body
            body = _encoded(made)
            headers = {"Content-Type": made.content_type, "Content-Length": str(len(body)), **made.headers}
            start_response(_STATUS[made.status], [*headers.items(), *self.headers.items()])
            return (body,)

        return Later(self._begin, self._wait_s, respond)


_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def sent(response: Response) -> flask.Response:
    """Return a response as Flask sends it."""
    flask.request.environ[SAID] = response.body
    return _Sent(_encoded(response), response.status, {"Content-Type": response.content_type, **response.headers})


def replied(reply: Reply) -> Response:
    """Return the response for what was decided."""
    try:
        return replies.replied(reply)
    except Problem as refused:
        return refused.response()


def problem(error: Exception) -> Response:
    """Return the response for what was raised: whatever is not known to be definite is unknown."""
    match error:
        case Problem():
            return error.response()
        case Busy() | Conflict():
            return Problem(503, "busy", f"{error}; try again").response()
        case NotWritten():
            LOG.error("%s", told(error))
            return Problem(503, "not-written", f"{error}; try again later").response()
        case Damaged():
            LOG.error("%s", error)
            return Problem(500, "torn-read", "the ticket store held something that nobody wrote whole").response()
        case Unknown():
            LOG.error("%s", told(error))
            return Problem(500, "unknown-outcome", f"{error}: look whether it was done").response()
    LOG.error("unforeseen", exc_info=error)
    return Problem(500, "unknown-outcome", "something unforeseen happened: look whether it was done").response()


def raised(error: Exception) -> flask.Response:
    """Return what Flask sends for what a view raised."""
    return sent(problem(error))


def route_problem(error: HTTPException) -> flask.Response:
    """Return the response for what the web framework itself refuses."""
    place = f"{flask.request.method} {quote(flask.request.path)[:100]}"
    methods = sorted(getattr(error, "valid_methods", None) or ())
    match error.code:
        case HTTPStatus.NOT_FOUND:
            return raised(Problem(404, "not-found", f"there is no route {place}: expected one such as {_nearest()}"))
        case HTTPStatus.METHOD_NOT_ALLOWED:
            known = " or ".join(method for method in methods if method not in {"HEAD", "OPTIONS"})
            refused = raised(Problem(405, "method-not-allowed", f"{place} is not allowed: expected {known} there"))
            refused.headers["Allow"] = ", ".join(methods)
            return refused
    return raised(Problem(error.code or 500, "bad-request", error.description or error.name))


def _nearest() -> str:
    """Return the routes whose paths are most like the one that was asked for, with what may be asked there."""
    methods: dict[str, set[str]] = {}
    for rule in flask.current_app.url_map.iter_rules():
        methods.setdefault(rule.rule, set()).update(rule.methods or ())
    near = difflib.get_close_matches(flask.request.path[:100], methods, n=2) or ["/tickets", "/buy"]
    return " or ".join(
        f"{method} {path.translate(str.maketrans('<>', '{}'))}"
        for path in near
        for method in sorted(methods[path] - {"HEAD", "OPTIONS"})
    )


def _encoded(response: Response) -> bytes:
    return f"{ENCODER.encode(response.body)}\n".encode()
