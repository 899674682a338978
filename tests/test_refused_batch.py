"""A batch that does not fit on the disk: what was expected of it is undone, and no journal is read again for that."""

from __future__ import annotations

import errno
import heapq
import os
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import rules
from service.batch import commit
from service.commands import Buy, Cancel, Confirm, Hold, Resize, Sweep
from service.mode import NotWritten, Unknown
from service.stores import disk, journal, standing
from service.stores.inspection import inspected
from service.stores.journal import opening
from service.stores.json_file import JsonFile
from service.stores.pages import page_of
from service.stores.standing import Standing, begun
from service.values import Event, Order
from tests.counter import NOW, Counter, buying, decide_now, look, sell
from tests.stranger import sells_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service.commands import Command
    from service.stores.standing import Before
    from service.values import Change

CAPACITY = 20
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "hold", "confirm", "cancel", "cancel", "resize", "sweep"]),
        st.integers(1, 6),
        st.integers(0, 3),
    ),
    max_size=12,
)
Actions = list[tuple[str, int, int]]
LONG_ORDERS, REFUSED = 3000, 20
BUSY_BYTES = 8192
"""More than a refused batch needs to read."""


class Seller:
    """Decides on a standing, one command after another."""

    def __init__(self, at: Standing) -> None:
        self.at = at
        self.orders: dict[str, Order] = {}
        self.made = 0

    def run(self, actions: Actions) -> list[tuple[Change, Before]]:
        """Do what they say, and return what it takes to undo it."""
        undo = []
        for kind, number, later in actions:
            command = self._command(kind, number)
            order = self.orders.get(command.order) if isinstance(command, Confirm | Cancel) else None
            page = rules.decide(page_of(command, self.at, order, None), command, NOW + later).page
            for change in page.changes:
                before = self.at.before(change)
                self.at.change(change)
                undo.append((change, before))
                if isinstance(change, Order):
                    self.orders[change.id] = change
        return undo

    def _command(self, kind: str, number: int) -> Command:
        names = sorted(self.orders) or ["none"]
        name = names[number * 7 % len(names)]
        self.made += 1
        match kind:
            case "buy":
                return Buy(f"o{self.made:04d}", "e", number)
            case "hold":
                return Hold(f"o{self.made:04d}", "e", number, number % 3)
            case "confirm":
                return Confirm(name, "e")
            case "cancel":
                return Cancel(name, "e")
            case "resize":
                return Resize("e", CAPACITY - 8 + 3 * number)
        return Sweep("e")


def state(at: Standing) -> object:
    """Return all that there is to know of how an event stands."""
    free = at.free
    return at.event, free.capacity, free.given, free.runs(), at.holds, at.held, at.first_to_end(1000), at.next_since


@settings(max_examples=500)
@given(first=ACTIONS, refused=ACTIONS, then=ACTIONS)
def test_what_is_undone_leaves_no_trace(first: Actions, refused: Actions, then: Actions) -> None:
    """Sales, holds, their ends and capacities: what stands, to the number, and all that is decided from then on."""
    mine = Seller(begun(opening(Event("e", CAPACITY, CAPACITY))))
    mine.run(first)
    other = deepcopy(mine)
    for change, before in reversed(mine.run(refused)):
        mine.at.undo(change, before)
    mine.orders, mine.made = dict(other.orders), other.made
    assert state(mine.at) == state(other.at)
    mine.run(then)
    other.run(then)
    assert state(mine.at) == state(other.at)


def test_holds_that_are_refused_for_hours_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of when holds end is bounded by how many there are; and those that live end in their order."""
    monkeypatch.setattr(standing, "ENDS_SPARE", 10)
    mine = Seller(begun(opening(Event("e", CAPACITY, CAPACITY))))
    mine.run([("hold", number, 0) for number in (2, 1, 5)])
    before = state(mine.at)
    for _ in range(100):
        for change, each in reversed(mine.run([("hold", 2, 0), ("hold", 1, 0)])):
            mine.at.undo(change, each)
        assert state(mine.at) == before
    assert len(mine.at._ends) <= 2 * 3 + 10 + 2  # noqa: SLF001  # nothing else tells
    assert heapq.nsmallest(1, mine.at._ends)[0][0] == mine.at.ends  # noqa: SLF001  # as above


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many bytes of journals are read."""
    found: list[int] = []
    pread = os.pread

    def noting(descriptor: int, size: int, start: int) -> bytes:
        text = pread(descriptor, size, start)
        found.append(len(text))
        return text

    monkeypatch.setattr(os, "pread", noting)
    return found


