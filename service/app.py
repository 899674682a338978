"""The web service, put together. It knows what a mode is, but not any mode."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import flask
from werkzeug.exceptions import HTTPException

from service import wire
from service.answers import ROUTE, raised, route_problem, sent
from service.api import buying, running
from service.counter import DEFAULT_EVENT, add_counter, purchase, query, runner
from service.office import add_events, add_metrics, add_office, uncounted
from service.pages import add_pages
from service.problems import Response
from service.reference import add_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.mode import Mode
    from service.settings import Settings


def create_app(
    mode: Mode, settings: Settings, sweep_token: str = "", exposed: Callable[[], bytes] = uncounted
) -> flask.Flask:
    """Return the application that sells through ``mode``, and tells what was counted as ``exposed`` returns it.

    ``mode.open()`` must have run before the first request.
    """
    app = flask.Flask("turnstile", static_folder=None)
    app.url_map.redirect_defaults = False  # else /events/default/buy answers 308, and every order costs two calls
    app.url_map.merge_slashes = False  # else //buy answers 308 with a page of HTML, and not that there is no such route
    run = runner(mode, settings)
    add_counter(app, mode, run)
    add_events(app, mode, settings, run)
    add_office(app, mode, settings, run, sweep_token)
    add_metrics(app, exposed)
    add_pages(app)
    add_reference(app, harness=settings.harness)
    _know_routes(app)
    if settings.harness:
        _add_harness(app)
    app.register_error_handler(HTTPException, route_problem)
    app.register_error_handler(Exception, raised)
    return app


def _know_routes(app: flask.Flask) -> None:
    """Say which route was found, and refuse what a query says that nobody reads there.

    Links to the pages may have anything: people pass them on.
    """
    rows = buying.OPERATIONS + running.OPERATIONS
    known = {row.path.translate(str.maketrans("{}", "<>")): row.query for row in rows if row.tag != "Pages"}

    @app.before_request
    def check() -> None:
        asked = flask.request
        rule = asked.url_rule
        if rule is None:
            return
        asked.environ[ROUTE] = rule.rule
        if asked.query_string and rule.rule in known:
            wire.only(query(), [each.name for each in known[rule.rule]])


def _add_harness(app: flask.Flask) -> None:
    """What a load test asks for: which worker answered where, and an answer that neither locks nor stores."""
    host = socket.gethostname()  # in a container, its identifier: there, processes have the same numbers

    @app.after_request
    def name_worker(response: flask.Response) -> flask.Response:
        response.headers["Turnstile-Worker"] = str(os.getpid())
        response.headers["Turnstile-Host"] = host
        return response

    @app.post("/noop")
    def noop() -> flask.Response:
        command = purchase(DEFAULT_EVENT)
        return sent(Response(200, {"order": command.order, "quantity": command.quantity}))
