"""What the booking rule speaks of: events and orders, commands, pages and replies. All are frozen values."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Literal
from zlib import crc32

KEY_S = 24 * 3600.0
"""How long an idempotency key is remembered, in seconds. After it, a command with the key is a new one."""

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
class Buy:
    """Buy ``quantity`` tickets. ``partial`` takes what is left when fewer remain; otherwise all or nothing.

    ``order`` is the identifier the order will have. It is part of the command because ``decide`` knows no randomness.
    ``key`` stands for an idempotency key: a command that comes again with the same key gets the first answer again.
    """

    order: str
    event: str
    quantity: int
    partial: bool = False
    buyer: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep tickets for ``ttl_s`` seconds, to be confirmed until then. All else is as with ``Buy``."""

    order: str
    event: str
    quantity: int
    ttl_s: float
    partial: bool = False
    buyer: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Confirm:
    """Make a hold a purchase."""

    order: str
    event: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give the tickets of an order, held or sold, back."""

    order: str
    event: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Resize:
    """Let an event have ``capacity`` tickets."""

    event: str
    capacity: int
    key: str | None = None
    order: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """End the holds whose time is over, as any command does that needs their tickets."""

    event: str
    key: str | None = None
    order: str = ""


Command = Buy | Hold | Confirm | Cancel | Resize | Sweep


@dataclass(frozen=True, slots=True)
class Sold:
    """The tickets were bought."""

    order: Order


@dataclass(frozen=True, slots=True)
class Held:
    """The tickets are kept until ``order.expires_at``."""

    order: Order


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The order is a purchase, now or since before."""

    order: Order


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The order is cancelled, now or since before."""

    order: Order


@dataclass(frozen=True, slots=True)
class SoldOut:
    """Fewer tickets are left than were asked for. ``event`` is what the decision saw."""

    event: Event
    quantity: int


@dataclass(frozen=True, slots=True)
class HoldExpired:
    """The hold had ended before, or ended by this decision: the time was over."""

    event: Event
    order: str


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The order was cancelled, so it cannot be confirmed."""

    event: Event
    order: str


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The idempotency key belongs to another command."""

    event: Event


@dataclass(frozen=True, slots=True)
class Sized:
    """The event has the capacity that was asked for."""

    event: Event


@dataclass(frozen=True, slots=True)
class CapacityTaken:
    """Tickets above the capacity that was asked for are sold or held; ``least`` is the lowest that can be had."""

    event: Event
    least: int


@dataclass(frozen=True, slots=True)
class Swept:
    """So many holds were ended."""

    event: Event
    ended: int


@dataclass(frozen=True, slots=True)
class NoSuchEvent:
    """There is no event of this name."""

    event: str


@dataclass(frozen=True, slots=True)
class NoSuchOrder:
    """There is no order of this identifier."""

    order: str


Reply = (
    Sold
    | Held
    | Confirmed
    | Cancelled
    | SoldOut
    | HoldExpired
    | OrderCancelled
    | KeyReused
    | Sized
    | CapacityTaken
    | Swept
    | NoSuchEvent
    | NoSuchOrder
)


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
    the highest ticket that is sold or held, where that matters. ``changes`` are to be written, with what ``used`` says.
    """

    event: Event | None
    order: Order | None = None
    used: Used | None = None
    free: tuple[int, ...] = ()
    holds: tuple[Order, ...] = ()
    highest: int = 0
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class TicketMap:
    """Which tickets, of some that were asked for, are sold and held, as runs ``(first, last)``; all others are free."""

    event: Event
    sold: tuple[tuple[int, int], ...]
    held: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The page as it is to be from now on (the very same page when nothing is to be written), and what to answer."""

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


def key_of(event: str, key: str) -> str:
    """Return what stands for an idempotency key of an event: half of a SHA-256, which has one length."""
    return sha256(f"{event}\0{key}".encode()).hexdigest()[:32]


def asked_for(command: Command) -> str:
    """Return what tells a command from another one: a digest of what was asked for, but not of the order it makes."""
    placed = isinstance(command, Buy | Hold)
    names = [field.name for field in fields(command) if field.name != "key" and not (placed and field.name == "order")]
    asked = [type(command).__name__, *(f"{name}={getattr(command, name)!r}" for name in names)]
    return sha256("\0".join(asked).encode()).hexdigest()[:16]
