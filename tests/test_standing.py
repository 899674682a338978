"""How an event stands after a line, and which lines do not follow."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from service.mode import Damaged
from service.outcomes import (
    SoldOut,
)
from service.rules import Page, Used
from service.stores.fencing import DoesNotFollow
from service.stores.journal import beginning, opening
from service.stores.lines import carried, lines_of
from service.stores.sealed import seal, unseal
from service.stores.standing import Standing, begun
from service.values import Event, Order, Resized
from tests.counter import NOW

Line = dict[str, Any]


def order(name: str, status: Any, tickets: tuple[int, ...], count: int, version: int, ends: float | None) -> Line:  # noqa: ANN401  # a Status
    made = Order(name, "e", status, len(tickets), tickets, count, version, NOW, None, ends)
    return unseal(lines_of(Page(Event("e", 10, count, version), changes=(made,))))


def standing() -> Standing:
    """Return an event of which a sale, a hold, and a sale that was cancelled are on record: 3, 4, 9, 10 are free."""
    at = begun(opening(Event("e", 10, 10)))
    for line in (
        order("s", "sold", (1, 2), 8, 1, None),
        order("c", "sold", (3, 4), 6, 2, None),
        order("h", "held", (5, 6, 7, 8), 2, 3, NOW + 60),
        order("c", "cancelled", (3, 4), 4, 4, None),
    ):
        at.follow(line)
    return at


def state(at: Standing) -> object:
    """Return all that there is to know of how an event stands."""
    return (
        at.event,
        at.since,
        at.free.capacity,
        at.free.given,
        at.free.runs(),
        deepcopy(at.holds),
        set(at.held),
        at.ends,
    )


FOLLOWS: dict[str, Line] = {
    "a sale": order("n", "sold", (3,), 3, 5, None),
    "a sale of others than the lowest": order("n", "sold", (10, 4), 2, 5, None),
    "a hold": order("n", "held", (3, 4), 2, 5, NOW + 5),
    "a confirmation": order("h", "sold", (5, 6, 7, 8), 4, 5, NOW + 60),
    "the end of a hold": order("h", "expired", (5, 6, 7, 8), 8, 5, NOW + 60),
    "a hold cancelled": order("h", "cancelled", (5, 6, 7, 8), 8, 5, NOW + 60),
    "a sale cancelled": order("s", "cancelled", (1, 2), 6, 5, None),
    "a higher capacity": unseal(lines_of(Page(Event("e", 12, 6, 5), changes=(Resized("e", 12, 6, 5, NOW),)))),
    "the lowest capacity": unseal(lines_of(Page(Event("e", 8, 2, 5), changes=(Resized("e", 8, 2, 5, NOW),)))),
}

SALE, HOLD, END = FOLLOWS["a sale"], FOLLOWS["a hold"], FOLLOWS["the end of a hold"]
BACK, SIZE = FOLLOWS["a sale cancelled"], FOLLOWS["the lowest capacity"]

DOES_NOT: dict[str, tuple[Line, str]] = {
    "another event": (SALE | {"event": "f"}, "belongs to the event 'f'"),
    "the version there is": (SALE | {"version": 4}, "comes twice"),
    "a version too far": (SALE | {"version": 6}, "too early"),
    "no version": ({name: value for name, value in SALE.items() if name != "version"}, "a member is missing"),
    "no tickets": ({name: value for name, value in SALE.items() if name != "tickets"}, "a member is missing"),
    "a number for tickets": (SALE | {"tickets": 3}, "of the wrong kind"),
    "a text for the count": (SALE | {"count": "3"}, "are said to be left"),
    "a wrong count": (SALE | {"count": 2}, "are said to be left"),
    "a ticket sold": (SALE | {"tickets": [1]}, "not all free"),
    "a ticket held": (SALE | {"tickets": [5]}, "not all free"),
    "a ticket there is not": (SALE | {"tickets": [11]}, "not all free"),
    "ticket zero": (SALE | {"tickets": [0]}, "not all free"),
    "true for a ticket": (SALE | {"tickets": [True]}, "not all free"),
    "one ticket twice": (SALE | {"tickets": [3, 3], "quantity": 2, "count": 2}, "were sold"),
    "more tickets than it says": (SALE | {"tickets": [3, 4]}, "were sold"),
    "nothing sold": (SALE | {"tickets": [], "quantity": 0, "count": 4}, "were sold"),
    "more than there are": (SALE | {"tickets": [3, 4, 9, 10, 11], "quantity": 5, "count": -1}, "were sold"),
    "a hold without an end": ({name: value for name, value in HOLD.items() if name != "expires_at"}, "was not held"),
    "a confirmation of no hold": (FOLLOWS["a confirmation"] | {"order": "n"}, "was not held"),
    "a confirmation with other tickets": (FOLLOWS["a confirmation"] | {"tickets": [1, 6, 7, 8]}, "not those that were"),
    "a confirmation that frees": (FOLLOWS["a confirmation"] | {"count": 8}, "are said to be left"),
    "the end of no hold": (END | {"order": "n"}, "was not held"),
    "an end that frees nothing": (END | {"count": 4}, "are said to be left"),
    "an end with other tickets": (END | {"tickets": [1, 2, 5, 6]}, "not those that were held"),
    "tickets back that are free": (BACK | {"tickets": [3, 4]}, "not all taken"),
    "tickets back never given": (BACK | {"tickets": [1, 9]}, "not all taken"),
    "a capacity below a taken ticket": (SIZE | {"capacity": 7, "count": 1}, "the capacity cannot be 7"),
    "a capacity above the highest": (SIZE | {"capacity": 10_000_001, "count": 9_999_995}, "the capacity cannot be"),
    "a capacity and a wrong count": (SIZE | {"count": 3}, "the capacity cannot be 8"),
    "an answer of another version": (
        unseal(lines_of(Page(Event("e", 10, 4, 5), used=Used("0" * 32, "a", SoldOut(Event("e", 10, 4, 5), 9), NOW)))),
        "too early",
    ),
    "a hold carried in the middle": (
        unseal(carried(Order("x", "e", "held", 1, (1,), 3, 4, NOW, None, NOW + 9), 4)),
        "cannot have been there",
    ),
}


@pytest.mark.parametrize("kind", FOLLOWS)
def test_a_line_that_follows_is_followed(kind: str) -> None:
    """Its version and count are the event's from then on, and its tickets are taken or free."""
    at, line = standing(), FOLLOWS[kind]
    at.follow(line)
    assert (at.event.version, at.event.count) == (5, line["count"])
    free = [ticket for ticket in range(1, 14) if ticket in at.free]
    assert len(free) == at.event.count
    if "order" in line:
        assert all((ticket in free) == (line["status"] in {"cancelled", "expired"}) for ticket in line["tickets"])
        assert (line["order"] in at.holds) == (line["status"] == "held")
    assert at.held == {ticket for hold in at.holds.values() for ticket in hold.tickets}


