"""The booking rule, alone: whole scripts against a box office that keeps dictionaries, and its edges one by one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.commands import KEY_S, Buy, Cancel, Command, Confirm, Hold, Resize, Sweep
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
from service.rules import Decision, Page, Used, decide
from service.stores.pages import SWEEP_TICKETS_MAX
from service.values import Event, Order
from tests.box_office import BoxOffice
from tests.counter import NOW
from tests.scripts import CAPACITY_MAX, EVENT, STEPS, Step, Wait, commands

SCRIPTS = st.lists(STEPS, max_size=40)


@dataclass
class Paper:
    """A store on paper: the pages of one event, made from all its orders, and what is written on them."""

    event: Event
    orders: dict[str, Order] = field(default_factory=dict)
    used: dict[str, Used] = field(default_factory=dict)

    def page(self, command: Command) -> Page:
        """Return what a command touches, and no more than a page is said to have."""
        taken = {ticket for order in self.live for ticket in order.tickets}
        free = tuple(ticket for ticket in range(1, self.event.capacity + 1) if ticket not in taken)
        page = Page(self.event, used=self.used.get(command.key or ""))
        match command:
            case Buy(quantity=quantity) | Hold(quantity=quantity):
                holds = self._holds(quantity - self.event.count)
                return replace(page, free=free[:quantity], holds=holds)
            case Confirm(order=order) | Cancel(order=order):
                return replace(page, order=self.orders.get(order))
            case Sweep():
                return replace(page, holds=self._holds(SWEEP_TICKETS_MAX))
            case Resize():
                holds = self._holds(SWEEP_TICKETS_MAX)
                ends = {ticket for hold in holds for ticket in hold.tickets}
                return replace(page, highest=max(taken - ends, default=0), holds=holds)

    def write(self, page: Page) -> None:
        """Keep what is new on a page."""
        assert page.event is not None
        self.event = page.event
        self.orders |= {change.id: change for change in page.changes if isinstance(change, Order)}
        if page.used:
            self.used[page.used.key] = page.used

    @property
    def live(self) -> list[Order]:
        """The orders that own their tickets."""
        return [order for order in self.orders.values() if order.status in {"sold", "held"}]

    def _holds(self, tickets: int) -> tuple[Order, ...]:
        held = [(order.expires_at or 0, order.id) for order in self.live if order.status == "held"]
        chosen: list[Order] = []
        for _, order in sorted(held):
            if sum(hold.quantity for hold in chosen) < tickets:
                chosen.append(self.orders[order])
        return tuple(chosen)

    def do(self, command: Command, now: float) -> tuple[Decision, Page]:
        """Decide, write, and return the decision with the page that it was made on."""
        page = self.page(command)
        decision = decide(page, command, now)
        if decision.page != page:
            self.write(decision.page)
        return decision, page


def paper(capacity: int = 10) -> Paper:
    return Paper(Event(EVENT, capacity, capacity))


@settings(max_examples=400)
@given(capacity=st.integers(0, CAPACITY_MAX), script=SCRIPTS)
def test_every_reply_and_every_change_is_that_of_the_box_office(capacity: int, script: list[Step]) -> None:
    """Whatever is asked for, in whatever order and at whatever time: same replies, same changes, same counters."""
    store, office, now = paper(capacity), BoxOffice(EVENT, capacity), NOW
    for command in commands(script, itertools.count()):
        if isinstance(command, Wait):
            now += command.seconds
            continue
        before = len(office.history)
        decision, _ = store.do(command, now)
        assert decision.reply == office.do(command, now)
        assert list(decision.page.changes) == office.history[before:]
        assert store.event == office.event
        assert store.orders == office.orders


@settings(max_examples=400)
@given(capacity=st.integers(0, CAPACITY_MAX), script=SCRIPTS)
def test_the_law_that_everything_else_serves(capacity: int, script: list[Step]) -> None:
    """``0 <= count <= capacity``, a ticket has one owner and lies within the capacity, what is owned and what is left
    make the capacity, ``version`` rises by exactly one with every change, and a refusal changes nothing of its own.
    """
    store, now = paper(capacity), NOW
    for command in commands(script, itertools.count()):
        if isinstance(command, Wait):
            now += command.seconds
            continue
        before = store.event.version
        decision, page = store.do(command, now)
        changes = decision.page.changes
        assert [change.version for change in changes] == list(range(before + 1, store.event.version + 1))
        owned = [ticket for order in store.live for ticket in order.tickets]
        assert len(set(owned)) == len(owned)
        assert set(owned) <= set(range(1, store.event.capacity + 1))
        assert len(owned) + store.event.count == store.event.capacity
        assert 0 <= store.event.count <= store.event.capacity
        if isinstance(decision.reply, SoldOut | HoldExpired | OrderCancelled | CapacityTaken | KeyReused | NoSuchOrder):
            assert all(isinstance(change, Order) and change.status == "expired" for change in changes)
        if not changes and not decision.page.used:
            assert decision.page is page


def sold(store: Paper, command: Command, now: float = NOW) -> Order:
    """Place an order, and return it."""
    reply = store.do(command, now)[0].reply
    assert isinstance(reply, Sold | Held)
    return reply.order


def asked(store: Paper, command: Command, now: float = NOW) -> Reply:
    return store.do(command, now)[0].reply


def test_refusal_is_right_only_when_fewer_are_left_than_asked() -> None:
    """All or nothing is refused when short; ``partial`` only when nothing is left."""
    short = Page(Event("e", 5, 2, 1), free=(4, 5))
    none = Page(Event("e", 5, 0, 2))
    assert isinstance(decide(short, Buy("o", "e", 3), NOW).reply, SoldOut)
    assert isinstance(decide(short, Buy("o", "e", 3, partial=True), NOW).reply, Sold)
    assert isinstance(decide(short, Buy("o", "e", 2), NOW).reply, Sold)
    assert isinstance(decide(none, Buy("o", "e", 1, partial=True), NOW).reply, SoldOut)


def test_unknown_event_is_said_to_be_unknown() -> None:
    """A page without an event answers with the name that was asked for, whatever was asked for it."""
    for command in (Buy("o", "nowhere", 1, key="k"), Confirm("o", "nowhere"), Resize("nowhere", 3), Sweep("nowhere")):
        page = Page(None)
        decision = decide(page, command, NOW)
        assert decision.reply == NoSuchEvent("nowhere")
        assert decision.page is page


@pytest.mark.parametrize(("late_s", "in_time"), [(-0.001, True), (0.0, False), (0.001, False)])
def test_a_hold_is_over_from_the_moment_it_says(late_s: float, *, in_time: bool) -> None:
    """``expires_at <= now`` is over, exactly: for who confirms, who cancels, who sweeps, and who wants the tickets."""
    moment = NOW + 60 + late_s
    for command in (Confirm("h", EVENT), Cancel("h", EVENT)):
        store = paper(3)
        sold(store, Hold("h", EVENT, 3, 60.0))
        assert isinstance(asked(store, command, moment), Confirmed | Cancelled) == in_time
        assert isinstance(asked(store, command, moment), HoldExpired) != in_time
    store = paper(3)
    sold(store, Hold("h", EVENT, 3, 60.0))
    assert asked(store, Sweep(EVENT), moment) == Swept(store.event, 0 if in_time else 1)
    store = paper(3)
    sold(store, Hold("h", EVENT, 3, 60.0))
    assert isinstance(asked(store, Buy("b", EVENT, 1), moment), SoldOut) == in_time


def test_of_a_confirmation_and_the_end_exactly_one_wins() -> None:
    """Whichever is decided first, at the very same moment too: the other finds it so, for ever."""
    for confirmed_first in (True, False):
        store = paper(3)
        sold(store, Hold("h", EVENT, 3, 60.0))
        moment = NOW + 60 - (0.001 if confirmed_first else 0)
        confirmation = asked(store, Confirm("h", EVENT), moment)
        taker = asked(store, Buy("b", EVENT, 3), NOW + 60)
        assert isinstance(confirmation, Confirmed) == confirmed_first
        assert isinstance(taker, Sold) != confirmed_first
        again = asked(store, Confirm("h", EVENT), NOW + 61)
        assert isinstance(again, Confirmed) == confirmed_first
        assert isinstance(again, HoldExpired) != confirmed_first


def test_the_tickets_of_a_hold_that_is_over_are_sold_in_the_same_decision() -> None:
    """Its end is a change of its own, before the sale's; no more holds are ended than the order needs."""
    store = paper(6)
    first, second = (sold(store, Hold(name, EVENT, 3, ttl)) for name, ttl in (("late", 60.0), ("soon", 30.0)))
    decision, _ = store.do(Buy("b", EVENT, 2), NOW + 60)
    ended, bought = decision.page.changes
    assert isinstance(ended, Order)
    assert isinstance(bought, Order)
    assert (ended.id, ended.status, ended.version, ended.count) == (second.id, "expired", 3, 3)
    assert (bought.tickets, bought.version, bought.count) == (second.tickets[:2], 4, 1)
    assert store.orders[first.id].status == "held"


