"""What becomes of orders: holds that end, confirmations, cancellations and retries, in histories written by hand.

Moments are tenths of a second, and a hold lasts for 10 of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from loadtest import history
from loadtest.check import Start, check
from loadtest.history import Change, Operation

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.findings import Anomaly, Checked
    from loadtest.history import Kind, Status

TENTH_NS = 100_000_000
TTL = 10


@dataclass
class Told:
    """A history of one event with 10 tickets, and its journal, which is right unless a test changes it."""

    operations: list[Operation] = field(default_factory=list)
    journal: list[Change] = field(default_factory=list)

    def asked(  # a call is all of these
        self, kind: Kind, name: str, when: tuple[float, float], version: int, count: int, tickets: tuple[int, ...]
    ) -> Operation:
        """Add a call that was done, and its line in the journal."""
        order = f"order of {name}" if kind in {"buy", "hold"} else f"order of {name.split(maxsplit=1)[0]}"
        row = Operation(
            kind, name, 0, ns(when[0]), ns(when[0]), ns(when[1]), "done", 201 if kind in {"buy", "hold"} else 200,
            len(tickets) if kind in {"buy", "hold"} else 0, version=version, count=count, tickets=tickets, order=order,
            ttl_s=TTL / 10 if kind == "hold" else 0.0,
        )  # fmt: skip
        self.operations.append(row)
        status: dict[str, Status] = {"buy": "sold", "hold": "held", "confirm": "sold", "cancel": "cancelled"}
        self.journal.append(Change(version, order, name.split(maxsplit=1)[0], tickets, count, status[kind]))
        return row

    def expired(self, name: str, version: int, count: int, tickets: tuple[int, ...]) -> None:
        """Let a hold end by itself."""
        self.journal.append(Change(version, f"order of {name}", name, tickets, count, "expired"))

    def refused(  # as above
        self, kind: Kind, name: str, when: tuple[float, float], version: int, count: int, problem: str
    ) -> Operation:
        """Add a call that was refused."""
        row = Operation(
            kind, name, 0, ns(when[0]), ns(when[0]), ns(when[1]), "refused", 409, version=version, count=count,
            order=f"order of {name.split(maxsplit=1)[0]}", problem=problem,
        )  # fmt: skip
        self.operations.append(row)
        return row

    def again(self, row: Operation, name: str, when: tuple[float, float], **changes: object) -> Operation:
        """Add a call that asks for the same as ``row``, and was answered alike but for ``changes``."""
        times = {"planned": ns(when[0]), "called": ns(when[0]), "returned": ns(when[1])}
        self.operations.append(replace(row, name=name, **times | changes))  # type: ignore[arg-type]
        return self.operations[-1]

    def checked(self) -> Checked:
        return check(self.operations, self.journal, Start(10, 10))

    def found(self) -> dict[Anomaly, int]:
        return {finding.anomaly: finding.times for finding in self.checked().findings}


LOST = {"outcome": "unknown", "status": 0, "version": None, "count": None, "tickets": (), "problem": "ReplyLost"}


def ns(moment: float) -> int:
    return int(moment * TENTH_NS)


def held() -> Told:
    """A hold of two tickets by ann."""
    told = Told()
    told.asked("hold", "ann", (0, 1), 1, 8, (1, 2))
    return told


def test_a_hold_is_confirmed_cancelled_or_ends_and_its_tickets_are_sold_again() -> None:
    """A right history of all of it; what buyers own at the end are the tickets that they did not give back."""
    told = held()
    told.asked("hold", "bob", (1, 2), 2, 7, (3,))
    told.asked("confirm", "ann confirm", (3, 4), 3, 7, (1, 2))
    told.expired("bob", 4, 8, (3,))
    told.refused("confirm", "bob confirm", (14, 15), 4, 8, "hold-expired")
    told.asked("buy", "cy", (16, 17), 5, 7, (3,))
    told.asked("cancel", "ann cancel", (18, 19), 6, 9, (1, 2))
    told.refused("confirm", "ann confirm later", (20, 21), 6, 9, "order-cancelled")
    told.asked("buy", "dan", (22, 23), 7, 7, (1, 2))
    assert told.found() == {}
    assert told.checked().sold == 3


def test_a_hold_that_is_sold_while_it_is_live_is_a_double_sale() -> None:
    """Its tickets are nobody else's."""
    told = held()
    told.asked("buy", "bob", (2, 3), 2, 7, (2,))
    assert told.found() == {"double sale": 1}


