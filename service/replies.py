"""Replies: what was decided or seen -> status, headers and JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.outcomes import (
    Cancelled,
    CapacityTaken,
    Confirmed,
    Held,
    HoldExpired,
    KeyReused,
    NoSuchEvent,
    NoSuchOrder,
    OrderCancelled,
    Reply,
    Sized,
    Sold,
    SoldOut,
    Swept,
)
from service.problems import Problem, Response, no_such_event, no_such_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.mode import Claim
    from service.schema import EventBody, EventsBody, ModeBody, OrderBody, SweptBody, TicketsBody
    from service.values import Event, Order, TicketMap


def replied(reply: Reply) -> Response:  # noqa: C901  # a line for each reply there is
    """Return the response for what ``decide`` answered. Raises ``Problem`` for a refusal."""
    match reply:
        case Sold(order) | Held(order):
            return Response(201, order_body(order), {"Location": f"/orders/{order.id}"})
        case Confirmed(order) | Cancelled(order):
            return Response(200, order_body(order))
        case Sized(event):
            return Response(200, event_body(event))
        case Swept(event, ended):
            swept: SweptBody = {**event_body(event), "ended": ended}
            return Response(200, swept)
        case SoldOut(event, quantity):
            asked = f"{quantity} ticket was asked for" if quantity == 1 else f"{quantity} tickets were asked for"
            left = f"{event.count or 'no more'} {'is' if event.count == 1 else 'are'} left"
            raise Problem(409, "sold-out", f"{asked}, and {left}", **event_body(event))
        case HoldExpired(event, order_id):
            detail = f"the hold {order_id} has ended: its tickets can be sold again"
            raise Problem(409, "hold-expired", detail, **event_body(event))
        case OrderCancelled(event, order_id):
            raise Problem(409, "order-cancelled", f"the order {order_id} was cancelled", **event_body(event))
        case CapacityTaken(event, least):
            detail = f"tickets up to number {least} are sold or held: expected a capacity of {least} or more"
            raise Problem(409, "capacity-taken", detail, **event_body(event))
        case KeyReused(event):
            detail = "the Idempotency-Key was used for another request: expected a new one, or the same request again"
            raise Problem(422, "key-reused", detail, **event_body(event))
        case NoSuchEvent(name):
            raise no_such_event(name)
        case NoSuchOrder(order_id):
            raise no_such_order(order_id)


def event_body(event: Event) -> EventBody:
    """Return an event as clients see it."""
    return {"event": event.name, "capacity": event.capacity, "count": event.count, "version": event.version}


def order_body(order: Order) -> OrderBody:
    """Return an order as clients see it."""
    body: OrderBody = {
        "order": order.id,
        "event": order.event,
        "status": order.status,
        "quantity": order.quantity,
        "tickets": order.tickets,
        "count": order.count,
        "version": order.version,
    }
    if order.buyer is not None:
        body["buyer"] = order.buyer
    if order.status == "held" and order.expires_at is not None:
        body["expires_at"] = order.expires_at
    return body


def looked(seen: Event | NoSuchEvent) -> Response:
    """Return the response to a look at an event. Raises ``Problem``."""
    if isinstance(seen, NoSuchEvent):
        raise no_such_event(seen.event)
    return Response(200, event_body(seen))


def found(order: Order | NoSuchOrder) -> Response:
    """Return the response to a question for an order. Raises ``Problem``."""
    if isinstance(order, NoSuchOrder):
        raise no_such_order(order.order)
    return Response(200, order_body(order))


def claimed(name: str, claim: Claim, workers: int, threads: int) -> Response:
    """Return the response that says what a mode claims, and how it is served."""
    body: ModeBody = {
        "mode": name,
        "claim": {
            "reach": claim.reach,
            "survives": claim.survives,
            "waits": claim.waits,
            "fair": claim.fair,
            "price": claim.price,
        },
        "workers": workers,
        "threads": threads,
    }
    return Response(200, body)


def listed(events: Sequence[Event], following: str | None) -> Response:
    """Return the response to a question for events; ``following`` is what to ask for after, when there may be more."""
    body: EventsBody = {"events": tuple(event_body(event) for event in events), "next": following}
    return Response(200, body)


def mapped(seen: TicketMap | NoSuchEvent) -> Response:
    """Return the response to a question for the tickets of an event. Raises ``Problem``."""
    if isinstance(seen, NoSuchEvent):
        raise no_such_event(seen.event)
    body: TicketsBody = {**event_body(seen.event), "sold": seen.sold, "held": seen.held}
    return Response(200, body)
