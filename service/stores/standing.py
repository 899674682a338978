"""How an event stands: its counters, its free tickets and its live holds, folded from the lines of its journal.

The first line of a journal says how the event stood when it began, and lines right behind it carry the holds that were
live then. So no more than one journal is ever read, and that is of a bounded size.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.stores.fencing import DoesNotFollow
from service.stores.lines import CARRIED, change_of, order_of
from service.stores.numbers import Free
from service.stores.sealed import unseal
from service.values import Event, Order, Resized

if TYPE_CHECKING:
    from service.values import Change

CAPACITY_MAX = 10_000_000
ENDS_SPARE = 1000
"""How many ends of holds that are none any more are kept, beside as many as there are holds."""


@dataclass(frozen=True, slots=True)
class Before:
    """What it takes to undo a change, beside the change: how the event stood, and the hold that it was about."""

    event: Event
    given: int
    hold: Order | None


class Standing:
    """An event after some line of its journal. Every change must follow from what stands here.

    ``since`` is what the journal is told by: the version that it begins with, or more.
    """

    def __init__(self, first: dict[str, Any]) -> None:
        """Stand as a journal's first line says. Raises ``DoesNotFollow``."""
        version, capacity, count = first["version"], first.get("capacity"), first["count"]
        goes_on = first["status"] == "continued" and version >= 1
        begins = goes_on or (first["status"] == "opened" and version == 0 and count == capacity)
        if not begins or type(capacity) is not int or not 0 <= count <= capacity <= CAPACITY_MAX:
            raise DoesNotFollow(f"it has version {version} and {count} of {capacity} tickets, which is no beginning")
        self.since: int = first.get("since", version)
        if type(self.since) is not int or self.since < version:
            raise DoesNotFollow(f"it begins after {self.since!r}, and with version {version}")
        self.event = Event(first["event"], capacity, count, version)
        self.free = Free(capacity, first.get("given", capacity - count), first.get("returned", ()))
        self.holds: dict[str, Order] = {}
        self.held: set[int] = set()
        """The tickets of these: who looks at a few of many thousands cannot go through all holds."""
        self.lacks: int = first.get("holds", 0)
        """How many of the holds that the first line tells of have not been read yet. Older journals tell of none."""
        if type(self.lacks) is not int or self.lacks < 0:
            raise DoesNotFollow(f"it goes on with {self.lacks!r} holds")
        self.closed_bytes: int | None = first.get("closed_bytes")
        """How many bytes the journal before this one has. Older journals do not tell."""
        self._begins = version
        self._ends: list[tuple[float, str]] = []

    def follow(self, line: dict[str, Any]) -> None:
        """Go on by a line that counts. Raises ``DoesNotFollow``, and stands where it stood."""
        try:
            if line["event"] != self.event.name:
                raise DoesNotFollow(f"it belongs to the event {line['event']!r}")
            if line["status"] == CARRIED:
                self.carry(order_of(line))
            elif line["status"] == "noted":
                self._must_be(line["version"], self.event.version)
            else:
                self.change(change_of(line))
        except (KeyError, TypeError) as error:
            raise DoesNotFollow(f"a member is missing or of the wrong kind ({error})") from None

    def change(self, change: Change) -> None:
        """Go on by a change. Raises ``DoesNotFollow``, and stands where it stood."""
        self._must_be(change.version, self.event.version + 1)
        if isinstance(change, Resized):
            self._resize(change)
        elif change.status == "held" or (change.status == "sold" and change.id not in self.holds):
            self._place(change)
        else:
            self._end(change)
        capacity = change.capacity if isinstance(change, Resized) else self.event.capacity
        self.event = Event(self.event.name, capacity, change.count, change.version)

    def before(self, change: Change) -> Before:
        """Return what ``undo`` needs. Call it right before ``change``."""
        hold = self.holds.get(change.id) if isinstance(change, Order) else None
        return Before(self.event, self.free.given, hold)

    def undo(self, change: Change, before: Before) -> None:
        """Stand as before a change, which is the last one: to the number, for a journal is closed by what stands."""
        self.event = before.event
        if isinstance(change, Resized):
            self.free.unsize(before.event.capacity, before.given)
            return
        if change.status == "held" or (change.status == "sold" and before.hold is None):
            self.free.untake(change.tickets, before.given)
            if self.holds.pop(change.id, None):
                self.held.difference_update(change.tickets)
        elif change.status != "sold":
            self.free.take(change.tickets)
        if before.hold is not None and before.hold.expires_at is not None:
            self._hold(before.hold, before.hold.expires_at)
        if len(self._ends) > 2 * len(self.holds) + ENDS_SPARE:  # a full disk may refuse holds for hours
            self._ends = [(hold.expires_at, hold.id) for hold in self.holds.values() if hold.expires_at is not None]
            heapq.heapify(self._ends)

    def first_to_end(self, tickets: int) -> tuple[Order, ...]:
        """Return the live holds that end first: enough of them for so many tickets, or all."""
        found: list[Order] = []
        seen: list[tuple[float, str]] = []
        while tickets > 0 and self._ends:
            end = heapq.heappop(self._ends)
            hold = self.holds.get(end[1])
            if hold is None or hold.expires_at != end[0] or (seen and seen[-1] == end):
                continue  # it has ended otherwise, or its end was undone and is here twice
            seen.append(end)
            found.append(hold)
            tickets -= hold.quantity
        for end in seen:
            heapq.heappush(self._ends, end)
        return tuple(found)

    @property
    def next_since(self) -> int:
        """What the journal is told by that goes on from here."""
        # Answers that are kept without a change can fill a journal too, and no two may have one name.
        return max(self.event.version, self.since + 1)

    @property
    def ends(self) -> float | None:
        """When the first of the live holds ends, in seconds since the epoch; ``None`` if there is none."""
        first = self.first_to_end(1)
        return first[0].expires_at if first else None

    def _place(self, order: Order) -> None:
        tickets, count = order.tickets, self.event.count
        if (order.status == "held") != (order.expires_at is not None):
            raise DoesNotFollow(f"order {order.id} was not held, and is {order.status}")
        if order.count != count - order.quantity or order.count < 0 or not 1 <= order.quantity == len(set(tickets)):
            raise DoesNotFollow(f"{order.quantity} tickets of {count} were sold and {order.count} are said to be left")
        if not all(type(ticket) is int and ticket >= 1 and ticket in self.free for ticket in tickets):
            raise DoesNotFollow(f"the {order.quantity} tickets sold were not all free")
        self.free.take(tickets)
        if order.expires_at is not None:
            self._hold(order, order.expires_at)

    def _end(self, order: Order) -> None:
        hold = self.holds.get(order.id)
        back = 0 if order.status == "sold" else order.quantity
        if hold is None and order.status == "expired":
            raise DoesNotFollow(f"order {order.id} was not held, and is expired")
        if order.count != self.event.count + back or not 1 <= order.quantity == len(order.tickets):
            raise DoesNotFollow(
                f"{back} came back to {self.event.count} tickets, and {order.count} are said to be left"
            )
        given = all(type(ticket) is int and 1 <= ticket <= self.free.given for ticket in order.tickets)
        if not given or any(ticket in self.free for ticket in order.tickets):
            raise DoesNotFollow(f"the tickets of order {order.id} were not all taken")
        if hold is not None and hold.tickets != order.tickets:
            raise DoesNotFollow(f"the tickets of order {order.id} are not those that were held")
        if self.holds.pop(order.id, None):
            self.held.difference_update(order.tickets)
        if back:
            self.free.give_back(order.tickets)

    def _resize(self, change: Resized) -> None:
        more = change.capacity - self.event.capacity
        least = max(self.event.capacity - self.event.count, self.free.highest())
        if change.count != self.event.count + more or not least <= change.capacity <= CAPACITY_MAX:
            raise DoesNotFollow(f"the capacity cannot be {change.capacity}, with {change.count} tickets left")
        self.free.resize(change.capacity)

    def carry(self, hold: Order) -> None:
        """Know a hold that was live already. Raises ``DoesNotFollow``."""
        free = any(ticket in self.free for ticket in hold.tickets)
        if self.event.version != self._begins or hold.expires_at is None or free or hold.id in self.holds:
            raise DoesNotFollow(f"the hold {hold.id} cannot have been there when the journal began")
        self._hold(hold, hold.expires_at)
        self.lacks -= 1

    def _hold(self, order: Order, ends: float) -> None:
        self.holds[order.id] = order
        self.held.update(order.tickets)
        heapq.heappush(self._ends, (ends, order.id))

    @staticmethod
    def _must_be(version: int, right: int) -> None:
        if version != right:
            why = "twice: two sales did not keep each other out" if version < right else "too early"
            raise DoesNotFollow(f"version {version} comes {why}")


def begun(line: bytes, name: str | None = None) -> Standing:
    """Return how the event called ``name`` stood at the first line of its journal. Raises ``Damaged``."""
    first = unseal(line)
    try:
        if name is not None and first["event"] != name:
            raise DoesNotFollow(f"it belongs to the event {first['event']!r}")
        return Standing(first)
    except (KeyError, TypeError) as error:
        raise DoesNotFollow(f"a member is missing or of the wrong kind ({error})") from None