def test_of_confirmation_and_expiry_only_one_can_win() -> None:
    """In either order the second changes what has ended."""
    told = held()
    told.asked("confirm", "ann confirm", (9, 10), 2, 8, (1, 2))
    told.expired("ann", 3, 10, (1, 2))
    assert told.found()["double effect"] == 1
    told = held()
    told.expired("ann", 2, 10, (1, 2))
    told.asked("confirm", "ann confirm", (9, 12), 3, 8, (1, 2))
    assert told.found()["double effect"] == 1


@pytest.mark.parametrize(("called", "late"), [(10.9, False), (11.4, False), (11.6, True)])
def test_a_confirmation_that_was_called_after_the_hold_had_ended_is_a_double_effect(called: float, late: bool) -> None:  # noqa: FBT001  # a table's column
    """Although nobody had swept it: the hold was answered at 1 and lasts for 10; two clocks may part by 0.5."""
    told = held()
    told.asked("confirm", "ann confirm", (called, called + 1), 2, 8, (1, 2))
    assert told.found() == ({"double effect": 1} if late else {})


@pytest.mark.parametrize(("called", "late"), [(10.9, False), (11.4, False), (11.6, True)])
def test_a_hold_that_had_ended_and_is_cancelled_is_a_double_effect(called: float, late: bool) -> None:  # noqa: FBT001  # as above
    """It gives nothing back any more; but an order that was confirmed in time can be cancelled at any time."""
    told = held()
    told.asked("cancel", "ann cancel", (called, called + 1), 2, 10, (1, 2))
    assert told.found() == ({"double effect": 1} if late else {})
    told = held()
    told.asked("confirm", "ann confirm", (3, 4), 2, 8, (1, 2))
    told.asked("cancel", "ann cancel", (called, called + 1), 3, 10, (1, 2))
    assert told.found() == {}


@pytest.mark.parametrize(
    ("called", "wanted", "partial", "kept_back"),
    [(11.6, 10, False, True), (11.4, 10, False, False), (11.6, 11, False, False), (11.6, 9, False, True)],
)
def test_tickets_of_a_hold_that_had_ended_are_not_kept_back(
    called: float,
    wanted: int,
    partial: bool,  # noqa: FBT001  # as above
    kept_back: bool,  # noqa: FBT001  # as above
) -> None:
    """Nobody has swept it, and who is refused called after its end: with its tickets there were enough."""
    told = held()
    told.operations.append(
        Operation("buy", "bob", 0, 0, ns(called), ns(99), "refused", 409, wanted, partial, version=1, count=8)
    )
    assert told.found() == ({"undersell": 1} if kept_back else {})
    told.expired("ann", 2, 10, (1, 2))  # later than bob saw: the same
    assert told.found() == ({"undersell": 1} if kept_back else {})


def test_a_hold_that_was_confirmed_or_cancelled_keeps_nothing_back() -> None:
    """Its tickets are sold, or in the count already; and who takes what there is was refused rightly at none."""
    for kind, count in (("confirm", 8), ("cancel", 10)):
        told = held()
        told.asked(kind, f"ann {kind}", (3, 4), 2, count, (1, 2))  # type: ignore[arg-type]
        told.operations.append(
            Operation("buy", "bob", 0, 0, ns(20), ns(21), "refused", 409, 11, version=2, count=count)
        )
        assert told.found() == {}
    told = Told()
    told.asked("hold", "ann", (0, 1), 1, 0, tuple(range(1, 11)))
    told.operations.append(
        Operation("buy", "bob", 0, 0, ns(20), ns(21), "refused", 409, 20, partial=True, version=1, count=0)
    )
    assert told.found() == {"undersell": 1}


@pytest.mark.parametrize(("seen", "early"), [(9.6, False), (9.4, True)])
def test_a_hold_that_ended_before_its_time_is_a_phantom_order(seen: float, early: bool) -> None:  # noqa: FBT001  # as above
    """It was called at 0, so it cannot be over before 10; somebody saw the version that ended it."""
    told = held()
    told.expired("ann", 2, 10, (1, 2))
    told.asked("buy", "bob", (9, 99), 3, 9, (1,))
    told.operations.insert(0, Operation("look", "dan", 0, 0, ns(9), ns(40), "done", 200, version=2, count=10))
    told.operations.append(Operation("look", "cy", 0, 0, ns(9), ns(seen), "done", 200, version=2, count=10))
    assert told.found() == ({"phantom order": 1} if early else {})


