"""One client: it buys what the plan says, when the plan says, and records every call.

``called`` is read before the first byte is sent, ``returned`` after the last byte came.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import requests

from loadtest import history, plan, transport
from loadtest.history import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.plan import Plan, Purchase

REPLY_S = 60.0
"""Longest wait for a reply; past it the outcome is unknown."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where to send, and what to send there. ``noop`` asks the service for an answer that neither locks nor stores."""

    url: str
    plan: Plan
    noop: bool = False


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
    for sent, order in enumerate(plan.purchases(scene.plan, client)):
        if order.planned is not None:
            planned = start + order.planned
            _sleep_until(planned)
        if stopped() or (not scene.plan.orders and planned >= end):
            break
        if sent and sent % scene.plan.orders_per_connection == 0:
            session.close()
            session = transport.session()
        bought = _buy(session, scene, client, order, planned)
        record(bought)
        planned = bought.returned
    session.close()


def look(session: requests.Session, event_url: str, row: Operation) -> Operation:
    """Ask for an event's count, and return ``row`` with what came of it."""
    return _call(session, requests.Request("GET", event_url), row)


def _buy(session: requests.Session, scene: Scene, client: int, order: Purchase, planned: int) -> Operation:
    row = Operation(
        kind="noop" if scene.noop else "buy",
        name=order.name,
        client=client,
        planned=planned,
        called=0,
        returned=0,
        outcome="unknown",
        quantity=order.quantity,
        partial=order.partial,
    )
    body = {"quantity": order.quantity, "partial": order.partial, "buyer": order.name}
    path = "noop" if scene.noop else f"events/{scene.plan.event}/buy"
    request = requests.Request(
        "POST", f"{scene.url}/{path}", data=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    return _call(session, request, row)


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
    values = values if isinstance(values, dict) else {}
    return replace(
        row,
        called=called,
        returned=returned,
        outcome=history.outcome(reply.status_code),
        status=reply.status_code,
        version=values.get("version"),
        count=values.get("count"),
        tickets=tuple(values.get("tickets", ())),
        order=values.get("order", ""),
        worker=reply.headers.get("Turnstile-Worker", ""),
        problem=values.get("type", "").rpartition(":")[2],
    )


def _sleep_until(moment: int) -> None:
    if (wait := moment - time.monotonic_ns()) > 0:
        time.sleep(wait / 1e9)
