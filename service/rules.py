"""The booking rule: what happens to a page when a command meets it.

A *command* says what somebody wants. A *page* holds all that the command touches. ``decide`` maps the two to a new
page and a reply. It is a pure function: it knows no clock, file, socket, lock or randomness, so every mode can run it,
and run it again, and get the same answer.

The law that everything else serves: ``0 <= count <= capacity``, a ticket number has one owner, and ``version`` rises by
exactly one with every accepted change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Event:
    """An event's counters.

    ``capacity`` is the number of tickets there are, numbered from 1. ``count`` is the number of tickets left, as in the
    JSON file that this project grew from. ``version`` is the number of changes accepted so far.
    """

    name: str
    capacity: int
    count: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """An accepted order, with the ``count`` and the ``version`` that its own change made.

    ``at`` is the moment of the decision, in seconds since the epoch.
    """

    id: str
    event: str
    status: Literal["sold"]
    quantity: int
    tickets: tuple[int, ...]
    count: int
    version: int
    at: float
    buyer: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What one command touches: its event (``None`` if there is no such event), and the order it made."""

    event: Event | None
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Buy:
    """Buy ``quantity`` tickets. ``partial`` takes what is left when fewer remain; otherwise all or nothing.

    ``order`` is the identifier the order will have. It is part of the command because ``decide`` knows no randomness.
    """

    order: str
    event: str
    quantity: int
    partial: bool = False
    buyer: str | None = None


Command = Buy


@dataclass(frozen=True, slots=True)
class Sold:
    """The order was accepted; the page that goes with this reply must be written."""

    order: Order


@dataclass(frozen=True, slots=True)
class SoldOut:
    """Fewer tickets are left than were asked for. ``event`` is what the decision saw."""

    event: Event
    quantity: int


@dataclass(frozen=True, slots=True)
class NoSuchEvent:
    """There is no event of this name."""

    event: str


@dataclass(frozen=True, slots=True)
class NoSuchOrder:
    """There is no order of this identifier."""

    order: str


Reply = Sold | SoldOut | NoSuchEvent


@dataclass(frozen=True, slots=True)
class Decision:
    """The page as it is to be from now on (the very same page when nothing changed), and what to answer."""

    page: Page
    reply: Reply


def order_id(event: str, chance: str) -> str:
    """Return the identifier of a new order: where it belongs, and then ``chance``, 24 hexadecimal digits.

    96 random bits: whoever knows an order may see it, and nobody guesses one.
    """
    return place_of(event) + chance


def place_of(event: str) -> str:
    """Return the eight digits with which the identifiers of an event's orders begin: the CRC-32 of its name."""
    return f"{crc32(event.encode()):08x}"


def decide(page: Page, command: Command, now: float) -> Decision:
    """Return what ``command`` does to ``page`` at the moment ``now`` (seconds since the epoch)."""
    event = page.event
    if event is None:
        return Decision(page, NoSuchEvent(command.event))
    quantity = min(command.quantity, event.count) if command.partial else command.quantity
    if quantity > event.count or event.count == 0:
        return Decision(page, SoldOut(event, command.quantity))
    sold_before = event.capacity - event.count
    left = Event(event.name, event.capacity, event.count - quantity, event.version + 1)
    order = Order(
        id=command.order,
        event=event.name,
        status="sold",
        quantity=quantity,
        tickets=tuple(range(sold_before + 1, sold_before + quantity + 1)),
        count=left.count,
        version=left.version,
        at=now,
        buyer=command.buyer,
    )
    return Decision(Page(left, order), Sold(order))
