"""The index of closed journals: of other journals, damaged, or locked, it fails nobody who needs none of it."""

from __future__ import annotations

import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from service.batch import commit
from service.commands import Buy, Cancel, key_of
from service.mode import Busy, Damaged
from service.outcomes import Cancelled, NoSuchOrder, Sold
from service.stores import closed_index, journal, order_index
from service.stores.closed_index import FILE, ClosedIndex
from service.stores.inspection import inspected
from service.stores.json_file import JsonFile
from service.stores.order_index import OrderIndex
from service.values import Order
from tests.counter import Counter, buying, decide_now, look, sell
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.mode import Mode

CAPACITY = 1000
SHORT_BYTES = 700
"""A journal of three or four orders."""
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.executescript(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


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


@contextmanager
def locked(directory: Path, statements: str) -> Iterator[None]:
    """Let another process stand still in the midst of what it does to the index."""
    ClosedIndex(directory)._connected().close()  # noqa: SLF001  # it has its tables then
    # A new interpreter: a forked one would have this one's memory of who holds what.
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, directory / FILE, statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.kill()


@pytest.mark.parametrize("mode_name", ["group_commit", "file_lock"])
def test_nobody_waits_for_one_who_fills_the_index(counter: Counter, directory: Path, mode_name: str) -> None:
    """Who asks for an order or a key of a journal that is not in there yet finds it in the journal itself; a new key
    sells, and all others too. When it is in there, the memory for that is free again.
    """
    mode = counter.opened(mode_name)
    asked = keyed()
    orders = [bought(mode, asked)]
    with locked(directory, "BEGIN IMMEDIATE"):
        while len(journal.closed(directory).get("default", ())) < 3:
            orders.append(sell(mode))
        for each in (mode, counter.joined(mode_name)):
            assert bought(each, asked) == orders[0]
            assert [each.store.find(order.id) for order in orders] == orders
            orders.append(bought(each, keyed(len(orders))))
            orders.append(sell(each))
            assert isinstance(each.execute(Cancel(buying().order, "default")), NoSuchOrder)
        assert isinstance(mode.execute(Cancel(orders[1].id, "default")), Cancelled)
    assert known(directory) == []
    index = mode.store._index  # type: ignore[attr-defined]  # noqa: SLF001  # nothing else tells what it keeps
    assert len(index._growing) > 1  # noqa: SLF001  # as above
    ClosedIndex(directory).catch_up()
    assert mode.store.find(orders[0].id) == orders[0]
    assert list(index._growing) == [directory / "default.jsonl"]  # noqa: SLF001  # as above
    assert [each.store.find(order.id) for order in orders[2:]] == orders[2:]


@pytest.mark.parametrize("mode_name", ["group_commit", "file_lock", "single_writer"])
def test_where_the_index_is_locked_and_too_much_is_not_in_it_who_needs_it_is_told_so(
    counter: Counter, directory: Path, mode_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is busy, and nothing was done: never that there is no such order, and never that the file is damaged."""
    mode = counter.opened(mode_name)
    asked = keyed()
    orders = [bought(mode, asked), *closed_of(mode, directory, 3)]
    counter.close()
    with locked(directory, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE"):
        mode = counter.opened(mode_name)
        assert bought(mode, asked) == orders[0]
        counter.close()
        monkeypatch.setattr(order_index, "SCANNED_BYTES_MAX", 2 * SHORT_BYTES)
        mode = counter.opened(mode_name)
        for command in (asked, keyed(2), Cancel(orders[1].id, "default")):
            with pytest.raises(Busy, match="so the order was not placed"):
                mode.execute(command)
        orders.append(sell(mode))
        with pytest.raises(Busy):
            mode.store.find(orders[0].id)
    assert bought(mode, asked) == orders[0]
    assert [mode.store.find(order.id) for order in orders] == orders


def test_an_index_that_has_no_tables_yet_is_one_that_knows_nothing(counter: Counter, directory: Path) -> None:
    """Another worker has made the file, and came no further."""
    mode = counter.opened("file_lock")
    orders = closed_of(mode, directory, 2)
    for path in directory.glob(f"{FILE}*"):
        path.unlink()
    (directory / FILE).touch(0o600)
    again = counter.joined("file_lock")
    assert [again.store.find(order.id) for order in orders] == orders
    assert isinstance(again.store.find(buying().order), NoSuchOrder)


def test_an_index_that_could_not_be_filled_is_filled_when_somebody_misses_it(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a start, and without a journal that is closed: the lock was held for longer than anybody waits."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    monkeypatch.setattr(closed_index, "BUSY_S", 0.0)
    monkeypatch.setattr(closed_index, "TRIES_MAX", 1)
    monkeypatch.setattr(closed_index, "AGAIN_S", 0.0)
    directory = counter.directory
    (directory / "default.json").write_text(f'{{"count": {CAPACITY}}}')
    mode = counter.opened("file_lock")
    with locked(directory, "BEGIN IMMEDIATE"):
        orders = [sell(mode) for _ in range(10)]
        assert mode.store.find(orders[0].id) == orders[0]
    closed = journal.closed(directory)["default"]

    def filled() -> bool:
        assert mode.store.find(orders[0].id) == orders[0]
        return ClosedIndex(directory).left("default", closed) == []

    until(filled)


def test_a_refusal_comes_out_of_a_pipe_as_it_went_in() -> None:
    """Of one who writes for others: how long it was busy for is told too."""
    for busy in (Busy(0), Busy(0.25)):
        again = pickle.loads(pickle.dumps(busy))  # noqa: S301  # our own
        assert (type(again), str(again), again.wait_s) == (Busy, str(busy), busy.wait_s)
