"""The lines of a journal: what is written for a page, and what a line says. Pure.

Each line begins with its version, then the order it is about and the idempotency key that it answers for, if there are
any, so that an index finds them without reading the rest:

- a change has the next version, and the ``status`` that its order has from now on;
- ``noted`` has the version there is: an answer without a change, kept for its idempotency key;
- ``carried`` has the version that its journal begins with: a hold that was there already.

A line that is not the first of its write says with ``behind`` how many bytes of the write stand before it. After a
power loss a write may be there in pieces, and only so can it be told from lines that were damaged later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.outcomes import (
    Cancelled,
    CapacityTaken,
    Confirmed,
    Held,
    HoldExpired,
    OrderCancelled,
    Sized,
    Sold,
    SoldOut,
)
from service.rules import Used
from service.stores.sealed import seal
from service.values import Event, Order, Resized

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.outcomes import Reply
    from service.rules import Page
    from service.values import Change

ANSWERS: dict[type[Reply], str] = {
    Sold: "sold",
    Held: "held",
    Confirmed: "confirmed",
    Cancelled: "cancelled",
    SoldOut: "sold-out",
    HoldExpired: "hold-expired",
    OrderCancelled: "order-cancelled",
    Sized: "sized",
    CapacityTaken: "capacity-taken",
}
CARRIED = "carried"
"""What ``status`` says on a line that carries a hold into its journal."""
REPLIES = {name: kind for kind, name in ANSWERS.items()}


def lines_of_all(pages: Iterable[Page]) -> bytes:
    """Return the lines that record what is new on pages that are written together."""
    lines = bytearray()
    for page in pages:
        lines += lines_of(page, behind=len(lines))
    return bytes(lines)


def lines_of(page: Page, fence: int | None = None, behind: int = 0) -> bytes:
    """Return the lines that record what is new on a page, with the ``fence`` of who writes them if there is one.

    ``behind`` is how many bytes of the same write stand before them.
    """
    *before, last = page.changes or (None,)
    lines, used = b"", page.used
    for each in before:
        if each:
            lines += _change(each, {}, _stands(fence, behind + len(lines)))
    if last:
        answers = used is not None and _order_of(used.reply) is last
        lines += _change(last, _key(used) if used and answers else {}, _stands(fence, behind + len(lines)))
        used = None if answers else used
    if used and page.event:
        lines += _noted(page.event, used, _stands(fence, behind + len(lines)))
    if not lines:
        raise ValueError("only a page with a change on it can be written")
    return lines


def carried(hold: Order, version: int) -> bytes:
    """Return the line that carries a hold into a journal that begins with ``version``."""
    return seal({"version": version, "order": hold.id, "event": hold.event, "status": CARRIED, "hold": _whole(hold)})


def change_of(line: dict[str, Any]) -> Change:
    """Return the change on a line."""
    if line["status"] == "resized":
        return Resized(line["event"], line["capacity"], line["count"], line["version"], line["at"])
    return order_of(line)


def order_of(line: dict[str, Any]) -> Order:
    """Return the order as the change on a line left it."""
    return _order(line["hold"] if line["status"] == CARRIED else line | {"id": line["order"]})


def used_of(line: dict[str, Any]) -> Used:
    """Return what the idempotency key on a line was used for."""
    return Used(line["key"], line["asked"], _reply(line), line["at"])


def _change(change: Change, key: dict[str, Any], stands: dict[str, Any]) -> bytes:
    about = {"order": change.id} if isinstance(change, Order) else {}
    values = _values(change) if isinstance(change, Order) else _resized(change)
    return seal({"version": change.version, **about, **key, **stands, **values})


def _noted(event: Event, used: Used, stands: dict[str, Any]) -> bytes:
    reply = used.reply
    values: dict[str, Any] = {"event": event.name, "status": "noted", "capacity": event.capacity, "count": event.count}
    if (order := _order_of(reply)) is not None:
        values["about"] = _whole(order)
    elif isinstance(reply, SoldOut):
        values["quantity"] = reply.quantity
    elif isinstance(reply, HoldExpired | OrderCancelled):
        values["about"] = reply.order
    elif isinstance(reply, CapacityTaken):
        values["least"] = reply.least
    return seal({"version": event.version, **_key(used), **stands, **values, "at": used.at})


def _key(used: Used) -> dict[str, Any]:
    return {"key": used.key, "asked": used.asked, "answer": ANSWERS[type(used.reply)]}


def _stands(fence: int | None, behind: int) -> dict[str, Any]:
    written = {} if fence is None else {"fence": fence}
    return written | {"behind": behind} if behind else written


def _values(order: Order) -> dict[str, Any]:
    values: dict[str, Any] = {
        "event": order.event,
        "status": order.status,
        "quantity": order.quantity,
        "tickets": order.tickets,
        "count": order.count,
        "at": order.at,
        "buyer": order.buyer,
    }
    return values if order.expires_at is None else values | {"expires_at": order.expires_at}


def _whole(order: Order) -> dict[str, Any]:
    return {"id": order.id, "version": order.version, **_values(order)}


def _resized(change: Resized) -> dict[str, Any]:
    return {
        "event": change.event,
        "status": "resized",
        "capacity": change.capacity,
        "count": change.count,
        "at": change.at,
    }


def _order(values: dict[str, Any]) -> Order:
    return Order(
        id=values["id"],
        event=values["event"],
        status=values["status"],
        quantity=values["quantity"],
        tickets=tuple(values["tickets"]),
        count=values["count"],
        version=values["version"],
        at=values["at"],
        buyer=values["buyer"],
        expires_at=values.get("expires_at"),
    )


def _order_of(reply: Reply) -> Order | None:
    return reply.order if isinstance(reply, Sold | Held | Confirmed | Cancelled) else None


def _reply(line: dict[str, Any]) -> Reply:
    kind = REPLIES[line["answer"]]
    if issubclass(kind, Sold | Held | Confirmed | Cancelled):
        return kind(_order(line["about"] if line["status"] == "noted" else line | {"id": line["order"]}))
    event = Event(line["event"], line["capacity"], line["count"], line["version"])
    if issubclass(kind, SoldOut):
        return kind(event, line["quantity"])
    if issubclass(kind, HoldExpired | OrderCancelled):
        return kind(event, line["about"])
    if issubclass(kind, CapacityTaken):
        return kind(event, line["least"])
    return Sized(event)
