"""What buyers can ask: how much is left, to buy and to hold, and what becomes of an order. ``counter.py`` answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service import wire
from service.api.operation import (
    BODY,
    KEYED,
    NO_BODY,
    NO_EVENT,
    NO_ORDER,
    READ,
    WRITE,
    Operation,
    Parameter,
    Success,
    refusals,
)
from service.schema import EventBody, OrderBody, TicketsBody

TAGS = {
    "Tickets": "Look at what is left, and buy or hold some of it.",
    "Orders": "An order is shown to whoever knows its identifier.",
}

EVENT_BODY = {"event": "default", "capacity": 100, "count": 97, "version": 1}
ORDER_BODY = {
    "order": "e35e00df7f0b4d6c9f7f9d1f6a1f8b526d0f3a9c",
    "event": "default",
    "status": "sold",
    "quantity": 3,
    "tickets": [1, 2, 3],
    "count": 97,
    "version": 1,
}
HELD_BODY = ORDER_BODY | {"status": "held", "expires_at": 1798761600.0}
AFTER = {"find": "order", "confirm": "order", "cancel": "order"}
LOOKED = Success(200, "The event's counters.", EventBody, example=EVENT_BODY)
SOLD = Success(201, "The tickets are sold.", OrderBody, headers=("Location",), links=AFTER, example=ORDER_BODY)
HELD = Success(201, "The tickets are held.", OrderBody, headers=("Location",), links=AFTER, example=HELD_BODY)
ORDER = Success(200, "The order as it is now.", OrderBody, example=ORDER_BODY)
CANCELLED = Success(200, "The order, cancelled.", OrderBody, example=ORDER_BODY | {"status": "cancelled", "version": 2})
PLACING = (*BODY, *KEYED, *refusals(409, "sold-out"), *WRITE)

LAST = Parameter(
    "last",
    "query",
    Annotated[int, Field(ge=1, le=wire.CAPACITY_MAX + wire.MAP_TICKETS_MAX - 1)],
    f"the last ticket, of {wire.MAP_TICKETS_MAX} at most; as many, if it is not given",
)
ALL_OR_NOTHING = (
    "An order gets all that it asks for or nothing. With `partial`, it gets what is left when that is less."
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "look_default",
        "get",
        "/tickets",
        "Tickets",
        "How many are left of the event `default`",
        (LOOKED,),
        READ,
    ),
    Operation(
        "look", "get", "/events/{event}", "Tickets", "How many are left of an event", (LOOKED,), (*NO_EVENT, *READ)
    ),
    Operation(
        "tickets",
        "get",
        "/events/{event}/tickets",
        "Tickets",
        "Which tickets are sold, held and free",
        (Success(200, "Runs of tickets.", TicketsBody, example=EVENT_BODY | {"sold": [[1, 3]], "held": []}),),
        (*NO_EVENT, *READ),
        query=(wire.FIRST, LAST),
    ),
    Operation(
        "buy_default",
        "post",
        "/buy",
        "Tickets",
        "Buy tickets of the event `default`",
        (SOLD,),
        PLACING,
        ALL_OR_NOTHING,
        wire.BuyBody,
        {"quantity": 3},
        keyed=True,
    ),
    Operation(
        "buy",
        "post",
        "/events/{event}/buy",
        "Tickets",
        "Buy tickets of an event",
        (SOLD,),
        (*PLACING, *NO_EVENT),
        ALL_OR_NOTHING,
        wire.BuyBody,
        {"quantity": 3, "partial": True},
        keyed=True,
    ),
    Operation(
        "hold",
        "post",
        "/events/{event}/holds",
        "Tickets",
        "Hold tickets for a while",
        (HELD,),
        (*PLACING, *NO_EVENT),
        "When the time is over, they can be sold to others at once.",
        wire.HoldBody,
        {"quantity": 3, "ttl_s": 120},
        keyed=True,
    ),
    Operation("find", "get", "/orders/{order}", "Orders", "See an order", (ORDER,), (*NO_ORDER, *READ)),
    Operation(
        "confirm",
        "post",
        "/orders/{order}/confirm",
        "Orders",
        "Make a hold a purchase",
        (ORDER,),
        (*NO_BODY, *KEYED, *NO_ORDER, *refusals(409, "hold-expired", "order-cancelled"), *WRITE),
        "What is confirmed or bought already stays so, and is answered again with the `version` that made it so.",
        keyed=True,
    ),
    Operation(
        "cancel",
        "delete",
        "/orders/{order}",
        "Orders",
        "Give the tickets of an order back",
        (CANCELLED,),
        (*NO_BODY, *KEYED, *NO_ORDER, *refusals(409, "hold-expired"), *WRITE),
        "They can be sold again at once. What is cancelled already is answered again with its `version`. "
        "A hold that has ended gives nothing back.",
        keyed=True,
    ),
)
