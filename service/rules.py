"""The booking rule: what happens to a page when a command meets it.

A *command* says what somebody wants. A *page* holds all that the command touches. ``decide`` maps the two to a new
page and a reply. It is a pure function: it knows no clock, file, socket, lock or randomness, so every mode can run it,
and run it again, and get the same answer. ``commands.py``, ``values.py`` and ``outcomes.py``
have what it speaks of.

The law that everything else serves: ``0 <= count <= capacity``, a ticket number has one owner, and ``version`` rises by
exactly one with every accepted change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.commands import KEY_S, Buy, Cancel, Command, Confirm, Hold, Resize, Sweep, asked_for
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
from service.values import Change, Event, Order, Resized, Status


@dataclass(frozen=True, slots=True)
class Used:
    """What an idempotency key was used for: for which command, with which reply, and when."""

    key: str
    asked: str
    reply: Reply
    at: float


@dataclass(frozen=True, slots=True)
class Page:
    """What one command touches.

    ``event`` is ``None`` if there is none. ``order`` is the one that the command names, and ``used`` what its
    idempotency key was used for. ``free`` are the lowest free tickets, as many as are asked for, or all. ``holds`` are
    those that end first: enough of them for what is asked for, where more is asked for than is left. ``highest`` is
    the highest ticket that is sold or held, but for those of ``holds``, where that matters. ``changes`` are to be
    written, with what ``used`` says.
    """

    event: Event | None
    order: Order | None = None
    used: Used | None = None
    free: tuple[int, ...] = ()
    holds: tuple[Order, ...] = ()
    highest: int = 0
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The page as it is to be from now on (the very same page when nothing is to be written), and what to answer."""

    page: Page
    reply: Reply


def decide(page: Page, command: Command, now: float) -> Decision:
    """Return what ``command`` does to ``page`` at the moment ``now`` (seconds since the epoch)."""
    if page.event is None:
        return Decision(page, NoSuchEvent(command.event))
    if page.used and now - page.used.at <= KEY_S:
        same = page.used.asked == asked_for(command)
        return Decision(page, page.used.reply if same else KeyReused(page.event))
    after, reply = _ruled(replace(page, used=None) if page.used else page, command, now)
    if command.key is not None and not isinstance(reply, NoSuchOrder):
        after = replace(after, used=Used(command.key, asked_for(command), reply, now))
    return Decision(after if after.changes or after.used else page, reply)


def _ruled(page: Page, command: Command, now: float) -> tuple[Page, Reply]:
    match command:
        case Buy() | Hold():
            return _placed(page, command, now)
        case Confirm():
            return _confirmed(page, command, now)
        case Cancel():
            return _cancelled(page, command, now)
        case Resize():
            return _resized(page, command, now)
        case Sweep():
            swept = _swept(page, now)
            return swept, Swept(_event(swept), len(swept.changes))


def _placed(page: Page, command: Buy | Hold, now: float) -> tuple[Page, Reply]:
    if command.quantity > _event(page).count:
        page = _swept(page, now)
    event = _event(page)
    quantity = min(command.quantity, event.count) if command.partial else command.quantity
    if quantity > event.count or event.count == 0:
        return page, SoldOut(event, command.quantity)
    order = Order(
        id=command.order,
        event=event.name,
        status="held" if isinstance(command, Hold) else "sold",
        quantity=quantity,
        tickets=page.free[:quantity],
        count=event.count - quantity,
        version=event.version + 1,
        at=now,
        buyer=command.buyer,
        expires_at=now + command.ttl_s if isinstance(command, Hold) else None,
    )
    taken = _with(page, order, order, page.free[quantity:])
    return taken, Held(order) if isinstance(command, Hold) else Sold(order)


def _confirmed(page: Page, command: Confirm, now: float) -> tuple[Page, Reply]:
    order, event = page.order, _event(page)
    if order is None:
        return page, NoSuchOrder(command.order)
    match order.status:
        case "sold":
            return page, Confirmed(order)
        case "cancelled":
            return page, OrderCancelled(event, order.id)
        case "held" if not _overdue(order, now):
            page = _ended(page, order, "sold", now)
            return page, Confirmed(_last(page))
        case "held":
            page = _ended(page, order, "expired", now)
    return page, HoldExpired(_event(page), order.id)


def _cancelled(page: Page, command: Cancel, now: float) -> tuple[Page, Reply]:
    order = page.order
    if order is None:
        return page, NoSuchOrder(command.order)
    match order.status:
        case "cancelled":
            return page, Cancelled(order)
        case "held" if _overdue(order, now):
            page = _ended(page, order, "expired", now)
        case "held" | "sold":
            page = _ended(page, order, "cancelled", now)
            return page, Cancelled(_last(page))
    return page, HoldExpired(_event(page), order.id)


def _resized(page: Page, command: Resize, now: float) -> tuple[Page, Reply]:
    holds = page.holds
    if command.capacity < _least(page, holds):
        page, holds = _swept(page, now), tuple(hold for hold in holds if not _overdue(hold, now))
    event, least = _event(page), _least(page, holds)
    more = command.capacity - event.capacity
    if command.capacity < least:
        return page, CapacityTaken(event, least)
    if not more:
        return page, Sized(event)
    change = Resized(event.name, command.capacity, event.count + more, event.version + 1, now)
    page = _with(page, change, None, ())
    return page, Sized(_event(page))


def _least(page: Page, holds: tuple[Order, ...]) -> int:
    """Return the lowest capacity that the event can have while these of its holds live."""
    event = _event(page)
    return max(event.capacity - event.count, page.highest, *(max(hold.tickets) for hold in holds))


def _swept(page: Page, now: float) -> Page:
    """Let the holds on the page end whose time is over: each is a change of its own."""
    for hold in page.holds:
        if _overdue(hold, now):
            page = _ended(page, hold, "expired", now)
    return page


def _overdue(order: Order, now: float) -> bool:
    return order.expires_at is not None and order.expires_at <= now


def _ended(page: Page, order: Order, status: Status, now: float) -> Page:
    """Let an order go on to ``status``; unless it is sold then, its tickets are free."""
    event = _event(page)
    freed = () if status == "sold" else order.tickets
    change = replace(order, status=status, count=event.count + len(freed), version=event.version + 1, at=now)
    return _with(page, change, change, tuple(sorted(page.free + freed)))


def _with(page: Page, change: Order | Resized, order: Order | None, free: tuple[int, ...]) -> Page:
    """Return the page with one more change, the order that it names, and what is free then."""
    event = _event(page)
    capacity = change.capacity if isinstance(change, Resized) else event.capacity
    return Page(
        Event(event.name, capacity, change.count, change.version),
        order,
        page.used,
        free,
        page.holds,
        page.highest,
        (*page.changes, change),
    )


def _event(page: Page) -> Event:
    assert page.event is not None  # noqa: S101  # ``decide`` has looked
    return page.event


def _last(page: Page) -> Order:
    order = page.order
    assert order is not None  # noqa: S101  # it has just been put there
    return order
