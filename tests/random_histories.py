"""Random small histories: a counter is run at random moments between call and return, by the rule or not quite.

What the check documents is kept to: one event, all of whose tickets are there at the start; every definite reply states
a version and a count; holds expire, and who confirms or cancels is refused, only where there is a journal to say why.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loadtest.history import Change, Kind, Operation

if TYPE_CHECKING:
    from random import Random

    from loadtest.history import Outcome, Status


KINDS: tuple[Kind, ...] = ("buy", "buy", "buy", "hold", "hold", "look", "confirm", "cancel", "cancel")
FATEFUL: tuple[Kind, ...] = ("hold", "confirm", "confirm", "cancel")


@dataclass(slots=True)
class History:
    """A history, and the event that it starts from."""

    capacity: int
    start: int
    operations: list[Operation] = field(default_factory=list)
    journal: list[Change] | None = None
    last: Operation | None = None


@dataclass(slots=True)
class Order:
    """An order as the counter knows it."""

    status: Status
    tickets: tuple[int, ...]


@dataclass(slots=True)
class Counter:
    """A counter that breaks a rule with probability ``sloppy`` each time it comes to one."""

    chance: Random
    capacity: int
    version: int
    sloppy: float
    recorded: bool = True
    journal: list[Change] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    answers: dict[str, Operation] = field(default_factory=dict)
    count: int = 0

    def slips(self) -> bool:
        """Tell whether the rule is broken this time."""
        return self.chance.random() < self.sloppy

    def answer(self, asked: Operation) -> Operation:
        """Return ``asked`` with the answer to it, if it can be answered at all; else a look."""
        order = self.orders.get(asked.order)
        became = (asked.kind, order.status if order else "")
        again = f"{asked.kind} {asked.order}" if became in {("confirm", "sold"), ("cancel", "cancelled")} else ""
        for question in (asked.key, again):
            if question in self.answers and not self.slips():
                first = self.answers[question]
                return replace(
                    first, name=asked.name, client=asked.client, called=asked.called, returned=asked.returned
                )
        told = self._decided(asked)
        if told.kind != "look":
            made = f"{asked.kind} {asked.order}" if asked.order and told.outcome == "done" else ""
            self.answers |= {question: told for question in (asked.key, made) if question}
        return told

    def _decided(self, asked: Operation) -> Operation:
        if asked.kind in {"buy", "hold"}:
            return self._take(asked)
        order = self.orders.get(asked.order)
        fits = order and order.status in ({"held"} if asked.kind == "confirm" else {"held", "sold"})
        reason = {"expired": "hold-expired", "cancelled": "order-cancelled"}.get(order.status, "") if order else ""
        if reason and asked.kind != "look" and self.recorded and not self.slips():
            told = replace(asked, version=self.version, count=self.count)
            return replace(told, outcome="refused", status=409, problem=reason)
        if asked.kind == "look" or not order or not (fits or self.slips()):
            return replace(asked, kind="look", outcome="done", version=self.version, count=self.count, key="", order="")
        status: Status = "sold" if asked.kind == "confirm" else "cancelled"
        self.change(asked.order, "", order.tickets, status, 0 if status == "sold" else len(order.tickets))
        return replace(asked, outcome="done", status=200, version=self.version, count=self.count, tickets=order.tickets)

    def _take(self, asked: Operation) -> Operation:
        size = min(asked.quantity, self.count) if asked.partial else asked.quantity
        if (size > self.count or size < 1) != self.slips():
            return replace(asked, outcome="refused", status=409, version=self.version, count=self.count)
        size = max(1, size - self.slips())
        owned = {
            ticket for order in self.orders.values() if order.status in {"sold", "held"} for ticket in order.tickets
        }
        free = [ticket for ticket in range(1, self.capacity + 1) if ticket not in owned or self.slips()]
        tickets = tuple(sorted(self.chance.sample(free, min(size, len(free)))))
        order = f"order of {asked.name}"
        self.change(order, asked.name, tickets, "sold" if asked.kind == "buy" else "held", -len(tickets))
        return replace(
            asked, outcome="done", status=201, version=self.version, count=self.count, tickets=tickets, order=order
        )

    def expire(self) -> None:
        """Let a hold expire, if there is one."""
        held = [name for name, order in self.orders.items() if order.status == "held" or self.slips()]
        if held:
            name = self.chance.choice(held)
            self.change(name, "", self.orders[name].tickets, "expired", len(self.orders[name].tickets))

    def change(self, name: str, buyer: str, tickets: tuple[int, ...], status: Status, delta: int) -> None:
        """Make the next version, or the last one again: what it did to the count is then forgotten."""
        if self.journal and self.slips():
            last = self.journal[-1]
            self.version -= 1
            self.count += {"sold": 1, "held": 1}.get(last.status, -1) * len(last.tickets)
        self.version += not self.slips()
        self.count += delta + self.slips()
        self.orders[name] = Order(status, tickets)
        self.journal.append(Change(self.version, name, buyer, tickets, self.count, status))


def generate(chance: Random, sloppy: float) -> History:
    """Return a history of 1 to 8 calls by 1 to 4 clients, made by a counter that is right if ``sloppy`` is 0."""
    capacity, start = chance.randint(1, 5), chance.choice((0, 0, 3))
    recorded = chance.random() < 0.6
    # In some histories few orders are made, and much becomes of them.
    fateful = recorded and chance.random() < 0.4
    counter = Counter(chance, capacity, start, sloppy, recorded, count=capacity)
    # Without a journal the check is exact where unknown outcomes are alike. One history in eight has them unlike.
    alike = (
        None if recorded or chance.random() < 0.12 else (chance.choice(("buy", "hold")), chance.randint(1, 2), False)
    )
    operations: list[Operation] = []
    keyed: list[Operation] = []
    for call in _moments(chance):
        while recorded and chance.random() < (0.3 if fateful else 0.15):
            counter.expire()
        seen = (counter.version, counter.count)
        operations.append(_told(chance, _asked(chance, call, counter, keyed, fateful=fateful), counter, alike))
    history = History(capacity, start, operations, counter.journal if recorded else None)
    if chance.random() < 0.5:
        # What may have happened may have happened after the last look too.
        late = operations[-1].outcome == "unknown" and chance.random() < 0.5
        version, count = seen if late else (counter.version, counter.count)
        end = max(row.returned for row in operations) + 1
        history.last = Operation("look", "last", 9, end, end, end + 1, "done", 200, version=version, count=count)
    for _ in range(chance.choice((0, 0, 0, 1)) if recorded else 0):
        counter.expire()
    return history


def _moments(chance: Random) -> list[Operation]:
    """Return calls in the order in which they take effect, each between its call and its return."""
    clocks = [0] * chance.randint(1, 4)
    moments = []
    for number in range(chance.randint(1, 8)):
        client = chance.randrange(len(clocks))
        called = clocks[client] + chance.randint(0, 4)
        effect = called + chance.randint(0, 6)
        clocks[client] = effect + chance.randint(0, 6)
        call = Operation("look", f"call {number}", client, called, called, clocks[client], "unknown")
        moments.append((effect, call))
    return [call for _, call in sorted(moments, key=lambda moment: moment[0])]


def _asked(chance: Random, call: Operation, counter: Counter, keyed: list[Operation], *, fateful: bool) -> Operation:
    """Return what is asked for: something new, or what was asked for before, with its key."""
    if keyed and chance.random() < (0.5 if fateful else 0.3):
        first = chance.choice(keyed)
        return replace(first, name=call.name, client=call.client, called=call.called, returned=call.returned)
    kind = chance.choice(FATEFUL if fateful else KINDS)
    if kind == "look":
        return call
    if kind in {"confirm", "cancel"}:
        ended = chance.random() < (0.7 if fateful else 0.3)
        orders = [name for name, order in counter.orders.items() if ended or kind == "cancel" or order.status == "held"]
        if not orders:
            return call
        asked = replace(call, kind=kind, order=chance.choice(orders))
        if chance.random() < (0.6 if fateful else 0.2):
            asked = replace(asked, key=f"key of {call.name}")
            keyed.append(asked)
        return asked
    asked = replace(call, kind=kind, quantity=chance.randint(1, 3), partial=chance.random() < 0.3)
    if chance.random() < 0.35:
        asked = replace(asked, key=f"key of {call.name}")
        keyed.append(asked)
    return asked


def _told(chance: Random, asked: Operation, counter: Counter, alike: tuple[str, int, bool] | None) -> Operation:
    """Return what the client got to know: the answer, or that nothing was done, or nothing."""
    fate = chance.random()
    lost: Outcome = "not done" if fate < 0.08 else "unknown"
    if fate < 0.24 and asked.kind != "look" and lost == "not done":
        return replace(asked, outcome=lost, status=503)
    if fate < 0.24 and asked.kind != "look" and alike in {None, (asked.kind, asked.quantity, asked.partial)}:
        if chance.random() < 0.7:
            counter.answer(asked)
        # Who gives up may do so before it happens.
        return replace(asked, outcome=lost, returned=asked.called + chance.randint(0, 8))
    return counter.answer(asked)
