"""What is noted of each reply: it is counted, and has a line in the log. gunicorn hands it to its logger."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

from service import watch
from service.answers import ASKED, ROUTE, SAID
from service.logs import ORDER_SHOWN, Log
from service.problems import TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gunicorn.config import Config
    from gunicorn.http.message import Request
    from gunicorn.http.wsgi import Response

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""All others are counted as one: a client may say what it likes."""
OTHER = "other"
REQUEST = "turnstile.request"
"""The key in a WSGI environment under which the identifier of the request is."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a client may call its request. Anything else is as good as nothing."""


class Access(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger, told of each reply when it has been made."""

    def setup(self, cfg: Config) -> None:
        """Write in the form of all other lines."""
        self.cfg = cfg
        self.error_log.handlers[:] = [Log.handler]
        self.error_log.setLevel(max(Log.level, logging.INFO))

    def access(self, resp: Response, req: Request, environ: Mapping[str, Any], _took: object) -> None:
        """Count a reply, and write a line of it."""
        took_s = time.monotonic() - req.arrived
        method = req.method if req.method in METHODS else OTHER
        route, status, said = _route(environ), resp.status_code or 0, environ.get(SAID, {})
        outcome = _outcome(said)
        watch.here.answered(route, method, status, outcome, took_s)
        if Log.level <= logging.INFO:
            fields = {"request": environ.get(REQUEST, ""), "method": method, "route": route, "status": status}
            fields |= {"ms": round(took_s * 1e3, 3), "outcome": outcome}
            fields |= {name: said[name] for name in ("event", "version") if name in said}
            if order := said.get("order", environ.get(ASKED)):
                fields["order"] = str(order)[:ORDER_SHOWN]
            Log.handler.line("info", "request", fields)


def request_id(environ: Mapping[str, Any]) -> str:
    """Return what the client calls its request, or a name for it."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


_ROUTES: dict[str, str] = {}
"""How the API's document writes each route. There are as many as there are routes."""


def _route(environ: Mapping[str, Any]) -> str:
    """Return the route that was found for a request, never the path that was asked for: there is no end of those."""
    rule = environ.get(ROUTE, OTHER)
    return _ROUTES.get(rule) or _ROUTES.setdefault(rule, rule.translate(str.maketrans("<>", "{}")))


def _outcome(said: Mapping[str, object]) -> str:
    kind = said.get("type")
    return kind.removeprefix(TYPE) if isinstance(kind, str) else "done"