def test_a_second_cancellation_has_the_same_answer() -> None:
    """Also after its tickets were sold again; the new owner keeps them."""
    store = paper(3)
    sold(store, Buy("o", EVENT, 3))
    first = asked(store, Cancel("o", EVENT))
    again = sold(store, Buy("p", EVENT, 3))
    version = store.event.version
    assert asked(store, Cancel("o", EVENT), NOW + 9) == first
    assert store.event.version == version
    assert store.orders["p"] == again
    assert asked(store, Confirm("o", EVENT)) == OrderCancelled(store.event, "o")


def test_a_key_has_the_very_first_answer_until_its_time_is_over() -> None:
    """The first reply whatever has happened since, another command is told so; one day later the key is a new one."""
    store = paper(4)
    command = Buy("o", EVENT, 2, key="k")
    first = asked(store, command)
    sold(store, Buy("x", EVENT, 2))
    for again in (command, replace(command, order="p")):
        assert asked(store, again, NOW + KEY_S) == first
    for other in (replace(command, quantity=1), Hold("o", EVENT, 2, 60.0, key="k"), Cancel("o", EVENT, "k")):
        decision, page = store.do(other, NOW + KEY_S)
        assert decision.reply == KeyReused(store.event)
        assert decision.page is page
    late = NOW + KEY_S + 0.001
    assert asked(store, replace(command, order="p"), late) == SoldOut(store.event, 2)
    asked(store, Cancel("x", EVENT), late)
    assert asked(store, replace(command, order="q"), late) == SoldOut(Event(EVENT, 4, 0, 2), 2)


