"""What goes to Redis and what comes back, as JSON that Lua can read too: commands, orders, pages and replies. Pure.

Moments are texts: Lua's JSON keeps 14 digits of a number, and an order that ended a microsecond too early would be
another one. ``lua/keyspace.lua`` says where each of these stands.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.commands import Buy, Cancel, Confirm, Hold, Resize, Sweep, asked_for
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
    Sized,
    Sold,
    SoldOut,
    Swept,
)
from service.rules import Page, Used
from service.values import Event, Order, Resized

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.commands import Command
    from service.outcomes import Reply
    from service.values import Change

ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
ORDERS: dict[str, type[Sold | Held | Confirmed | Cancelled]] = {
    "sold": Sold,
    "held": Held,
    "confirmed": Confirmed,
    "cancelled": Cancelled,
}
"""Answers that are about an order."""
OTHERS: dict[str, tuple[Callable[..., Reply], tuple[str, ...]]] = {
    "sold-out": (SoldOut, ("quantity",)),
    "hold-expired": (HoldExpired, ("order",)),
    "order-cancelled": (OrderCancelled, ("order",)),
    "key-reused": (KeyReused, ()),
    "sized": (Sized, ()),
    "capacity-taken": (CapacityTaken, ("least",)),
    "swept": (Swept, ("ended",)),
}
"""Answers that are about an event, and what else they say."""
ANSWERS: dict[Any, str] = {
    **{kind: answer for answer, kind in ORDERS.items()},
    **{kind: answer for answer, (kind, _) in OTHERS.items()},
}
KINDS = {Buy: "buy", Hold: "hold", Confirm: "confirm", Cancel: "cancel", Resize: "resize", Sweep: "sweep"}


def asked(command: Command, now: float) -> bytes:
    """Return a command as the scripts read it; a hold ends by the clock of who asks."""
    values: dict[str, Any] = {"kind": KINDS[type(command)]}
    if command.order:
        values["order"] = command.order
    if isinstance(command, Buy | Hold):
        values["quantity"] = command.quantity
        values["partial"] = command.partial
        values["buyer"] = command.buyer
        if isinstance(command, Hold):
            values["expires_at"] = repr(now + command.ttl_s)
    elif isinstance(command, Resize):
        values["capacity"] = command.capacity
    if command.key is not None:
        values["key"] = command.key
        values["asked"] = asked_for(command)
    return encoded(values)


def encoded(value: object) -> bytes:
    """Return a value as JSON."""
    return ENCODER.encode(value).encode()


def reply_of(text: bytes | str, command: Command) -> Reply:
    """Return the reply that a script has noted for a command."""
    return _reply(json.loads(text), command.event, command.order)


def page_of(text: bytes, command: Command) -> Page:
    """Return the page of a command, as ``page.lua`` gives it. A list that is empty there comes as an object."""
    said = json.loads(text)
    if not said:
        return Page(None)
    name, order, used = command.event, said.get("order"), said.get("used")
    return Page(
        _event(said["event"], name),
        order and order_of(order, name),
        used and Used(command.key or "", used["asked"], reply_of(used["reply"], command), float(used["at"])),
        tuple(said["free"]),
        tuple(order_of(hold, name) for hold in said["holds"]),
        said["highest"],
    )


def change_of(text: bytes, name: str) -> Change:
    """Return a change of the event ``name``, as the list of its changes has it."""
    said = json.loads(text)
    if "capacity" in said:
        return Resized(name, said["capacity"], said["count"], said["version"], float(said["at"]))
    return order_of(said, name)


def order_of(said: dict[str, Any], name: str) -> Order:
    """Return an order of the event ``name``."""
    ends = said.get("expires_at")
    return Order(
        said["id"],
        name,
        said["status"],
        said["quantity"],
        tuple(said["tickets"]),
        said["count"],
        said["version"],
        float(said["at"]),
        said["buyer"],
        None if ends is None else float(ends),
    )


def changes(page: Page) -> bytes:
    """Return the changes of a page, as ``write.lua`` reads them."""
    return encoded([_change(each) for each in page.changes])


def used(page: Page) -> tuple[bytes, bytes]:
    """Return the idempotency key of a page and what it was used for; nothing, if there is none to be written."""
    if page.used is None:
        return b"", b""
    value = page.used
    return value.key.encode(), encoded(
        {"asked": value.asked, "at": repr(value.at), "reply": encoded(_note(value.reply)).decode()}
    )


def _change(change: Change) -> dict[str, Any]:
    if isinstance(change, Resized):
        return {"at": repr(change.at), "capacity": change.capacity, "count": change.count, "version": change.version}
    values = {
        "id": change.id,
        "status": change.status,
        "quantity": change.quantity,
        "tickets": change.tickets,
        "count": change.count,
        "version": change.version,
        "at": repr(change.at),
        "buyer": change.buyer,
    }
    return values if change.expires_at is None else values | {"expires_at": repr(change.expires_at)}


def _note(reply: Reply) -> dict[str, Any]:
    """Return a reply as a key keeps it: what ``decide.lua`` would have noted."""
    if isinstance(reply, Sold | Held | Confirmed | Cancelled):
        return {"answer": ANSWERS[type(reply)], "about": _change(reply.order)}
    if isinstance(reply, NoSuchEvent | NoSuchOrder):
        raise TypeError(f"no key keeps {reply}")
    answer = ANSWERS[type(reply)]
    more = OTHERS[answer][1]
    return {"answer": answer, **_counters(reply.event), **{name: getattr(reply, name) for name in more}}


def _counters(event: Event) -> dict[str, int]:
    return {"capacity": event.capacity, "count": event.count, "version": event.version}


def _reply(note: dict[str, Any], name: str, order: str) -> Reply:
    answer: str = note["answer"]
    if about := ORDERS.get(answer):
        return about(order_of(note["about"], name))
    if answer == "no-such-event":
        return NoSuchEvent(name)
    if answer == "no-such-order":
        return NoSuchOrder(order)
    kind, more = OTHERS[answer]
    return kind(_event(note, name), *[note[member] for member in more])


def _event(said: dict[str, Any], name: str) -> Event:
    return Event(name, said["capacity"], said["count"], said["version"])
