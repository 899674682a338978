"""Events and orders, and how they are named. All are frozen values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

EVENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""What an event may be called: nothing that could leave the data directory, or mean two files."""

Status = Literal["sold", "held", "cancelled", "expired"]


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
    """An accepted order as its last change left it, with the ``count`` and the ``version`` that this change made.

    ``at`` is the moment of the decision, ``expires_at`` when a hold ends, or would have; both in seconds since the
    epoch. An order that is sold and has an ``expires_at`` was a hold before.
    """

    id: str
    event: str
    status: Status
    quantity: int
    tickets: tuple[int, ...]
    count: int
    version: int
    at: float
    buyer: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Resized:
    """A change of an event's capacity."""

    event: str
    capacity: int
    count: int
    version: int
    at: float


Change = Order | Resized


@dataclass(frozen=True, slots=True)
class TicketMap:
    """Which tickets, of some that were asked for, are sold and held, as runs ``(first, last)``; all others are free."""

    event: Event
    sold: tuple[tuple[int, int], ...]
    held: tuple[tuple[int, int], ...]


def order_id(event: str, chance: str) -> str:
    """Return the identifier of a new order: where it belongs, and then ``chance``, 32 hexadecimal digits.

    128 random bits: whoever knows an order may see and cancel it, and nobody guesses one. (Older orders have 96.)
    """
    return place_of(event) + chance


def place_of(event: str) -> str:
    """Return the eight digits with which the identifiers of an event's orders begin: the CRC-32 of its name."""
    return f"{crc32(event.encode()):08x}"
