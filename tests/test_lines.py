"""The lines of a journal: what is read from them is what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.commands import key_of
from service.outcomes import (
    Cancelled,
    CapacityTaken,
    Confirmed,
    Held,
    HoldExpired,
    OrderCancelled,
    Reply,
    Sized,
    Sold,
    SoldOut,
)
from service.rules import Page, Used
from service.stores.lines import carried, change_of, lines_of, order_of, used_of
from service.stores.sealed import unseal
from service.values import Event, Order, Resized

TIMES = st.floats(0, 1e10, allow_nan=False)
TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ORDERS = st.builds(
    Order,
    id=st.sampled_from(["0" * 32, "f" * 32]),
    event=st.just("e"),
    status=st.sampled_from(["sold", "held", "cancelled", "expired"]),
    quantity=st.integers(1, 100),
    tickets=st.lists(st.integers(1, 10_000_000), min_size=1, max_size=100).map(tuple),
    count=st.integers(0, 10_000_000),
    version=st.integers(1, 10**15),
    at=TIMES,
    buyer=TEXT,
    expires_at=st.none() | TIMES,
)
EVENT = Event("e", 10, 3, 7)
REPLIES = st.one_of(
    st.builds(Sold, ORDERS),
    st.builds(Held, ORDERS),
    st.builds(Confirmed, ORDERS),
    st.builds(Cancelled, ORDERS),
    st.builds(SoldOut, st.just(EVENT), st.integers(1, 100)),
    st.builds(HoldExpired, st.just(EVENT), st.just("0" * 32)),
    st.builds(OrderCancelled, st.just(EVENT), st.just("0" * 32)),
    st.builds(Sized, st.just(EVENT)),
    st.builds(CapacityTaken, st.just(EVENT), st.integers(0, 100)),
)
KEY = key_of("e", "k")
FENCES = st.none() | st.integers(0, 10**9)


@given(changes=st.lists(ORDERS | st.builds(Resized, st.just("e"), *[st.integers(0, 99)] * 3, TIMES), min_size=1))
def test_changes_are_read_as_they_were_written(changes: list[Order | Resized]) -> None:
    """A line each, in their order, with whatever a buyer is called; a fence is on each of them."""
    for fence in (None, 7):
        lines = [
            unseal(line) for line in lines_of(Page(EVENT, changes=tuple(changes)), fence).splitlines(keepends=True)
        ]
        assert [change_of(line) for line in lines] == changes
        assert [line.get("fence") for line in lines] == [fence] * len(changes)


@given(reply=REPLIES, at=TIMES, fence=FENCES)
def test_an_answer_without_a_change_is_read_as_it_was_written(reply: Reply, at: float, fence: int | None) -> None:
    """On a line of its own, with the version there is."""
    used = Used(KEY, "digest", reply, at)
    (line,) = lines_of(Page(EVENT, used=used), fence).splitlines(keepends=True)
    values = unseal(line)
    assert (values["status"], values["version"], values.get("fence")) == ("noted", 7, fence)
    assert used_of(values) == used


@given(kind=st.sampled_from([Sold, Held, Confirmed, Cancelled]), made=ORDERS, before=st.lists(ORDERS, max_size=2))
def test_an_answer_stands_on_the_line_of_its_change(
    kind: type[Sold | Held | Confirmed | Cancelled], made: Order, before: list[Order]
) -> None:
    """One line, one write: what the key was used for is read from the change itself; what ended before has no key."""
    used = Used(KEY, "digest", kind(made), made.at)
    lines = lines_of(Page(EVENT, used=used, changes=(*before, made))).splitlines(keepends=True)
    *others, last = map(unseal, lines)
    assert [order_of(line) for line in (*others, last)] == [*before, made]
    assert used_of(last) == used
    assert not any("key" in line for line in others)


@given(hold=ORDERS, version=st.integers(1, 10**15))
def test_a_hold_that_is_carried_is_the_same_order(hold: Order, version: int) -> None:
    """With the version and the count that it was made with, whatever the version of its new journal."""
    line = unseal(carried(hold, version))
    assert line["version"] == version
    assert order_of(line) == hold


def test_a_page_with_nothing_new_is_not_written() -> None:
    """It would be a line that says nothing."""
    with pytest.raises(ValueError, match="only a page with a change"):
        lines_of(Page(EVENT))
