"""The page of a command: what it touches, from what is known of its event and from the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.commands import Buy, Cancel, Command, Confirm, Hold, Resize, Sweep
from service.mode import Busy, Damaged, NotWritten
from service.rules import Page, Used
from service.stores.lines import order_of, used_of
from service.stores.sealed import unseal
from service.stores.stopped import refused

if TYPE_CHECKING:
    from pathlib import Path

    from service.stores.following import Following
    from service.stores.order_index import OrderIndex
    from service.stores.standing import Standing
    from service.values import Order

SWEEP_TICKETS_MAX = 100
"""Most tickets whose holds are ended by one command that only does this."""


def page_for(command: Command, known: Following, index: OrderIndex, journal: Path) -> Page | Exception:
    """Return the page, or why it cannot be read: that is of its order or its key, and concerns no other command.

    What was decided in the same batch, and is not written yet, comes before what is written.
    """
    order = None
    try:
        if isinstance(command, Confirm | Cancel):
            order = known.orders.get(command.order) or found(index, command.order)
        used = (known.used.get(command.key) or _used(index, journal, command.key)) if command.key else None
    except (Busy, Damaged, NotWritten) as error:
        return error
    except OSError as error:
        return refused(journal, error)
    return page_of(command, known.standing, order, used)


def page_of(command: Command, standing: Standing, order: Order | None, used: Used | None) -> Page:
    """Return the page of a command that names ``order``, and whose key was used as ``used`` says."""
    event, highest = standing.event, 0
    free: tuple[int, ...] = ()
    holds: tuple[Order, ...] = ()
    match command:
        case Buy() | Hold():
            free = standing.free.lowest(command.quantity)
            if command.quantity > event.count:
                holds = standing.first_to_end(command.quantity - event.count)
        case Sweep():
            holds = standing.first_to_end(SWEEP_TICKETS_MAX)
        case Resize():
            holds = standing.first_to_end(SWEEP_TICKETS_MAX)
            highest = standing.free.highest(but={ticket for hold in holds for ticket in hold.tickets})
    return Page(event, order, used, free, holds, highest)


def found(index: OrderIndex, order: str) -> Order | None:
    """Return an order as its last change left it."""
    line = index.find(order)
    values = unseal(line) if line else {}
    return order_of(values) if values.get("order") == order else None  # else it is the name of an idempotency key


def _used(index: OrderIndex, journal: Path, key: str) -> Used | None:
    line = index.find_key(journal, key)
    return used_of(unseal(line)) if line else None
