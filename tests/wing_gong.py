"""A second opinion: a search through all orders of a small history, after Wing and Gong (1993).

It shares no idea with the check: no version is looked up, no operation is placed. It is the counter itself, run again
and again. From a state, every call that may come next is tried: one that was made before any call that is still to come
had returned. What it would have answered there must be what it did answer. A pair of (calls that are left, state) that
led nowhere is not tried twice.

Where there is a journal, every change is a line of it, and every line is a change: whoever changes the event must be
able to have written the next line. So the journal says which calls of unknown outcome happened, and holds expire by it.
Without a journal, a call of unknown outcome happened at any time after it was made, with any free tickets, or never.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.history import Change, Operation, Status

Tickets = tuple[int, ...]


class Answer(NamedTuple):
    """What a reply states. One question has one answer, however often it is asked."""

    outcome: str
    order: str
    version: int | None
    left: int | None
    tickets: Tickets
    problem: str = ""


class State(NamedTuple):
    """The event: its version, the order that owns each ticket, the status of each order, what was answered already."""

    version: int
    owners: tuple[str, ...]
    orders: tuple[tuple[str, tuple[Status, Tickets]], ...] = ()
    answers: tuple[tuple[str, Answer], ...] = ()

    @property
    def left(self) -> int:
        """How many tickets are left."""
        return self.owners.count("")

    def given(self, tickets: Tickets, order: str) -> tuple[str, ...]:
        """Return the owners with ``order`` (nobody: "") in the place of whoever had ``tickets``."""
        return tuple(order if number in tickets else owner for number, owner in enumerate(self.owners, 1))


@dataclass(frozen=True, slots=True)
class Call:
    """A call that may have happened; one that does not ``must`` have happened may also be left out."""

    row: Operation
    returned: float
    must: bool

    @property
    def questions(self) -> tuple[str, ...]:
        """Return the names under which its answer is kept for whoever asks the same again."""
        row = self.row
        again = (f"{row.kind} {row.order}",) if row.kind in {"confirm", "cancel"} and row.outcome != "refused" else ()
        return ((f"key {row.key}",) if row.key else ()) + again


@dataclass(slots=True)
class Search:
    """A search: the calls, the lines of the journal by version, and what was tried in vain."""

    calls: Sequence[Call]
    records: dict[int, Change] | None
    last: int
    tried: set[tuple[int, State]]

    def succeeds(self, left: int, state: State) -> bool:
        """Tell whether the calls in the bits of ``left`` have an order from ``state`` on."""
        waiting = [(bit, call) for bit, call in enumerate(self.calls) if left & (1 << bit)]
        if not any(call.must for _, call in waiting) and (self.records is None or state.version == self.last):
            return True
        if (left, state) in self.tried:
            return False
        self.tried.add((left, state))
        soonest = min((call.returned for _, call in waiting), default=math.inf)
        return any(self.succeeds(left, after) for after in self._expired(state)) or any(
            self.succeeds(left & ~(1 << bit), after)
            for bit, call in waiting
            if call.row.called <= soonest
            for after in self._after(call.row, call.questions, state)
        )

    def _after(self, row: Operation, questions: tuple[str, ...], state: State) -> Iterator[State]:
        """Yield every state in which ``row`` may leave the event, if it was answered in ``state`` as it says."""
        known = dict(state.answers)
        told = [known[question] for question in questions if question in known]
        if told:
            if row.outcome == "unknown" or all(answer == answer_of(row) for answer in told):
                yield state
        elif row.kind == "look":
            if (row.version, row.count) == (state.version, state.left):
                yield state
        elif row.outcome == "refused":
            if (row.version, row.count) == (state.version, state.left) and self._may_refuse(row, state):
                yield self._answered(state, questions, answer_of(row))
        elif row.kind in {"buy", "hold"}:
            yield from self._taken(row, questions, state)
        else:
            yield from self._followed(row, questions, state)

    @staticmethod
    def _may_refuse(row: Operation, state: State) -> bool:
        """Tell whether what is asked for cannot be done in ``state``, for the reason that is given."""
        if row.kind in {"buy", "hold"}:
            return state.left < (1 if row.partial else row.quantity)
        status, _ = dict(state.orders).get(row.order, ("", ()))
        return (status, row.problem) in {("expired", "hold-expired"), ("cancelled", "order-cancelled")}

    def _taken(self, row: Operation, questions: tuple[str, ...], state: State) -> Iterator[State]:
        size = min(row.quantity, state.left) if row.partial else row.quantity
        if not 1 <= size <= state.left:
            return
        free = [number for number, owner in enumerate(state.owners, 1) if not owner]
        record = self.records.get(state.version + 1) if self.records is not None else None
        choices: list[tuple[str, Tickets]]
        if row.outcome == "done":
            choices = [(row.order, row.tickets)]
        elif record:
            choices = [(record.order, record.tickets)] if record.buyer == row.name else []
        else:
            choices = [(f"? {row.name}", tickets) for tickets in combinations(free, size)]
        for order, tickets in choices:
            if (
                len(tickets) == len(set(tickets)) == size
                and set(tickets) <= set(free)
                and order not in dict(state.orders)
            ):
                status: Status = "sold" if row.kind == "buy" else "held"
                yield from self._changed(row, questions, state, order, status, tickets, order)

    def _followed(self, row: Operation, questions: tuple[str, ...], state: State) -> Iterator[State]:
        status, tickets = dict(state.orders).get(row.order, ("", ()))
        if row.kind == "confirm" and status == "held":
            yield from self._changed(row, questions, state, row.order, "sold", tickets, row.order)
        if row.kind == "cancel" and status in {"held", "sold"}:
            yield from self._changed(row, questions, state, row.order, "cancelled", tickets, "")

    def _expired(self, state: State) -> Iterator[State]:
        record = (self.records or {}).get(state.version + 1)
        if record and record.status == "expired":
            status, tickets = dict(state.orders).get(record.order, ("", ()))
            if status == "held":
                yield from self._changed(None, (), state, record.order, "expired", tickets, "")

    def _changed(  # noqa: PLR0913, PLR0917  # a change is all of these
        self, row: Operation | None, questions: tuple[str, ...], state: State, order: str, status: Status,
        tickets: Tickets, owner: str,
    ) -> Iterator[State]:  # fmt: skip
        """Yield the next version, if the reply says so, and the journal too."""
        orders = tuple((dict(state.orders) | {order: (status, tickets)}).items())
        kept = state.answers
        if status == "cancelled":  # it is confirmed no more, but for who asks again with a key
            kept = tuple(each for each in kept if each[0] != f"confirm {order}")
        after = State(state.version + 1, state.given(tickets, owner), orders, kept)
        answer = Answer("done", order, after.version, after.left, tickets)
        if row and row.outcome == "done" and answer != answer_of(row):
            return
        if self.records is not None:
            record = self.records.get(after.version)
            if not record or (record.order, record.status) != (order, status):
                return
            if (record.tickets, record.count) != (tickets, after.left):
                return
            if row and row.kind in {"buy", "hold"} and record.buyer != row.name:
                return
        yield self._answered(after, questions, answer)

    @staticmethod
    def _answered(state: State, questions: tuple[str, ...], answer: Answer) -> State:
        return state._replace(answers=state.answers + tuple((question, answer) for question in questions))


def answer_of(row: Operation) -> Answer:
    """Return what the reply to ``row`` stated."""
    return Answer(row.outcome, row.order, row.version, row.count, row.tickets, row.problem)


def linearizable(operations: Sequence[Operation], journal: Sequence[Change] | None, capacity: int, start: int) -> bool:
    """Tell whether some order explains everything, from the version ``start`` on, at which all tickets are there."""
    if any(row.problem == "torn-read" for row in operations):
        return False
    records = None if journal is None else {change.version: change for change in journal}
    if journal is not None and max(Counter(change.version for change in journal).values(), default=1) > 1:
        return False
    search = Search(_calls(operations), records, start + len(journal or ()), set())
    return search.succeeds((1 << len(search.calls)) - 1, State(start, ("",) * capacity))


def _calls(operations: Sequence[Operation]) -> list[Call]:
    """Return the calls that may have happened, each as definite as it can be made.

    A call of unknown outcome whose key was answered when it was used again would have been given that answer.
    """
    answered = {row.key: row for row in operations if row.key and row.outcome in {"done", "refused"}}
    calls = []
    for row in operations:
        if row.outcome in {"done", "refused"}:
            calls.append(Call(row, row.returned, must=True))
        elif row.outcome == "unknown" and row.kind != "look":
            twin = answered.get(row.key)
            given = replace(twin, name=row.name, called=row.called) if twin else row
            calls.append(Call(given, math.inf, must=False))
    return calls