def test_refusals_are_remembered_and_what_was_not_found_is_not() -> None:
    """Nothing is known of an order that there is not, so the key is free for when there is one."""
    store = paper(1)
    refused = asked(store, Buy("o", EVENT, 2, key="k"))
    assert refused == SoldOut(Event(EVENT, 1, 1, 0), 2)
    asked(store, Resize(EVENT, 9))
    assert asked(store, Buy("p", EVENT, 2, key="k")) == refused
    assert asked(store, Confirm("o", EVENT, "l")) == NoSuchOrder("o")
    sold(store, Hold("o", EVENT, 1, 60.0))
    assert isinstance(asked(store, Confirm("o", EVENT, "l")), Confirmed)


def test_the_capacity_goes_down_to_the_highest_ticket_that_is_taken() -> None:
    """A ticket is a number from 1 to the capacity: free ones below a taken one do not help."""
    store = paper(10)
    sold(store, Buy("o", EVENT, 2))
    sold(store, Buy("p", EVENT, 2))
    asked(store, Cancel("o", EVENT))
    assert asked(store, Resize(EVENT, 3)) == CapacityTaken(store.event, 4)
    assert asked(store, Resize(EVENT, 4)) == Sized(Event(EVENT, 4, 2, 4))
    assert asked(store, Resize(EVENT, 4)) == Sized(Event(EVENT, 4, 2, 4))
    assert asked(store, Resize(EVENT, 6)) == Sized(Event(EVENT, 6, 4, 5))
    assert sold(store, Buy("q", EVENT, 4)).tickets == (1, 2, 5, 6)


def test_a_hold_that_has_ended_does_not_keep_the_capacity_up() -> None:
    """Nor does it wait for a sweeper; one that lives does, also at its last moment."""
    store = paper(5)
    sold(store, Buy("o", EVENT, 1))
    sold(store, Hold("h", EVENT, 4, 10.0))
    assert asked(store, Resize(EVENT, 1), NOW + 9.9) == CapacityTaken(Event(EVENT, 5, 0, 2), 5)
    assert asked(store, Resize(EVENT, 0), NOW + 10.0) == CapacityTaken(Event(EVENT, 5, 4, 3), 1)
    assert asked(store, Resize(EVENT, 1), NOW + 10.0) == Sized(Event(EVENT, 1, 0, 4))