def test_who_is_refused_is_told_the_truth_of_the_order() -> None:
    """A live hold that cannot be confirmed is a phantom, and so is one that is said to have ended otherwise."""
    told = held()
    told.refused("confirm", "ann confirm", (20, 21), 1, 8, "hold-expired")
    assert told.found() == {"phantom order": 1}
    told = held()
    told.asked("cancel", "ann cancel", (2, 3), 2, 10, (1, 2))
    told.refused("confirm", "ann confirm", (20, 21), 2, 10, "hold-expired")
    assert told.found() == {"phantom order": 1}
    told = held()
    told.refused("cancel", "ann cancel", (20, 21), 1, 8, "")
    assert told.found() == {"phantom order": 1}


def test_a_hold_that_is_said_to_have_ended_before_its_time_is_a_phantom_order() -> None:
    """The refusal itself came too early."""
    told = held()
    told.expired("ann", 2, 10, (1, 2))
    told.refused("confirm", "ann confirm", (5, 6), 2, 10, "hold-expired")
    assert told.found() == {"phantom order": 2}


def test_an_acknowledged_order_that_nobody_knows_is_a_phantom() -> None:
    """404 for an order whose reply had come before; not for one that was still under way."""
    told = held()
    lost = told.again(told.operations[0], "ann cancel", (5, 6), **LOST)
    told.operations[-1] = replace(lost, kind="cancel", outcome="not done", status=404, problem="no-such-order", ttl_s=0)
    assert told.found() == {"phantom order": 1}
    told.operations[-1] = replace(told.operations[-1], called=0)
    assert told.found() == {}


def keyed() -> tuple[Told, Operation]:
    """A purchase with a key; the journal names the buyer, not the attempt."""
    told = Told()
    row = told.asked("buy", "ann", (0, 1), 1, 9, (1,))
    told.operations[0] = replace(row, key="k", buyer="ann")
    return told, told.operations[0]


def test_one_key_is_one_effect_and_one_answer() -> None:
    """The first reply is lost, and the second attempt is told of what the first did; and so is the third."""
    told, row = keyed()
    told.operations[0] = replace(row, **LOST)  # type: ignore[arg-type]
    told.again(row, "ann try 2", (2, 3))
    told.again(row, "ann try 3", (4, 5))
    assert told.found() == {}


@pytest.mark.parametrize(
    "other",
    [{"version": 2}, {"count": 8}, {"tickets": (2,)}, {"order": "o2"}, {"status": 200},
     {"outcome": "refused", "status": 409, "tickets": (), "problem": "sold-out"}],
)  # fmt: skip
def test_another_answer_on_a_retry_is_a_double_effect(other: dict[str, object]) -> None:
    """Whatever of it is other."""
    told, row = keyed()
    told.again(row, "ann try 2", (2, 3), **other)
    assert told.found()["double effect"] == 1


def test_a_retry_that_is_taken_for_another_request_is_a_double_effect() -> None:
    """Nobody uses a key for two requests, so 422 is wrong, whether or not the first reply came."""
    told, row = keyed()
    refused = LOST | {"outcome": "not done", "status": 422, "problem": "key-reused", "order": ""}
    told.again(row, "ann try 2", (2, 3), **refused)
    assert told.found() == {"double effect": 1}
    told.operations[0] = replace(row, **LOST)  # type: ignore[arg-type]
    assert told.found() == {"double effect": 1}


def test_a_retry_that_is_done_twice_is_a_double_effect() -> None:
    """Nobody heard of the first: the journal tells."""
    told, row = keyed()
    told.operations[0] = replace(row, **LOST)  # type: ignore[arg-type]
    told.again(row, "ann try 2", (2, 3), version=2, count=8, tickets=(2,), order="another")
    told.journal.append(Change(2, "another", "ann", (2,), 8))
    assert told.found() == {"double effect": 1}


def test_a_purchase_that_is_recorded_although_every_attempt_was_refused_the_door_is_a_ghost() -> None:
    """503 means certainly not done, for each attempt."""
    told, row = keyed()
    busy = LOST | {"outcome": "not done", "status": 503, "problem": "busy", "order": ""}
    told.operations[0] = replace(row, **busy)  # type: ignore[arg-type]
    told.again(told.operations[0], "ann try 2", (2, 3))
    (ghost,) = told.checked().findings
    assert ghost.anomaly == "ghost order"
    assert ghost.first.sentence == "ann was told that nothing was done, and the journal has it at version 1"
    told.again(row, "ann try 3", (4, 5))
    assert told.found() == {}


