"""One client: it buys what the plan says, when the plan says, and records every call.

``called`` is read before the first byte is sent, ``returned`` after the last byte came.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import requests

from loadtest import history, plan, transport
from loadtest.history import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.history import Kind
    from loadtest.plan import Plan, Purchase

GRACE_NS = 1_000_000_000
"""How long after its time an open loop still sends what was planned; the rest is recorded as not sent."""
REFUSED_MAX = 20
"""A client whose connection is refused so often in a row gives up: there is nobody there."""
REPLY_S = 60.0
"""Longest wait for a reply; past it the outcome is unknown."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where to send, and what to send there.

    ``noop`` asks the service for an answer that neither locks nor stores. ``events`` are bought from in turn (none: the
    plan's one event). Where there are ``finds``, these orders are asked for in turn, and nothing is bought.
    """

    url: str
    plan: Plan
    noop: bool = False
    events: Sequence[str] = ()
    finds: Sequence[str] = ()

    @property
    def kind(self) -> Kind:
        """Return what its clients do."""
        return "noop" if self.noop else "find" if self.finds else "buy"

    def request(self, client: int, number: int, order: Purchase) -> requests.Request:
        """Return the request for the purchase of this number of a client, or for what is asked in its stead."""
        turn = client + number * self.plan.clients
        if self.finds:
            return requests.Request("GET", f"{self.url}/orders/{self.finds[turn % len(self.finds)]}")
        event = self.events[turn % len(self.events)] if self.events else self.plan.event
        path = "noop" if self.noop else f"events/{event}/buy"
        body = json.dumps({"quantity": order.quantity, "partial": order.partial, "buyer": order.name})
        return requests.Request("POST", f"{self.url}/{path}", data=body, headers={"Content-Type": "application/json"})


def be_client(
    scene: Scene, client: int, start: int, record: Callable[[Operation], None], stopped: Callable[[], bool]
) -> None:
    """Carry out what falls to ``client``; ``start`` is the common first moment."""
    end = start + int(scene.plan.seconds * 1e9)
    planned = start
    _sleep_until(start)
    session = transport.session()
    if scene.plan.look_first and not scene.noop:
        event_url = f"{scene.url}/events/{scene.plan.event}"
        seen = look(session, event_url, Operation("look", f"client {client} look", client, start, 0, 0, "unknown"))
        record(seen)
        planned = seen.returned
    refused = 0
    for sent, order in enumerate(plan.purchases(scene.plan, client)):
        if order.planned is not None:
            planned = start + order.planned
            _sleep_until(planned)
            if time.monotonic_ns() > end + GRACE_NS:
                record(_unsent(scene, client, order, planned))
                continue
        if stopped() or refused >= REFUSED_MAX or (not scene.plan.orders and planned >= end):
            break
        if sent and sent % scene.plan.orders_per_connection == 0:
            session.close()
            session = transport.session()
        bought = _call(session, scene.request(client, sent, order), _row(scene, client, order, planned))
        record(bought)
        refused = refused + 1 if bought.problem == transport.NeverSent.__name__ else 0
        planned = bought.returned
    session.close()


def look(session: requests.Session, event_url: str, row: Operation) -> Operation:
    """Ask for an event's count, and return ``row`` with what came of it."""
    return _call(session, requests.Request("GET", event_url), row)


def _row(scene: Scene, client: int, order: Purchase, planned: int) -> Operation:
    """Return the record of a purchase that has not been made yet."""
    return Operation(
        scene.kind,
        order.name,
        client,
        planned,
        0,
        0,
        "unknown",
        quantity=order.quantity,
        partial=order.partial,
    )


def _unsent(scene: Scene, client: int, order: Purchase, planned: int) -> Operation:
    now = time.monotonic_ns()
    row = _row(scene, client, order, planned)
    return replace(row, called=now, returned=now, outcome="not done", problem=history.NOT_SENT)


def _call(session: requests.Session, request: requests.Request, row: Operation) -> Operation:
    """Make one call and return ``row`` with its times and its outcome."""
    prepared = request.prepare()
    called = time.monotonic_ns()
    try:
        reply = session.send(prepared, timeout=REPLY_S, allow_redirects=False)
        returned = time.monotonic_ns()
        values = reply.json()
    except requests.RequestException as error:
        never = isinstance(error, transport.NeverSent)
        return replace(
            row,
            called=called,
            returned=time.monotonic_ns(),
            outcome="not done" if never else "unknown",
            problem=type(error).__name__,
        )
    return replace(
        row,
        called=called,
        returned=returned,
        outcome=history.outcome(reply.status_code),
        status=reply.status_code,
        worker=reply.headers.get("Turnstile-Worker", ""),
        **_stated(values) | (_OF_THEN if row.kind == "find" else {}),
    )


_OF_THEN: dict[str, Any] = {"version": None, "count": None}
"""What an order that is found says of its event was so when it was sold: no observation of now."""


def _stated(values: object) -> dict[str, Any]:
    """Return what a reply states; what is not of its kind is not stated."""
    said = values if isinstance(values, dict) else {}
    tickets = said.get("tickets")
    whole = isinstance(tickets, list) and all(type(ticket) is int for ticket in tickets)
    return {
        "version": said.get("version") if type(said.get("version")) is int else None,
        "count": said.get("count") if type(said.get("count")) is int else None,
        "tickets": tuple(tickets) if whole and tickets else (),
        "order": str(said.get("order") or ""),
        "problem": str(said.get("type") or "").rpartition(":")[2],
    }


def _sleep_until(moment: int) -> None:
    if (wait := moment - time.monotonic_ns()) > 0:
        time.sleep(wait / 1e9)
