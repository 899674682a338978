"""The booking rule, alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.commands import Buy
from service.outcomes import NoSuchEvent, Sold, SoldOut
from service.rules import Page, decide
from service.values import Event

QUANTITIES = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=30)


@given(capacity=st.integers(0, 60), asked=QUANTITIES)
def test_every_ticket_has_one_owner_and_none_is_lost(capacity: int, asked: list[tuple[int, bool]]) -> None:
    """Whatever is asked for: tickets sold are distinct, within 1..capacity, and with those left make the capacity."""
    page = Page(Event("e", capacity, capacity))
    owned: list[int] = []
    for number, (quantity, partial) in enumerate(asked):
        decision = decide(page, Buy(str(number), "e", quantity, partial), now=1.0)
        match decision.reply:
            case Sold(order):
                assert len(order.tickets) == order.quantity <= quantity
                assert order.quantity == quantity or partial
                owned += order.tickets
            case reply:
                assert isinstance(reply, SoldOut)
                assert decision.page is page
        page = Page(decision.page.event)
    event = page.event
    assert event is not None
    assert len(set(owned)) == len(owned)
    assert set(owned) <= set(range(1, capacity + 1))
    assert len(owned) + event.count == capacity


@given(capacity=st.integers(0, 60), asked=QUANTITIES)
def test_version_rises_by_one_with_every_sale_and_by_none_with_a_refusal(
    capacity: int, asked: list[tuple[int, bool]]
) -> None:
    """The order states the very version and count that its own change made."""
    event = Event("e", capacity, capacity)
    for number, (quantity, partial) in enumerate(asked):
        decision = decide(Page(event), Buy(str(number), "e", quantity, partial), now=1.0)
        after = decision.page.event
        assert after is not None
        if isinstance(decision.reply, Sold):
            assert after.version == event.version + 1 == decision.reply.order.version
            assert after.count == decision.reply.order.count
        else:
            assert after == event
        event = after


def test_refusal_is_right_only_when_fewer_are_left_than_asked() -> None:
    """All or nothing is refused when short; ``partial`` only when nothing is left."""
    short, none = Page(Event("e", 5, 2, 1)), Page(Event("e", 5, 0, 2))
    assert isinstance(decide(short, Buy("o", "e", 3), 1.0).reply, SoldOut)
    assert isinstance(decide(short, Buy("o", "e", 3, partial=True), 1.0).reply, Sold)
    assert isinstance(decide(short, Buy("o", "e", 2), 1.0).reply, Sold)
    assert isinstance(decide(none, Buy("o", "e", 1, partial=True), 1.0).reply, SoldOut)


def test_unknown_event_is_said_to_be_unknown() -> None:
    """A page without an event answers with the name that was asked for."""
    assert decide(Page(None), Buy("o", "nowhere", 1), 1.0).reply == NoSuchEvent("nowhere")