@pytest.mark.parametrize("kind", DOES_NOT)
def test_a_line_that_does_not_follow_is_refused_and_changes_nothing(kind: str) -> None:
    """Each kind of it: what stands is as before, to the last ticket, and the next right line is followed."""
    at, (line, sentence) = standing(), DOES_NOT[kind]
    before = state(at)
    with pytest.raises(DoesNotFollow, match=sentence):
        at.follow(line)
    assert state(at) == before
    at.follow(SALE)


def test_an_event_that_goes_on_in_a_new_journal_stands_as_before() -> None:
    """Counters, free tickets and holds: from the first lines of the journal that begins there."""
    at = standing()
    first, *more = beginning(at).splitlines(keepends=True)
    again = begun(first, "e")
    for line in more:
        again.follow(unseal(line))
    assert state(again) == (at.event, at.next_since, *state(at)[2:])  # type: ignore[index]
    with pytest.raises(DoesNotFollow, match="cannot have been there"):  # twice
        again.follow(unseal(more[0]))
    again.follow(SALE)
    with pytest.raises(DoesNotFollow, match="cannot have been there"):  # too late
        again.follow(unseal(carried(Order("x", "e", "held", 1, (1,), 3, 4, NOW, None, NOW + 9), 4)))


def test_every_journal_is_told_from_the_one_before() -> None:
    """By the version that it begins with; where nothing was changed in between, by the next number."""
    at, told = standing(), []
    for change in (None, SALE, None, None):
        if change:
            at.follow(change)
        first, *more = beginning(at).splitlines(keepends=True)
        at = begun(first)
        for line in more:
            at.follow(unseal(line))
        told.append(at.since)
    assert told == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        ({"capacity": 9}, "which is no beginning"),
        ({"count": 11}, "which is no beginning"),
        ({"status": "sold"}, "which is no beginning"),
        ({"version": 1}, "which is no beginning"),
        ({"status": "continued"}, "which is no beginning"),
        ({"capacity": "10"}, "which is no beginning"),
        ({"capacity": 10_000_001, "count": 10_000_001}, "which is no beginning"),
        ({"event": "f"}, "belongs to the event 'f'"),
        ({"since": -1}, "begins after -1"),
        ({"since": "1"}, "begins after '1'"),
        ({"version": 3, "status": "continued", "count": None}, "of the wrong kind"),
    ],
)
def test_what_is_no_beginning_is_refused(first: Line, sentence: str) -> None:
    """A journal begins with all tickets, or goes on from a version."""
    line = unseal(opening(Event("e", 10, 10)))
    line.pop("crc", None)
    with pytest.raises(Damaged, match=sentence):
        begun(seal({name: value for name, value in (line | first).items() if name != "at"}), "e")


def test_the_holds_that_end_first_come_first() -> None:
    """As many as bring so many tickets, and all where there are fewer; one that was confirmed is none."""
    at = begun(opening(Event("e", 10, 10)))
    for number, ttl in enumerate((30, 10, 20), 1):
        ends = NOW + ttl
        at.follow(order(f"h{number}", "held", (2 * number - 1, 2 * number), 10 - 2 * number, number, ends))
    assert [hold.id for hold in at.first_to_end(3)] == ["h2", "h3"]
    assert [hold.id for hold in at.first_to_end(99)] == ["h2", "h3", "h1"]
    assert at.first_to_end(0) == ()
    assert at.ends == NOW + 10
    at.follow(order("h2", "sold", (3, 4), 4, 4, NOW + 10))
    assert [hold.id for hold in at.first_to_end(1)] == ["h3"]
    at.follow(order("h3", "cancelled", (5, 6), 6, 5, NOW + 20))
    at.follow(order("h1", "expired", (1, 2), 8, 6, NOW + 30))
    assert at.first_to_end(1) == ()
    assert at.ends is None
