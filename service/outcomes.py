"""Outcomes: what a command is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.values import Event, Order


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
