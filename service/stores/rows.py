"""What a page's changes are as rows, and what rows are as values: what all SQL engines share. Pure.

A row of a change has the members of its line in the journal (``lines.py``) but for the name of its event; so a row can
be read as a line is, and the line of a row is what the file store would have written. An order as it stands is its last
change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from service.mode import NotWritten
from service.outcomes import Cancelled, Confirmed, Held, Sold
from service.rules import Page, Used
from service.stores.lines import ANSWERS, change_of, lines_of, used_of
from service.values import Event, Order, Resized

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from service.values import Change

    Row = dict[str, Any]

COLUMNS = (
    *("version", "order", "status", "quantity", "tickets", "capacity", "count", "at", "buyer", "expires_at"),
    *("key", "asked", "answer"),
)


@dataclass(frozen=True, slots=True)
class Note:
    """An answer without a change, kept for its idempotency key: ``line`` is the journal's line for it."""

    key: str
    version: int
    at: float
    line: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What pages of one event that follow each other do to its tables, all together.

    ``seen`` is the version that they were decided on, ``event`` how the event stands after them. ``freed`` and ``sold``
    are tickets with their orders: as it was before, and as it is then. ``back`` are tickets that are free then,
    ``held`` orders that are holds then, and ``ended`` those that were holds before.
    """

    event: Event
    seen: int
    rows: tuple[Row, ...]
    freed: tuple[tuple[int, str], ...]
    sold: tuple[tuple[int, str], ...]
    back: tuple[int, ...]
    held: tuple[str, ...]
    ended: tuple[str, ...]
    notes: tuple[Note, ...]


def effect(pages: Sequence[Page]) -> Effect:
    """Return what ``pages`` do. At most the last resizes the event.

    Raises ``NotWritten`` if one of them takes what another has: the tables are told only what comes of all of them.
    """
    event = pages[-1].event
    assert event is not None  # noqa: S101  # a page without an event has nothing to write
    changes = [change for page in pages for change in page.changes]
    orders = [change for change in changes if isinstance(change, Order)]
    before: dict[int, str | None] = {}
    after: dict[int, str | None] = {}
    held: dict[str, bool] = {}
    ended: dict[str, None] = {}
    for order in orders:
        taken = places(order)
        if not taken and held.pop(order.id, None) is None and order.expires_at is not None:
            ended[order.id] = None
        if taken and order.status == "held":
            held[order.id] = True
        if taken or order.status != "sold":
            for ticket in order.tickets:
                if after.get(ticket, None if taken else order.id) != (None if taken else order.id):
                    why = f"order {order.id}"  # it may be another's hold that has ended
                    raise NotWritten(f"ticket {ticket} is not for its order to have or give, so nothing was done", why)
                before.setdefault(ticket, None if taken else order.id)
                after[ticket] = order.id if taken else None
    # A ticket that was sold and came back leaves no trace here but as free, for it may not have been given out before.
    changed = [
        (ticket, owner, after[ticket]) for ticket, owner in before.items() if owner != after[ticket] or not owner
    ]
    return Effect(
        event,
        event.version - len(changes),
        tuple(row for page in pages for row in _rows(page)),
        tuple((ticket, owner) for ticket, owner, _ in changed if owner),
        tuple((ticket, owner) for ticket, _, owner in changed if owner),
        tuple(ticket for ticket, _, owner in changed if not owner),
        tuple(held),
        tuple(ended),
        tuple(note for page in pages for note in _notes(page)),
    )


def places(order: Order) -> bool:
    """Tell whether a change gave an order its tickets: one that is sold and has an end was a hold before."""
    return order.status == "held" or (order.status == "sold" and order.expires_at is None)


def change_in(event: str, row: Row) -> Change:
    """Return the change that a row is."""
    return change_of(row | {"event": event})


def order_in(event: str, row: Row) -> Order:
    """Return the order that a row, its last change, leaves."""
    order = change_in(event, row)
    assert isinstance(order, Order)  # noqa: S101  # only these are found by an order's identifier
    return order


def used_in(event: str, row: Row) -> Used:
    """Return what the idempotency key of a change was used for."""
    return used_of(row | {"event": event})


def line_in(event: str, row: Row) -> bytes:
    """Return the line of the journal for a change."""
    change = change_in(event, row)
    used = used_in(event, row) if row["key"] else None
    if used and isinstance(used.reply, Sold | Held | Confirmed | Cancelled) and isinstance(change, Order):
        used = replace(used, reply=type(used.reply)(change))  # the very same: so it stands on one line
    return lines_of(Page(Event(event, 0, change.count, change.version), used=used, changes=(change,)))


def _rows(page: Page) -> Iterable[Row]:
    for change in page.changes:
        row = _resized(change) if isinstance(change, Resized) else _order(change)
        yield row | (_key(page.used) if _is_of(page.used, change) else {})


def _order(order: Order) -> Row:
    return {
        "version": order.version,
        "order": order.id,
        "status": order.status,
        "quantity": order.quantity,
        "tickets": order.tickets,
        "count": order.count,
        "at": order.at,
        "buyer": order.buyer,
        "expires_at": order.expires_at,
    }


def _resized(change: Resized) -> Row:
    values = {"version": change.version, "status": "resized", "capacity": change.capacity}
    return values | {"count": change.count, "at": change.at}


def _is_of(used: Used | None, change: Change) -> bool:
    reply = used.reply if used else None
    return isinstance(reply, Sold | Held | Confirmed | Cancelled) and reply.order is change


def _key(used: Used | None) -> Row:
    return {"key": used.key, "asked": used.asked, "answer": ANSWERS[type(used.reply)]} if used else {}


def _notes(page: Page) -> Iterable[Note]:
    """Yield the answer that is kept without a change of its own, if there is one: as ``lines_of`` would."""
    used, event = page.used, page.event
    if used and event and not any(_is_of(used, change) for change in page.changes[-1:]):
        line = lines_of(Page(event, used=used)).decode()
        yield Note(used.key, event.version, used.at, line)