def test_a_refusal_that_was_lost_is_given_again() -> None:
    """It states a version that is over by then: no stale read, for it was decided when it was first asked for."""
    told = held()
    told.expired("ann", 2, 10, (1, 2))
    row = replace(told.refused("confirm", "ann confirm", (14, 15), 2, 10, "hold-expired"), key="k")
    told.operations[-1] = replace(row, **LOST)  # type: ignore[arg-type]
    told.asked("buy", "bob", (16, 17), 3, 9, (1,))
    told.again(row, "ann confirm try 2", (18, 19))
    assert told.found() == {}
    told.operations[-1] = replace(told.operations[-1], key="another key")
    assert told.found() == {"stale read": 1}


def test_a_confirmation_that_is_asked_for_again_after_the_order_was_cancelled_is_refused() -> None:
    """Only who asks with the same key is told again what was so; and somebody must have seen it cancelled before."""
    told = held()
    row = replace(told.asked("confirm", "ann confirm", (2, 3), 2, 8, (1, 2)), key="k")
    told.operations[-1] = row
    told.asked("cancel", "ann cancel", (4, 7), 3, 10, (1, 2))
    told.again(row, "ann confirm try 2", (8, 9))
    told.again(row, "ann confirm again", (6, 9), key="")
    assert told.found() == {}
    told.operations.append(Operation("look", "bob", 0, 0, ns(4), ns(5), "done", 200, version=3, count=10))
    assert told.found() == {"double effect": 1}
    told.operations[-2] = replace(row, name="ann confirm again", key="another", called=ns(8), returned=ns(9))
    assert told.found() == {"double effect": 1}


def test_a_cancellation_that_is_repeated_is_one_and_one_that_frees_twice_is_not() -> None:
    """The same answer is no second effect, with a key or without."""
    told = held()
    row = told.asked("cancel", "ann cancel", (2, 3), 2, 10, (1, 2))
    told.again(row, "ann cancel again", (4, 5))
    told.again(row, "ann cancel once more", (6, 7), key="k")
    assert told.found() == {}
    told.asked("cancel", "ann cancel twice", (8, 9), 3, 12, (1, 2))
    assert told.found()["double effect"] >= 1


def test_a_cancelled_ticket_that_is_not_freed_is_a_miscount() -> None:
    """The count must follow."""
    told = held()
    told.asked("cancel", "ann cancel", (2, 3), 2, 8, (1, 2))
    assert told.found()["miscount"] >= 1


def test_a_capacity_that_is_changed_is_followed() -> None:
    """Tickets that were added can be sold, and each count follows; who makes the same version lost an update."""
    told = Told()
    told.asked("buy", "ann", (0, 1), 1, 0, tuple(range(1, 11)))
    told.journal.append(Change(2, "", "", (), 2, "resized", 12))
    told.asked("buy", "bob", (2, 3), 3, 0, (11, 12))
    told.operations.append(Operation("look", "last", 0, 0, ns(5), ns(6), "done", 200, version=3, count=0))
    assert told.found() == {}
    told.operations[-1] = replace(told.operations[-1], count=1)
    assert told.found() == {"miscount": 2}
    told.operations[-1] = replace(told.operations[-1], count=0)
    told.operations[1] = replace(told.operations[1], version=2)
    told.journal[-1] = replace(told.journal[-1], version=2)
    assert told.found()["lost update"] == 1


def test_a_journal_may_have_lines_without_an_order(tmp_path: Path) -> None:
    """A changed capacity belongs to nobody."""
    lines = (
        '{"event":"default","capacity":10,"count":10,"version":0}\n',
        '{"version":1,"event":"default","status":"resized","capacity":12,"count":12,"at":1.0}\n',
        '{"version":2,"event":"default","order":"o","status":"held","tickets":[1],"count":11,"buyer":null}\n',
    )
    (tmp_path / "journal.jsonl").write_text("".join(lines))
    assert history.load_journal(tmp_path / "journal.jsonl") == [
        Change(1, "", "", (), 12, "resized", 12),
        Change(2, "o", "", (1,), 11, "held"),
    ]
