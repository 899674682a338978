"""The counter: what buyers ask for, in routes of a few lines each."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import flask

from service import replies, wire
from service.answers import ASKED, Awaited, replied, sent
from service.commands import Buy, Cancel, Command, Confirm, Hold
from service.later import LATER
from service.mode import begin_of
from service.outcomes import NoSuchOrder
from service.problems import cut_off, no_such_order, too_large
from service.values import order_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.mode import Mode
    from service.settings import Settings

    Run = Callable[[Command], flask.Response]

DEFAULT_EVENT = "default"
ORDER_BYTES = 16
"""How much chance an order's identifier has in it: who knows one may see and cancel the order."""
B = TypeVar("B", bound=wire.Body)


def runner(mode: Mode, settings: Settings) -> Run:
    """Return how a command is carried out and answered: in this thread, or later if mode and server can do so."""
    begin = begin_of(mode)

    def run(command: Command) -> flask.Response:
        flask.request.environ[ASKED] = command.order
        if begin and LATER in flask.request.environ and not settings.tracing:  # a span ends with its thread
            return Awaited(partial(begin, command), settings.wait_s)
        return sent(replied(mode.execute(command)))

    return run


def add_counter(app: flask.Flask, mode: Mode, run: Run) -> None:
    """Add the routes for who wants tickets."""

    @app.post("/buy", defaults={"event": DEFAULT_EVENT})
    @app.post("/events/<event>/buy")
    def buy(event: str) -> flask.Response:
        return run(purchase(event))

    @app.post("/events/<event>/holds")
    def hold(event: str) -> flask.Response:
        asked = body_of(wire.HoldBody)
        order = _new_order(event)
        return run(Hold(order, event, asked.quantity, asked.ttl_s, asked.partial, asked.buyer, _key(event)))

    @app.post("/orders/<order>/confirm")
    def confirm(order: str) -> flask.Response:
        body_of(wire.NoBody)
        event = _event_of(order)
        return run(Confirm(order, event, _key(event)))

    @app.delete("/orders/<order>")
    def cancel(order: str) -> flask.Response:
        body_of(wire.NoBody)
        event = _event_of(order)
        return run(Cancel(order, event, _key(event)))

    @app.get("/orders/<order>")
    def find(order: str) -> flask.Response:
        return sent(replies.found(mode.store.find(order)))

    @app.get("/tickets", defaults={"event": DEFAULT_EVENT})
    @app.get("/events/<event>")
    def look(event: str) -> flask.Response:
        return sent(replies.looked(mode.store.look(event)))

    @app.get("/events/<event>/tickets")
    def tickets(event: str) -> flask.Response:
        first, last = wire.ticket_range(query())
        return sent(replies.mapped(mode.store.tickets(event, first, last)))

    def _event_of(order: str) -> str:
        found = mode.store.find(order)
        if isinstance(found, NoSuchOrder):
            raise no_such_order(order)
        return found.event


def purchase(event: str) -> Buy:
    """Return the purchase that is asked for. Raises ``Problem``."""
    asked = body_of(wire.BuyBody)
    return Buy(_new_order(event), event, asked.quantity, asked.partial, asked.buyer, _key(event))


def body_of(model: type[B]) -> B:
    """Return the body of the request. Raises ``Problem``."""
    return wire.body_of(model, flask.request.headers.get("Content-Type", ""), _read())


def query() -> wire.Query:
    """Return all that the query says of each name."""
    return flask.request.args.to_dict(flat=False)


def _new_order(event: str) -> str:
    return order_id(event, secrets.token_hex(ORDER_BYTES))


def _key(event: str) -> str | None:
    return wire.key(event, flask.request.headers.get("Idempotency-Key"))


def _read() -> bytes:
    """Return the request's body, of which no more is read than is needed to refuse it."""
    announced = flask.request.content_length
    if (announced or 0) > wire.BODY_BYTES_MAX:
        raise too_large(wire.BODY_BYTES_MAX)
    try:
        body = flask.request.stream.read(wire.BODY_BYTES_MAX + 1)
    except Exception as error:  # whatever it is called there: nothing was decided yet, so nothing was done
        raise cut_off("it is not well-formed") from error
    if announced is not None and len(body) < announced:
        raise cut_off(f"it has {len(body)} bytes, and {announced} were announced")
    return body
