"""What was read of an event for some commands, and the page of each of them. Pure.

Engines are asked for as little as decides a command. For a batch they are asked once: each page that was decided is
expected, and the next command finds it here. What was read may not be enough for that, and then it says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.commands import Buy, Cancel, Command, Confirm, Hold, Resize, Sweep
from service.rules import Page
from service.stores.numbers import Free
from service.stores.pages import SWEEP_TICKETS_MAX
from service.stores.rows import places
from service.values import Event, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from service.rules import Used


class Known:
    """An event, its lowest free tickets, the holds that end first, and the orders and keys that were asked for."""

    def __init__(  # noqa: PLR0913  # what there is to know, each by its name
        self,
        event: Event,
        given: int,
        returned: Iterable[int] = (),
        *,
        holds: Sequence[Order] = (),
        all_holds: bool = True,
        orders: Iterable[Order] = (),
        used: Iterable[Used] = (),
        highest: int = 0,
    ) -> None:
        """All tickets up to ``given`` were given out, and of these ``returned`` came back. ``highest`` is the highest
        ticket that is sold or held, but for ``holds``: these are in the order of their ends, and perhaps not all.
        """
        self.event = event
        self._free = Free(event.capacity, given, [(ticket, ticket) for ticket in returned])
        self._holds = list(holds)
        self._all_holds = all_holds
        self._orders = {order.id: order for order in orders}
        self._used = {each.key: each for each in used}
        self._highest = highest

    def page(self, command: Command) -> Page:
        """Return the page that ``command`` touches."""
        free: tuple[int, ...] = ()
        holds: tuple[Order, ...] = ()
        order, highest = None, 0
        match command:
            case Buy() | Hold():
                free = self._free.lowest(command.quantity)
                if command.quantity > self.event.count:
                    holds = self._first_to_end(command.quantity - self.event.count)
            case Confirm() | Cancel():
                order = self._orders.get(command.order)
            case Sweep():
                holds = self._first_to_end(SWEEP_TICKETS_MAX)
            case Resize():
                holds = self._first_to_end(SWEEP_TICKETS_MAX)
                highest = max(self._highest, *(max(hold.tickets) for hold in self._holds[len(holds) :]), 0)
        used = self._used.get(command.key) if command.key else None
        return Page(self.event, order, used, free, holds, highest)

    def suffices(self, command: Command) -> bool:
        """Tell whether the page can be known after what was expected."""
        short = command.quantity - self.event.count if isinstance(command, Buy | Hold) else 0
        return self._all_holds or short <= sum(hold.quantity for hold in self._holds)

    def expect(self, page: Page) -> None:
        """Go on by what was decided."""
        for change in page.changes:
            if isinstance(change, Order):
                self._turn(change)
                self._orders[change.id] = change
        self.event = page.event or self.event
        if page.used:
            self._used[page.used.key] = page.used

    def _turn(self, order: Order) -> None:
        taken = places(order)
        if taken:
            self._free.take(order.tickets)
        elif order.status != "sold":
            self._free.give_back(order.tickets)
        self._holds = [hold for hold in self._holds if hold.id != order.id] if not taken else self._holds
        if order.status == "held":
            self._hold(order)

    def _hold(self, order: Order) -> None:
        end = _end(order)
        place = next((place for place, hold in enumerate(self._holds) if _end(hold) > end), len(self._holds))
        if place < len(self._holds) or self._all_holds:  # behind the last that was read there may be others before it
            self._holds.insert(place, order)

    def _first_to_end(self, tickets: int) -> tuple[Order, ...]:
        """Return the holds that end first: enough of them for so many tickets, or all."""
        found = []
        for hold in self._holds:
            if tickets <= 0:
                break
            found.append(hold)
            tickets -= hold.quantity
        return tuple(found)


def _end(hold: Order) -> tuple[float, str]:
    return hold.expires_at or 0.0, hold.id
