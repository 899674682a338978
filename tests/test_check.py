"""The checker: silent on a right history, and it finds each planted fault and calls it by its name.

Histories are written by hand. A line is: who, from when to when, what they were told.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from loadtest.check import Start, check
from loadtest.history import Change, Operation
from tests.planted import OF_HISTORIES

if TYPE_CHECKING:
    from loadtest.findings import Anomaly
    from loadtest.history import Outcome


@dataclass
class Written:
    """A history under way: what clients saw, and what the journal holds."""

    capacity: int = 10
    operations: list[Operation] = field(default_factory=list)
    journal: list[Change] = field(default_factory=list)

    def sold(self, name: str, when: tuple[int, int], version: int, tickets: range, count: int) -> Operation:
        """Add a sale that was acknowledged and recorded."""
        told = Operation(
            "buy", name, 0, when[0], when[0], when[1], "done", 201, len(tickets), version=version, count=count,
            tickets=tuple(tickets), order=f"order of {name}",
        )  # fmt: skip
        self.operations.append(told)
        self.record(told, name)
        return told

    def record(self, told: Operation, buyer: str) -> None:
        """Add what the journal holds of a sale."""
        assert told.version is not None
        assert told.count is not None
        self.journal.append(Change(told.version, told.order, buyer, told.tickets, told.count))

    def saw(self, name: str, when: tuple[int, int], version: int, count: int) -> None:
        """Add a look."""
        look = Operation("look", name, 0, when[0], when[0], when[1], "done", 200, version=version, count=count)
        self.operations.append(look)

    def refused(self, name: str, when: tuple[int, int], version: int, count: int, quantity: int) -> None:
        """Add a refusal."""
        self.operations.append(
            Operation("buy", name, 0, when[0], when[0], when[1], "refused", 409, quantity, version=version, count=count)
        )

    def lost(self, name: str, when: tuple[int, int], outcome: Outcome, quantity: int = 1) -> None:
        """Add a purchase whose reply never came, or that was certainly not done."""
        self.operations.append(Operation("buy", name, 0, when[0], when[0], when[1], outcome, 0, quantity))

    def found(self, left: int | None = None, *, journal: bool = True) -> dict[Anomaly, int]:
        """Check it, with a last look that sees ``left`` at the last version."""
        last = None
        if left is not None:
            version = max((change.version for change in self.journal), default=0)
            last = Operation("look", "last", 0, 99, 99, 100, "done", 200, version=version, count=left)
        start = Start(self.capacity, self.capacity)
        checked = check(self.operations, self.journal if journal else None, start, last)
        return {finding.anomaly: finding.times for finding in checked.findings}


def right() -> Written:
    """A right history: two that overlap, a look between, a refusal, a look before everything."""
    history = Written()
    history.saw("early", (0, 1), 0, 10)
    history.sold("ann", (2, 8), 2, range(4, 8), 3)
    history.sold("bob", (3, 6), 1, range(1, 4), 7)
    history.saw("between", (4, 9), 1, 7)
    history.refused("cy", (10, 12), 2, 3, 4)
    return history


def test_a_right_history_has_no_findings() -> None:
    """With the journal and without it."""
    assert right().found(left=3) == {}
    assert right().found(left=3, journal=False) == {}


def test_two_changes_with_one_version_are_a_lost_update_and_a_double_sale() -> None:
    """Both read version 1 and wrote 2: one update is gone, and tickets have two owners."""
    history = right()
    history.sold("dan", (5, 9), 2, range(4, 6), 5)
    found = history.found(left=3)
    assert found["lost update"] == 1
    assert found["double sale"] == 2
    assert found["miscount"] == 1


def test_buyers_who_are_told_one_order_are_each_named() -> None:
    """A service that names an order by its ticket: the witnesses say who had it, and not the last of them twice."""
    history = Written()
    ann = history.sold("ann", (0, 5), 1, range(1, 2), 9)
    history.sold("bob", (1, 4), 1, range(1, 2), 9)
    history.operations[1] = replace(history.operations[1], order=ann.order)
    checked = check(history.operations, None, Start(10, 10))
    witnesses = {finding.anomaly: finding.first for finding in checked.findings}
    assert witnesses["double sale"].sentence == "ticket 1 was sold to ann, to bob"
    assert witnesses["double sale"].operations == ("ann", "bob")
    assert witnesses["double effect"].operations == ("ann", "bob")
    assert witnesses["double effect"].sentence == (
        "bob got order of ann at version 1, tickets 1: the same order was sold before, at version 1, tickets 1 (ann)"
    )


def test_an_order_that_was_told_twice_and_is_cancelled_is_nobodys() -> None:
    """Whoever buys its ticket then is no second owner."""
    history = Written()
    ann = history.sold("ann", (0, 5), 1, range(1, 2), 9)
    history.sold("bob", (1, 4), 2, range(2, 3), 8)
    history.operations[1] = replace(history.operations[1], order=ann.order)
    history.operations.append(replace(ann, kind="cancel", name="ann cancel", called=6, returned=7, version=3, count=9))
    history.sold("cy", (8, 9), 4, range(1, 2), 8)
    assert "double sale" not in history.found(journal=False)


def test_a_lost_update_that_oversells_nothing_is_found_all_the_same() -> None:
    """The oversold count alone is not enough: here 4 of 10 tickets are sold, to two people each two."""
    history = Written()
    history.sold("ann", (0, 5), 1, range(1, 3), 8)
    history.sold("bob", (1, 4), 1, range(1, 3), 8)
    found = history.found(left=8)
    assert found["lost update"] == 1
    assert found["double sale"] == 2
    assert "oversell" not in found


def test_more_sold_than_there_were_is_an_oversell() -> None:
    """Counted in tickets."""
    history = Written(capacity=3)
    history.sold("ann", (0, 5), 1, range(1, 4), 0)
    history.sold("bob", (1, 4), 1, range(1, 3), 1)
    assert history.found()["oversell"] == 2


def test_a_refusal_while_tickets_were_there_is_an_undersell() -> None:
    """Refused 3 when 3 were left; and with ``partial``, refused when one was left."""
    history = right()
    history.refused("dan", (20, 21), 2, 3, 3)
    assert history.found(left=3) == {"undersell": 1}
    history.operations[-1] = replace(history.operations[-1], quantity=9, partial=True)
    assert history.found(left=3) == {"undersell": 1}


def test_an_acknowledged_order_that_the_journal_lacks_is_a_phantom() -> None:
    """Told that it was sold, and nothing is written."""
    history = right()
    history.sold("dan", (20, 21), 3, range(8, 9), 2)
    history.journal.pop()
    assert history.found(left=3)["phantom order"] == 1


def test_a_recorded_order_that_was_certainly_not_done_is_a_ghost() -> None:
    """Refused, or busy, or never sent, and yet in the journal."""
    history = right()
    told = history.sold("dan", (20, 21), 3, range(8, 9), 2)
    history.operations[-1] = replace(told, outcome="not done", version=None, tickets=(), order="")
    assert history.found(left=2)["ghost order"] == 1


def test_a_recorded_order_that_nobody_asked_for_is_a_ghost() -> None:
    """Somebody wrote what nobody ordered."""
    history = right()
    told = history.sold("dan", (20, 21), 3, range(8, 9), 2)
    history.operations.remove(told)
    assert history.found(left=2)["ghost order"] == 1


def test_one_purchase_recorded_twice_is_a_double_effect() -> None:
    """A hidden retry: acknowledged once, sold twice."""
    history = right()
    told = history.sold("dan", (20, 21), 3, range(8, 9), 2)
    history.record(replace(told, version=4, tickets=(9,), count=1, order="another"), "dan")
    assert history.found(left=1) == {"double effect": 1}


def test_a_gap_in_the_versions_is_found() -> None:
    """Somebody changed the count, and neither a reply nor the journal says who."""
    history = right()
    history.sold("dan", (20, 21), 4, range(9, 10), 1)
    assert history.found(left=1)["missing version"] == 1


def test_an_unknown_outcome_may_have_happened_or_not() -> None:
    """A reply that never came explains a version, by its name in the journal or by its number; or nothing at all."""
    history = right()
    history.lost("dan", (13, 14), "unknown")
    assert history.found(left=3) == {}
    history.record(Operation("buy", "dan", 0, 0, 0, 0, "done", version=3, count=2, tickets=(8,), order="o"), "dan")
    assert history.found(left=2) == {}
    history.sold("eve", (20, 21), 4, range(9, 10), 1)
    assert history.found(left=1) == {}
    assert history.found(left=1, journal=False) == {}


def test_an_unknown_outcome_cannot_explain_what_came_before_it_was_called() -> None:
    """Its version was seen by one who had returned before it was called."""
    history = right()
    history.lost("dan", (30, 31), "unknown")
    history.record(Operation("buy", "dan", 0, 0, 0, 0, "done", version=3, count=2, tickets=(8,), order="o"), "dan")
    history.saw("eve", (20, 21), 3, 2)
    assert history.found(left=2) == {"reordered": 1}


def test_real_time_is_respected() -> None:
    """Version 3 returned before version 2 was called: no order of the two explains both."""
    history = Written()
    history.sold("ann", (0, 1), 1, range(1, 2), 9)
    history.sold("bob", (10, 11), 2, range(2, 3), 8)
    history.sold("cy", (4, 5), 3, range(3, 4), 7)
    assert history.found(left=7) == {"reordered": 1}


def test_a_look_at_what_was_over_is_a_stale_read() -> None:
    """Called after version 1 was acknowledged, and saw version 0."""
    history = Written()
    history.sold("ann", (0, 1), 1, range(1, 2), 9)
    history.saw("bob", (5, 6), 0, 10)
    assert history.found(left=9) == {"stale read": 1}


def test_a_stale_refusal_is_found_as_a_stale_read() -> None:
    """Sold out from a cache: the version it states was over before it was called."""
    history = Written(capacity=4)
    history.refused("ann", (0, 1), 0, 4, 5)
    history.sold("bob", (2, 3), 1, range(1, 3), 2)
    history.refused("cy", (6, 7), 0, 4, 5)
    assert history.found(left=2) == {"stale read": 1}


def test_a_count_that_does_not_follow_is_a_miscount() -> None:
    """In a sale, in a look, at the end, or between reply and journal."""
    history = right()
    history.saw("dan", (20, 21), 2, 4)
    assert history.found(left=3) == {"miscount": 1}
    history = right()
    history.sold("dan", (20, 21), 3, range(8, 9), 1)
    assert history.found(left=1)["miscount"] >= 1
    assert right().found(left=4)["miscount"] >= 1
    history = right()
    history.journal[0] = replace(history.journal[0], tickets=(1, 2, 3, 4))
    assert history.found(left=3)["miscount"] == 1


def test_a_sale_grants_what_was_asked_or_what_was_left_of_it() -> None:
    """Less than asked, or than there were with ``partial``, is an undersell; more than asked is a miscount."""
    cases: list[tuple[int, bool, int, Anomaly]] = [
        (3, False, 1, "undersell"),
        (1, False, 3, "miscount"),
        (3, True, 2, "undersell"),
    ]
    for quantity, partial, granted, anomaly in cases:
        history = Written()
        told = history.sold("ann", (0, 1), 1, range(1, granted + 1), 10 - granted)
        history.operations[0] = replace(told, quantity=quantity, partial=partial)
        assert history.found(left=10 - granted) == {anomaly: 1}
    history = Written(capacity=2)
    told = history.sold("ann", (0, 1), 1, range(1, 3), 0)
    history.operations[0] = replace(told, quantity=5, partial=True)
    assert history.found(left=0) == {}


def test_a_reply_must_state_its_version_and_count() -> None:
    """Who says neither cannot be checked, and that is said."""
    for hidden in ({"version": None}, {"count": None}):
        history = right()
        history.operations[-1] = replace(history.operations[-1], **hidden)  # type: ignore[arg-type]
        assert history.found(left=3)["miscount"] >= 1


def test_tickets_of_an_unknown_outcome_are_followed_too() -> None:
    """What only the journal knows can be sold twice as well, and can lie outside the event."""
    history = right()
    history.lost("dan", (13, 14), "unknown")
    dan = Operation("buy", "dan", 0, 0, 0, 0, "done", version=3, count=2, tickets=(7,), order="o")
    history.record(dan, "dan")
    assert history.found(left=2) == {"double sale": 1}
    history.journal.pop()
    history.record(replace(dan, tickets=(11,)), "dan")
    assert history.found(left=2) == {"oversell": 1}


def test_a_count_outside_the_event_is_a_miscount() -> None:
    """Below nothing, or above the capacity."""
    history = Written(capacity=2)
    history.sold("ann", (0, 1), 1, range(1, 4), -1)
    assert history.found()["miscount"] >= 1


def test_returning_at_the_very_moment_of_a_call_is_no_inversion() -> None:
    """Only who returned *before* another was called must stand before it."""
    history = Written()
    history.sold("ann", (5, 6), 1, range(1, 2), 9)
    history.sold("bob", (1, 5), 2, range(2, 3), 8)
    assert history.found(left=8) == {}


def test_the_sum_is_checked_without_a_journal_too() -> None:
    """Sold and left make up the capacity, where no outcome is unknown."""
    history = right()
    history.operations.append(Operation("look", "x", 0, 50, 50, 51, "done", 200, version=2, count=3))
    assert history.found(left=3, journal=False) == {}
    history.operations.pop()
    assert "miscount" in history.found(left=2, journal=False)


def test_half_a_document_is_a_torn_read() -> None:
    """As the service names it."""
    history = right()
    history.lost("dan", (20, 21), "unknown")
    history.operations[-1] = replace(history.operations[-1], status=500, problem="torn-read")
    assert history.found(left=3) == {"torn read": 1}


@given(
    quantities=st.lists(st.integers(1, 4), min_size=1, max_size=25),
    data=st.data(),
)
def test_a_simulated_counter_is_never_accused(quantities: list[int], data: st.DataObject) -> None:
    """Orders that take effect one after the other at some moment between call and return: no finding, whatever the
    overlaps, whoever loses a reply, with the journal or without.
    """
    history = Written(capacity=40)
    left, version = history.capacity, 0
    for moment, quantity in enumerate(quantities):
        effect = 10 * moment
        when = (effect - data.draw(st.integers(1, 40)), effect + data.draw(st.integers(1, 40)))
        name = f"client {moment}"
        if quantity > left:
            history.refused(name, when, version, left, quantity)
            continue
        first = history.capacity - left + 1
        left, version = left - quantity, version + 1
        told = history.sold(name, when, version, range(first, first + quantity), left)
        if data.draw(st.integers(0, 5)) == 0:
            lost = replace(told, outcome="unknown", version=None, count=None, tickets=(), order="")
            history.operations[-1] = lost
        if data.draw(st.booleans()):
            history.saw(f"look {moment}", (effect - 1, effect + data.draw(st.integers(1, 30))), version, left)
    assert history.found() == {}
    assert history.found(journal=False) == {}


def test_every_anomaly_is_planted_here() -> None:
    """Whoever adds an anomaly adds the fault that it must find. What grows is no matter of a history (test_soak.py)."""
    text = Path(__file__).read_text()
    assert [anomaly for anomaly in OF_HISTORIES if text.count(f'"{anomaly}"') == 0] == []