def long(counter: Counter) -> JsonFile:
    """Sell so much that it would take long to read."""
    (counter.directory / "default.json").write_text(f'{{"count": {2 * LONG_ORDERS}}}')
    store = counter.opened("group_commit").store
    assert isinstance(store, JsonFile)
    for _ in range(LONG_ORDERS // 250):
        commit(store, decide_now, [buying() for _ in range(250)])
    assert (counter.directory / "default.jsonl").stat().st_size > LONG_ORDERS * 100
    return store


def nothing(_descriptor: int, _text: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def half(descriptor: int, text: bytes) -> int:
    return os.write(descriptor, text[: len(text) // 2]) or nothing(descriptor, text)


def batch(number: int) -> Iterator[Command]:
    """Sell, hold, give back and resize."""
    order = Hold(buying().order, "default", 3, 60.0)
    yield from (buying(2), order, buying(1 + number % 3), Cancel(order.order, "default"), buying())
    yield Resize("default", 2 * LONG_ORDERS - 10 * number)


@pytest.mark.parametrize("write", [nothing, half], ids=["nothing", "half"])
def test_an_order_that_does_not_fit_costs_no_reading(
    counter: Counter, read: list[int], write: Callable[[int, bytes], int]
) -> None:
    """However long the journal is, and whatever was in the batch; and with room again all goes on as if nothing was."""
    store = long(counter)
    before = look(counter.joined("group_commit"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "write", write)
        read.clear()
        for number in range(REFUSED):
            with pytest.raises(NotWritten, match="so nothing was done"):
                commit(store, decide_now, batch(number))
    assert sum(read) <= REFUSED * BUSY_BYTES
    assert store.look("default") == before
    (reply,) = commit(store, decide_now, [buying()])
    other = sell(counter.joined("group_commit"))
    assert reply.order.tickets == (before.version + 1,)  # type: ignore[union-attr]  # it was sold
    assert (other.tickets, other.version) == ((before.version + 2,), before.version + 2)
    assert inspected(counter.directory).wrong == []


def test_a_journal_that_has_no_room_to_be_closed_is_not_read_again(
    counter: Counter, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each order tries again, and is refused; with room again the new journal goes on from the old one."""
    store = long(counter)
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", 1000)

    def full(*_: object) -> None:
        nothing(0, b"")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "replace", full)
        read.clear()
        for number in range(REFUSED):
            with pytest.raises(NotWritten, match="so nothing was done"):
                commit(store, decide_now, batch(number))
    assert sum(read) <= REFUSED * BUSY_BYTES
    commit(store, decide_now, batch(0))
    assert len(journal.closed(counter.directory)["default"]) == 1
    assert inspected(counter.directory).wrong == []


def test_a_journal_goes_on_rightly_from_what_was_undone(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with what its worker knows: that is what the lines before it give, whatever was refused in between."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", 1500)
    (counter.directory / "default.json").write_text(f'{{"count": {2 * LONG_ORDERS}}}')
    store = counter.opened("group_commit").store
    assert isinstance(store, JsonFile)
    for number in range(30):
        commit(store, decide_now, [buying(number % 4 + 1), Hold(buying().order, "default", 1, number - 5.0)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "write", half if number % 2 else nothing)
            with pytest.raises(NotWritten):
                commit(store, decide_now, batch(number))
    assert len(journal.closed(counter.directory)["default"]) >= 4
    assert inspected(counter.directory).wrong == []


@pytest.mark.parametrize("write", [nothing, half], ids=["nothing", "half"])
def test_what_others_wrote_before_a_refusal_is_found_by_the_next(
    counter: Counter, write: Callable[[int, bytes], int]
) -> None:
    """Somebody whom no lock keeps out writes between the decision and the write that does not fit."""
    (counter.directory / "default.json").write_text(f'{{"count": {LONG_ORDERS}}}')
    mode = counter.opened("group_commit")
    store = mode.store
    assert isinstance(store, JsonFile)
    sell(mode)
    path: Path = counter.directory / "default.jsonl"
    with sells_first(path, LONG_ORDERS - 3) as patch:
        patch.setattr(disk, "write", write)
        with pytest.raises(NotWritten):
            commit(store, decide_now, [buying(), buying()])
    assert (sell(mode).tickets, look(mode).version) == ((4,), 3)


def test_what_could_not_be_taken_back_is_read_as_it_stands(counter: Counter) -> None:
    """One of two orders is there as a whole: it is unknown to its buyer, and known to the next."""
    mode = counter.opened("group_commit")
    store = mode.store
    assert isinstance(store, JsonFile)

    def most(descriptor: int, text: bytes) -> int:
        return os.write(descriptor, text[:-20])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "write", most)
        patch.setattr(disk, "truncate", nothing)
        with pytest.raises(Unknown, match="could not be taken back"):
            commit(store, decide_now, [buying(2), buying(3)])
    assert (sell(mode).tickets, look(mode).version) == ((3,), 2)
