"""The back office: what an operator asks for, and the sweeper."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import flask

from service import replies, wire
from service.answers import sent
from service.commands import Resize, Sweep
from service.counter import DEFAULT_EVENT, body_of, query
from service.outcomes import NoSuchEvent
from service.problems import Problem, Response, no_such_event
from service.readiness import Readiness
from service.values import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.counter import Run
    from service.mode import Mode
    from service.settings import Settings


METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def uncounted() -> bytes:
    """Be what there is to read where nobody counts. Raises ``Problem``."""
    raise Problem(404, "not-found", "nothing is counted here: start the service with TURNSTILE_METRICS=true")


def add_metrics(app: flask.Flask, exposed: Callable[[], bytes]) -> None:
    """Add the route for Prometheus."""

    @app.get("/metrics")
    def metrics() -> flask.Response:
        return flask.Response(exposed(), content_type=METRICS_TYPE)


def add_office(app: flask.Flask, mode: Mode, settings: Settings, run: Run, sweep_token: str) -> None:
    """Add the routes by which the service is run. ``sweep_token`` is what the sweeper shows."""

    @app.get("/mode")
    def claim() -> flask.Response:
        return sent(replies.claimed(mode.name, mode.claim, settings.workers, settings.threads))

    @app.get("/healthz")
    def healthz() -> flask.Response:
        return sent(Response(HTTPStatus.OK, {"status": "alive"}))

    readiness = Readiness(mode, DEFAULT_EVENT, disk_of(settings), settings.disk_floor_bytes, engine=bool(settings.url))

    @app.get("/readyz")
    def readyz() -> flask.Response:
        return sent(Response(HTTPStatus.OK, {"status": "ready", "checks": readiness.checks()}))

    @app.get("/events/<event>/journal")
    def journal(event: str) -> flask.Response:
        _require_token(settings.admin_token)
        after = wire.AFTER.of(query())
        lines = mode.store.changes(event, after)
        if isinstance(lines, NoSuchEvent):
            raise no_such_event(event)
        return flask.Response(lines, mimetype="application/jsonl")

    @app.post("/events/<event>/sweep")
    def sweep(event: str) -> flask.Response:
        _require_token(settings.admin_token, sweep_token)
        return run(Sweep(event))


def disk_of(settings: Settings) -> Path | None:
    """Return the directory where tickets are kept; ``None`` where another program looks after them."""
    if not settings.url:
        return settings.data
    kind, _, path = settings.url.partition(":///")
    return Path(path).parent if kind == "sqlite" else None


def add_events(app: flask.Flask, mode: Mode, settings: Settings, run: Run) -> None:
    """Add the routes by which events are listed, made and changed."""

    @app.get("/events")
    def events() -> flask.Response:
        limit = wire.LIMIT.of(query())
        names = mode.store.names(wire.said(query(), "after", ""), limit)
        seen = [event for name in names if isinstance(event := mode.store.look(name), Event)]
        # One that was named and is not made yet, or no more, is left out: it ends no list.
        return sent(replies.listed(seen, names[-1] if len(names) == limit else None))

    @app.put("/events/<event>")
    def put(event: str) -> flask.Response:
        _require_token(settings.admin_token)
        name, asked = wire.event_name(event), body_of(wire.CapacityBody)
        if mode.store.create(name, asked.capacity):
            body = replies.event_body(Event(name, asked.capacity, asked.capacity))
            return sent(Response(HTTPStatus.CREATED, body, {"Location": f"/events/{name}"}))
        return run(Resize(name, asked.capacity))


def _require_token(*tokens: str) -> None:
    """Raise ``Problem`` unless one of ``tokens`` is shown. An empty one is none, and nobody can show it."""
    accepted = [f"Bearer {token}".encode() for token in tokens if token]
    if not accepted:
        raise Problem(
            403,
            "forbidden",
            "no admin token is set: start the service with TURNSTILE_ADMIN_TOKEN, or TURNSTILE_ADMIN_TOKEN_FILE",
        )
    shown = flask.request.headers.get("Authorization", "").encode()
    matches = [hmac.compare_digest(shown, each) for each in accepted]  # each of them: the time tells not which it is
    if not any(matches):
        raise Problem(401, "not-signed-in", "expected the header Authorization: Bearer and the admin token")
