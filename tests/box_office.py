"""A box office for one event that is told everything in plain dictionaries: what the service is compared with.

It knows who owns each ticket and remembers every answer. It shares the values with the service, and none of its rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from service.commands import KEY_S, Buy, Cancel, Command, Confirm, Hold, Resize, Sweep
from service.outcomes import (
    Cancelled,
    CapacityTaken,
    Confirmed,
    Held,
    HoldExpired,
    KeyReused,
    NoSuchOrder,
    OrderCancelled,
    Reply,
    Sized,
    Sold,
    SoldOut,
    Swept,
)
from service.stores.pages import SWEEP_TICKETS_MAX
from service.values import Change, Event, Order, Resized, TicketMap


@dataclass
class BoxOffice:
    """An event, its owners, and all that has happened."""

    name: str
    capacity: int
    owners: dict[int, str] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    remembered: dict[str, tuple[Command, Reply, float]] = field(default_factory=dict)

    @property
    def event(self) -> Event:
        """The counters, counted."""
        return Event(self.name, self.capacity, self.capacity - len(self.owners), len(self.history))

    def tickets(self) -> TicketMap:
        """Return who has what, ticket by ticket."""
        states: dict[int, str] = {ticket: self.orders[order].status for ticket, order in self.owners.items()}
        return TicketMap(self.event, _runs(states, "sold"), _runs(states, "held"))

    def do(self, command: Command, now: float) -> Reply:
        """Carry out a command, unless its key was used before."""
        asked = replace(command, key=None, order="") if isinstance(command, Buy | Hold) else replace(command, key=None)
        if command.key in self.remembered:
            before, reply, at = self.remembered[command.key]
            if now <= at + KEY_S:
                return reply if before == asked else KeyReused(self.event)
        reply = self._do(command, now)
        if command.key and not isinstance(reply, NoSuchOrder):
            self.remembered[command.key] = asked, reply, now
        return reply

    def _do(self, command: Command, now: float) -> Reply:
        match command:
            case Buy() | Hold():
                return self._place(command, now)
            case Sweep():
                return self._sweep(now)
            case Resize(capacity=capacity):
                return self._resize(capacity, now)
            case Confirm(order=order) | Cancel(order=order) if order not in self.orders:
                return NoSuchOrder(order)
            case Confirm(order=order):
                return self._confirm(self.orders[order], now)
            case Cancel(order=order):
                return self._cancel(self.orders[order], now)

    def _place(self, command: Buy | Hold, now: float) -> Reply:
        for hold in self._overdue(now):
            if self.event.count >= command.quantity:
                break
            self._turn(hold, "expired", now)
        left = [ticket for ticket in range(1, self.capacity + 1) if ticket not in self.owners]
        if not left or (len(left) < command.quantity and not command.partial):
            return SoldOut(self.event, command.quantity)
        tickets = tuple(left[: command.quantity])
        self.owners |= dict.fromkeys(tickets, command.order)
        order = Order(
            command.order,
            self.name,
            "held" if isinstance(command, Hold) else "sold",
            len(tickets),
            tickets,
            self.event.count,
            self.event.version + 1,
            now,
            command.buyer,
            now + command.ttl_s if isinstance(command, Hold) else None,
        )
        self._record(order)
        return Held(order) if isinstance(command, Hold) else Sold(order)

    def _confirm(self, order: Order, now: float) -> Reply:
        if order.status == "cancelled":
            return OrderCancelled(self.event, order.id)
        if order in self._overdue(now):
            order = self._turn(order, "expired", now)
        if order.status == "expired":
            return HoldExpired(self.event, order.id)
        return Confirmed(order if order.status == "sold" else self._turn(order, "sold", now))

    def _cancel(self, order: Order, now: float) -> Reply:
        if order in self._overdue(now):
            order = self._turn(order, "expired", now)
        if order.status == "expired":
            return HoldExpired(self.event, order.id)
        return Cancelled(order if order.status == "cancelled" else self._turn(order, "cancelled", now))

    def _resize(self, capacity: int, now: float) -> Reply:
        if capacity < self._least():
            self._sweep(now)
        if capacity < (least := self._least()):
            return CapacityTaken(self.event, least)
        if capacity != self.capacity:
            self.capacity = capacity
            self.history.append(Resized(self.name, capacity, self.event.count, self.event.version + 1, now))
        return Sized(self.event)

    def _least(self) -> int:
        return max(len(self.owners), *self.owners, 0)

    def _sweep(self, now: float) -> Reply:
        ended, tickets = 0, 0
        for hold in self._overdue(now):
            if tickets < SWEEP_TICKETS_MAX:
                self._turn(hold, "expired", now)
                ended, tickets = ended + 1, tickets + hold.quantity
        return Swept(self.event, ended)

    def _overdue(self, now: float) -> list[Order]:
        """Return the holds whose time is over, the one that was over first at first."""
        ends = [(order.expires_at, order.id) for order in self.orders.values() if order.status == "held"]
        return [self.orders[order] for end, order in sorted(ends) if end is not None and now >= end]

    def _turn(self, order: Order, status: Literal["sold", "cancelled", "expired"], now: float) -> Order:
        if status != "sold":
            self.owners = {ticket: owner for ticket, owner in self.owners.items() if owner != order.id}
        turned = replace(order, status=status, count=self.event.count, version=self.event.version + 1, at=now)
        self._record(turned)
        return turned

    def _record(self, order: Order) -> None:
        self.orders[order.id] = order
        self.history.append(order)


def _runs(states: dict[int, str], wanted: str) -> tuple[tuple[int, int], ...]:
    """Return the tickets in a state as runs."""
    chosen = {ticket for ticket, state in states.items() if state == wanted}
    firsts = sorted(ticket for ticket in chosen if ticket - 1 not in chosen)
    lasts = sorted(ticket for ticket in chosen if ticket + 1 not in chosen)
    return tuple(zip(firsts, lasts, strict=True))
