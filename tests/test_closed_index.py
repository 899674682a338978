"""The index of closed journals: of other journals, damaged, or locked, it fails nobody who needs none of it."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from service.batch import commit
from service.commands import Buy, Cancel, key_of
from service.mode import Busy, Damaged
from service.outcomes import Cancelled, NoSuchOrder, Sold
from service.stores import journal
from service.stores.closed_index import FILE, ClosedIndex
from service.stores.inspection import inspected
from service.stores.json_file import JsonFile
from service.stores.order_index import OrderIndex
from service.values import Order
from tests.counter import Counter, buying, decide_now, look, sell

if TYPE_CHECKING:
    from pathlib import Path

    from service.mode import Mode

CAPACITY = 1000
SHORT_BYTES = 700
"""A journal of three or four orders."""


@pytest.fixture
def directory(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where journals are short, and nobody indexes them but who is told to."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    monkeypatch.setattr(OrderIndex, "catch_up_beside", lambda _: None)
    (counter.directory / "default.json").write_text(f'{{"count": {CAPACITY}}}')
    return counter.directory


def keyed(number: int = 1) -> Buy:
    """Return a purchase with a key, which may be asked for again."""
    return replace(buying(), key=key_of("default", str(number)))


def bought(mode: Mode, command: Buy) -> Order:
    reply = mode.execute(command)
    assert isinstance(reply, Sold)
    return reply.order


def closed_of(mode: Mode, directory: Path, journals: int) -> list[Order]:
    """Sell until so many journals are closed, and have them indexed."""
    orders = []
    while len(journal.closed(directory).get("default", ())) < journals:
        orders.append(sell(mode))
    ClosedIndex(directory).catch_up()
    return orders


def known(directory: Path) -> list[tuple[int, int]]:
    """Return the journals that the index knows, with how many orders and keys of each."""
    with closing(sqlite3.connect(directory / FILE)) as connection:
        return connection.execute(
            "SELECT since, count(*) FROM journals JOIN orders ON journals.id = journal GROUP BY since"
        ).fetchall()


@pytest.mark.parametrize("started", [False, True], ids=["before the start forgets them", "after it"])
def test_journals_that_are_gone_lead_nobody_astray(counter: Counter, directory: Path, started: bool) -> None:  # noqa: FBT001  # a case
    """An event was started anew, and sells less than fills a journal: its old orders and keys are not there any more,
    and the same key sells.
    """
    mode = counter.opened("file_lock")
    asked = keyed()
    old = [bought(mode, asked), *closed_of(mode, directory, 2)]
    assert bought(mode, asked) == old[0]
    counter.close()
    for path in directory.glob("default*"):
        path.unlink()
    (directory / "default.json").write_text('{"count": 900}')
    mode = counter.opened("file_lock")
    left = [sentence for sentence in inspected(directory).mendable if "knows a journal that is gone" in sentence]
    assert left == [f"{FILE}: it knows a journal that is gone ({name(old)}), which the next start forgets"]
    if started:
        ClosedIndex(directory).catch_up()
        assert known(directory) == []
        assert inspected(directory).mendable == []
    assert inspected(directory).wrong == []
    for order in old:
        assert isinstance(mode.store.find(order.id), NoSuchOrder)
        assert isinstance(mode.execute(Cancel(order.id, "default")), NoSuchOrder)
    new = bought(mode, replace(asked, order=buying().order))
    assert (new.tickets, new.version) == ((1,), 1)
    assert bought(mode, asked) == new


def name(orders: list[Order]) -> str:
    """Return the name of the second of the journals of so many orders."""
    since = next(order.version for order in orders if order.version >= len(orders) / 2) - 1
    return f"default.{since:012d}.jsonl"


def test_a_journal_of_the_same_name_is_told_from_the_one_that_is_gone(counter: Counter, directory: Path) -> None:
    """Started anew, and closed under the names of before: each order is where it stands now."""
    mode = counter.opened("file_lock")
    asked = keyed()
    old = [bought(mode, asked), *closed_of(mode, directory, 3)]
    counter.close()
    for path in directory.glob("default*"):
        path.unlink()
    (directory / "default.json").write_text('{"count": 900}')
    mode = counter.opened("file_lock")
    sell(mode)
    new = bought(mode, asked)
    orders = [new, *closed_of(mode, directory, 1)]
    assert [since for since, _ in known(directory)] == [0]
    for again in (mode, counter.joined("file_lock")):
        assert bought(again, asked) == new
        assert [again.store.find(order.id) for order in orders] == orders
        assert {type(again.store.find(order.id)) for order in old[1:]} == {NoSuchOrder}


def test_a_journal_that_is_lost_and_restored_does_not_come_before_later_ones(counter: Counter, directory: Path) -> None:
    """An order that was sold in it, and cancelled in a later one, is cancelled."""
    mode = counter.opened("file_lock")
    order = sell(mode)
    closed_of(mode, directory, 1)
    assert isinstance(mode.execute(Cancel(order.id, "default")), Cancelled)
    closed_of(mode, directory, 3)
    (_, first), *_ = journal.closed(directory)["default"]
    first.rename(directory / "lost")
    ClosedIndex(directory).catch_up()
    assert len(known(directory)) == 2
    (directory / "lost").rename(first)
    ClosedIndex(directory).catch_up()
    assert len(known(directory)) == 3
    found = counter.joined("file_lock").store.find(order.id)
    assert isinstance(found, Order)
    assert found.status == "cancelled"
    assert inspected(directory).wrong == []


@pytest.mark.parametrize("mode_name", ["group_commit", "file_lock", "single_writer"])
def test_an_index_that_cannot_be_used_fails_only_who_needs_it(
    counter: Counter, directory: Path, mode_name: str
) -> None:
    """Who asks for a key or an old order is told; all others sell."""
    mode = counter.opened("file_lock")
    old = closed_of(mode, directory, 2)
    for path in directory.glob(f"{FILE}*"):
        path.unlink()
    (directory / FILE).write_bytes(b"no database at all" * 100)
    mode = counter.opened(mode_name)
    for _ in range(2):
        with pytest.raises(Damaged, match="remove it, it is made again"):
            mode.execute(keyed())
        with pytest.raises(Damaged, match="remove it, it is made again"):
            mode.execute(Cancel(old[0].id, "default"))
        sell(mode)
    assert look(mode).version == len(old) + 2


def test_a_page_that_cannot_be_read_fails_its_own_command_and_not_the_batch(counter: Counter, directory: Path) -> None:
    """In the midst of others: they are sold, with one write, and what came before it counts."""
    store = counter.opened("group_commit").store
    assert isinstance(store, JsonFile)
    for _ in range(10):
        commit(store, decide_now, [buying()])
    ClosedIndex(directory).catch_up()
    before = look(counter.joined("group_commit"))
    (_, first), *_ = journal.closed(directory)["default"]
    (directory / FILE).write_bytes(b"no database at all" * 100)
    for unreadable in (keyed(), Cancel(buying().order, "default")):
        replies = commit(store, decide_now, [buying(), unreadable, buying()])
        assert [type(reply) for reply in replies] == [Sold, Damaged, Sold]
    assert look(counter.joined("group_commit")).version == before.version + 4
    assert first.exists()


def test_a_refusal_comes_out_of_a_pipe_as_it_went_in() -> None:
    """Of one who writes for others: how long it was busy for is told too."""
    for busy in (Busy(0), Busy(0.25)):
        again = pickle.loads(pickle.dumps(busy))  # noqa: S301  # our own
        assert (type(again), str(again), again.wait_s) == (Busy, str(busy), busy.wait_s)
