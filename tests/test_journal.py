"""Journals that are closed and begun anew: nothing is lost on the way, whoever dies there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from service import catalogue
from service.mode import Damaged, NotWritten, Unknown
from service.outcomes import NoSuchEvent, NoSuchOrder, Sold
from service.stores import closed_index, disk, document, journal, order_index, recovery, replay
from service.stores.closed_index import ClosedIndex
from service.stores.json_file import JsonFile
from service.stores.replay import Refused, verified
from service.stores.sealed import seal, unseal
from service.values import Event, Order
from tests.counter import Counter, buying, decide_now, look, sell
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.mode import Mode

FORK = get_context("fork")
CAPACITY = 1000
SHORT_BYTES = 700
"""A journal of three or four orders."""


@pytest.fixture
def directory(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    (counter.directory / "default.json").write_text(f'{{"count": {CAPACITY}}}')
    return counter.directory


def opened(counter: Counter, name: str = "file_lock", *, joins: bool = False, verify: bool = False) -> Mode:
    """Open a mode whose journals are short; as a service that starts, or as a worker that ``joins`` a running one."""
    if not joins:
        counter.close()
        counter.claims.append(recovery.prepare(counter.directory, "a test", verify=verify).descriptor)
    mode = catalogue.MODES[name](JsonFile(counter.directory), decide_now, 10.0)
    mode.open()
    return mode


def versions(mode: Mode, after: int = 0) -> list[int]:
    """Return the versions of all changes that the store tells of."""
    changes = mode.store.changes("default", after)
    assert not isinstance(changes, NoSuchEvent)
    return [unseal(line)["version"] for line in changes]


def test_a_full_journal_is_closed_and_all_orders_are_still_there(counter: Counter, directory: Path) -> None:
    """Versions go on, each order is found, every change is told of once, from any version on; also after a start."""
    mode, other = opened(counter), opened(counter, joins=True)
    orders = [sell(each) for _ in range(20) for each in (mode, other)]
    assert [order.version for order in orders] == list(range(1, 41))
    closed = journal.closed(directory)["default"]
    assert len(closed) >= 8
    assert closed[0][0] == 0
    for again in (mode, other, opened(counter), opened(counter, verify=True)):
        assert look(again) == Event("default", CAPACITY, CAPACITY - 40, 40)
        assert [again.store.find(order.id) for order in orders] == orders
        assert [versions(again, after) for after in range(42)] == [list(range(after + 1, 41)) for after in range(42)]
    assert isinstance(mode.store.find(buying().order), NoSuchOrder)
    assert sell(opened(counter)).version == 41


@pytest.mark.parametrize("name", ["file_lock", "ticket_lock", "group_commit", "thread_lock", "process_lock"])
def test_a_batch_goes_into_one_journal_whichever_mode_writes_it(counter: Counter, directory: Path, name: str) -> None:
    """No journal is much longer than its bound, and each begins with how the event stood."""
    mode = opened(counter, name)
    for _ in range(20):
        sell(mode)
    for since, path in journal.closed(directory)["default"]:
        assert SHORT_BYTES <= path.stat().st_size < SHORT_BYTES + 300
        assert replay.first_of(path).event == Event("default", CAPACITY, CAPACITY - since, since)


STEPS = ["link", "replace", "overwrite"]


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_whoever_dies_while_closing_a_journal_loses_nothing(
    counter: Counter, directory: Path, step: str, *, verify: bool, restart: bool
) -> None:
    """Killed before the second name, before the new journal is in place, or before the document says so."""
    mode = opened(counter)
    orders = []
    while (directory / "default.jsonl").stat().st_size < SHORT_BYTES:
        orders.append(sell(mode))

    def be_worker() -> None:
        dying = opened(counter, joins=True)
        patch = pytest.MonkeyPatch()
        if step == "link":
            patch.setattr(disk, "link", die)
        elif step == "replace":
            patch.setattr(journal, "replace", die)
        else:
            patch.setattr("service.stores.json_file.overwrite", die)
        sell(dying)

    worker = FORK.Process(target=be_worker)
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    again = opened(counter, verify=verify) if restart else mode
    orders += [sell(again) for _ in range(10)]
    assert [order.version for order in orders] == list(range(1, len(orders) + 1))
    assert [again.store.find(order.id) for order in orders] == orders
    assert versions(again) == list(range(1, len(orders) + 1))
    assert look(opened(counter, verify=True)).version == len(orders)


def test_a_full_disk_while_a_journal_is_closed_sells_nothing(
    counter: Counter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A definite refusal; with room again the counter sells on from where it stood."""
    mode = opened(counter)
    while (directory / "default.jsonl").stat().st_size < SHORT_BYTES:
        version = sell(mode).version

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "replace", full)
        with pytest.raises(NotWritten, match="No space left on device"):
            mode.execute(buying())
    assert sell(mode).version == version + 1
    assert versions(opened(counter, verify=True)) == list(range(1, version + 2))


def test_a_start_reads_what_is_new_and_not_the_whole_journal(
    counter: Counter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound a start believes the document, looks at the line that it covers last, and reads from there on; a
    damaged line before that is found by ``verify``, by whoever asks for that order, and by a start without a document.
    """
    monkeypatch.setattr(recovery, "READ_BYTES_MAX", 100)
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", 1 << 20)
    mode = counter.opened("file_lock")
    orders = [sell(mode) for _ in range(10)]
    text = (directory / "default.json").read_bytes()
    orders += [sell(mode) for _ in range(2)]
    (directory / "default.json").write_bytes(text)
    path = directory / "default.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(b'"quantity":1', b'"quantity":2'), *lines[4:]]))
    again = counter.opened("file_lock")
    assert look(again).version == 12
    assert again.store.find(orders[11].id) == orders[11]
    with pytest.raises(Damaged):
        again.store.find(orders[2].id)
    with pytest.raises(Refused, match="line 4 "):
        verified(path)
    counter.close()
    (directory / "default.json").unlink()
    with pytest.raises(Refused, match="line 4 "):
        counter.build("file_lock")


def test_what_is_damaged_beneath_a_service_that_runs_is_named(counter: Counter, directory: Path) -> None:
    """Another journal was put in its place, say: where it is, and what to do, stands in the log, too."""
    mode = counter.opened("file_lock")
    sell(mode)
    end = (directory / "default.jsonl").stat().st_size
    with (directory / "default.jsonl").open("ab") as file:
        file.write(b"not ours\n")
    with pytest.raises(Damaged, match=rf"the journal of default is damaged at byte {end}: .*: stop the service"):
        sell(mode)


@pytest.mark.parametrize("damage", ["another version", "no line ends there", "longer than the journal"])
def test_a_document_that_does_not_fit_its_journal_is_not_believed(
    counter: Counter, directory: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The journal is read from its first line instead, and says what is so; or what is missing is told."""
    monkeypatch.setattr(recovery, "READ_BYTES_MAX", 100)
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", 1 << 20)
    mode = counter.opened("file_lock")
    for _ in range(5):
        sell(mode)
    at = document.parsed(directory / "default.json")
    counter.close()
    if damage == "another version":
        text = document.rendered(replace(at, event=Event("default", CAPACITY, CAPACITY - 4, 4)))
    elif damage == "no line ends there":
        text = document.rendered(replace(at, covered=at.covered - 7))
    else:
        text = document.rendered(
            replace(at, event=Event("default", CAPACITY, CAPACITY - 9, 9), covered=at.covered + 900)
        )
    (directory / "default.json").write_bytes(text)
    if damage == "longer than the journal":
        with pytest.raises(Refused, match="knows version 9, but the journal ends at 5"):
            counter.build("file_lock")
    else:
        assert look(counter.opened("file_lock")) == at.event


def whole(counter: Counter) -> Iterator[Path]:
    mode = opened(counter)
    for _ in range(12):
        sell(mode)
    counter.close()
    yield from (path for _, path in journal.closed(counter.directory)["default"])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("the first is missing", r"default\.\d+\.jsonl goes on from version \d+, and what came before is missing"),
        ("one in between is missing", "does not go on from where the journal before it ends"),
        ("a bit flipped", r"default\.0+\.jsonl, line 2"),
        ("the last line cut", r"default\.0+\.jsonl, line \d"),
        ("the last line missing", r"\(default\.0+\.jsonl\): one of the two"),
    ],
)
def test_verifying_reads_the_closed_journals_too(counter: Counter, directory: Path, damage: str, sentence: str) -> None:
    """A journal that is missing or damaged is named."""
    first, second, *_ = whole(counter)
    if damage == "the first is missing":
        first.unlink()
    elif damage == "one in between is missing":
        second.unlink()
    elif damage == "a bit flipped":
        first.write_bytes(first.read_bytes().replace(b'"tickets":[1]', b'"tickets":[3]'))
    elif damage == "the last line missing":
        first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[:-1]))
    else:
        first.write_bytes(first.read_bytes()[:-9])
    counter.build("file_lock")
    with pytest.raises(Refused, match=sentence):
        opened(counter, verify=True)
    assert directory == counter.directory


def test_a_journal_that_does_not_begin_where_its_document_says_is_noticed(counter: Counter, directory: Path) -> None:
    """While it sells: the journal was replaced by a shorter one that is not the next one."""
    mode = opened(counter)
    for _ in range(2):
        sell(mode)
    (directory / "default.jsonl").write_bytes(journal.opening(Event("default", CAPACITY, CAPACITY, 0)))
    with pytest.raises(Damaged, match=r"covers \d+ bytes of a journal that has"):
        mode.execute(buying())


def test_the_index_is_made_again_when_it_is_missing(counter: Counter, directory: Path) -> None:
    """It is no truth of its own: removed, in whichever state, it comes back with the first question."""
    mode = opened(counter)
    orders = [sell(mode) for _ in range(30)]
    assert [mode.store.find(order.id) for order in orders] == orders
    counter.close()
    for path in directory.glob("orders.sqlite*"):
        path.unlink()
    again = opened(counter)
    assert [again.store.find(order.id) for order in orders] == orders
    until((directory / "orders.sqlite").exists)


def test_an_index_that_cannot_be_used_says_what_to_do(counter: Counter, directory: Path) -> None:
    """Damaged, or of other journals: never a wrong order."""
    mode = opened(counter)
    orders = [sell(mode) for _ in range(30)]
    assert mode.store.find(orders[0].id) == orders[0]
    for path in directory.glob("orders.sqlite*"):
        path.unlink()
    (directory / "orders.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(Damaged, match="stop the service and remove it, it is made again"):
        opened(counter).store.find(orders[0].id)


def test_an_index_without_room_is_not_damaged_and_all_are_found(
    counter: Counter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is sent to remove a file: what is not in there is looked for in the journals; with room it is."""
    with monkeypatch.context() as full:
        pragmas = f"PRAGMA page_size = 512; {closed_index.PRAGMAS} PRAGMA max_page_count = 5;"
        full.setattr(closed_index, "PRAGMAS", pragmas)
        mode = opened(counter)
        orders = [sell(mode) for _ in range(30)]
        index = ClosedIndex(directory)
        with pytest.raises(NotWritten, match="no room on the disk"):
            index.catch_up()
        assert [mode.store.find(order.id) for order in orders] == orders
    assert (directory / "orders.sqlite").exists()
    index.catch_up()
    assert index.left("default", journal.closed(directory)["default"]) == []
    assert [mode.store.find(order.id) for order in orders] == orders


def test_memory_is_bounded_by_forgetting_the_events_least_asked_for(
    counter: Counter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgotten, an event's orders are read again when somebody asks."""
    monkeypatch.setattr(order_index, "ORDERS_MAX", 6)
    names = ["default", "one", "two"]
    for name in names[1:]:
        (directory / f"{name}.json").write_text('{"count": 9}')
    mode = counter.opened("file_lock")
    orders: list[Order] = []
    for name in names * 4:
        reply = mode.execute(buying(event=name))
        assert isinstance(reply, Sold)
        orders.append(reply.order)
    index = mode.store._index  # type: ignore[attr-defined]  # noqa: SLF001  # nothing else tells what it keeps
    for order in orders:
        assert mode.store.find(order.id) == order
        assert sum(len(each.starts) for each in index._growing.values()) <= 6  # noqa: SLF001


def test_orders_that_were_seen_and_then_taken_back_are_forgotten(counter: Counter, directory: Path) -> None:
    """A batch that did not fit the disk was whole for a moment; what stands there now is what counts."""
    mode = counter.opened("file_lock")
    first = sell(mode)
    path = directory / "default.jsonl"
    before = path.read_bytes()
    gone = sell(mode)
    assert mode.store.find(gone.id) == gone
    sold = seal({**unseal(path.read_bytes()[len(before) :]), "order": buying().order})
    path.write_bytes(before + sold)
    assert isinstance(mode.store.find(gone.id), NoSuchOrder)
    assert mode.store.find(first.id) == first
    assert isinstance(mode.store.find(unseal(sold)["order"]), Order)


def test_opening_the_index_again_gives_up_no_lock(counter: Counter, directory: Path) -> None:
    """The locks of SQLite are those of the process: whoever closes a file of their own on it loses all of them, and the
    next process that leaves takes itself for the last one, and the log away that is still in use.
    """
    mode = opened(counter)
    for _ in range(10):
        sell(mode)
    index = ClosedIndex(directory)
    used = index._connected()  # noqa: SLF001  # what a thread of a worker does
    used.execute("INSERT INTO orders VALUES (x'00', 1, 1)")
    index._connected().close()  # noqa: SLF001  # what another one does meanwhile
    # A new interpreter: a forked one would have this one's memory of who holds what.
    come_and_go = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM orders').fetchall()"
    subprocess.run([sys.executable, "-c", come_and_go, directory / "orders.sqlite"], check=True)
    assert (directory / "orders.sqlite-wal").exists()
    used.close()


def test_an_event_is_not_started_anew_over_its_closed_journals(counter: Counter, directory: Path) -> None:
    """Whoever removes the journal must remove the closed ones too: a new one would be closed under a name of theirs."""
    mode = opened(counter)
    for _ in range(12):
        sell(mode)
    counter.close()
    (directory / "default.jsonl").unlink()
    for text in (None, '{"count": 10}'):
        (directory / "default.json").unlink(missing_ok=True)
        if text:
            (directory / "default.json").write_text(text)
        with pytest.raises(Refused, match=r"default.jsonl is missing, but default\.\d+\.jsonl records sales"):
            counter.build("file_lock")
    (directory / "default.jsonl").write_bytes(journal.opening(Event("default", 10, 10)))
    with pytest.raises(Refused, match=r"does not come before default\.jsonl"):
        counter.build("file_lock")
    with pytest.raises(Damaged, match="is there already and is another journal"):
        journal.close(directory / "default.jsonl", replay.first_of(directory / "default.jsonl"))
    assert replay.first_of(directory / "default.jsonl").event == Event("default", 10, 10)


def test_an_index_of_other_journals_is_not_believed(counter: Counter, directory: Path) -> None:
    """An event was started anew under its old name, and the index was left: no order is missed, no old one found."""
    mode = opened(counter)
    old = [sell(mode) for _ in range(20)]
    assert [mode.store.find(order.id) for order in old] == old
    counter.close()
    for path in directory.glob("default.*"):
        path.unlink()
    (directory / "default.json").write_text('{"count": 900}')
    mode = opened(counter)
    orders = [sell(mode) for _ in range(20)]
    assert [mode.store.find(order.id) for order in orders] == orders
    assert {type(mode.store.find(order.id)) for order in old} == {NoSuchOrder}


def test_a_journal_that_is_not_closed_yet_is_not_indexed_as_one(counter: Counter, directory: Path) -> None:
    """It has its second name, of one who died at that, and grows on under leases until the next start closes it."""
    mode = opened(counter)
    orders = []
    while (directory / "default.jsonl").stat().st_size < SHORT_BYTES:
        orders.append(sell(mode))
    journal.closed_path(directory / "default.jsonl", 0).hardlink_to(directory / "default.jsonl")
    mode.store._index._closed.catch_up()  # type: ignore[attr-defined]  # noqa: SLF001  # what a worker does that opens now
    orders += [sell(mode) for _ in range(9)]
    assert [mode.store.find(order.id) for order in orders] == orders
    again = opened(counter, verify=True)
    assert [again.store.find(order.id) for order in orders] == orders


def test_a_start_finishes_the_closing_of_a_journal(counter: Counter, directory: Path) -> None:
    """Whoever sells next, by whichever mode, finds one that grows and closed ones that do not."""
    mode = opened(counter)
    orders = [sell(mode) for _ in range(2)]
    counter.close()
    journal.closed_path(directory / "default.jsonl", 0).hardlink_to(directory / "default.jsonl")
    again = opened(counter)
    assert replay.first_of(directory / "default.jsonl").since == 2
    assert [again.store.find(order.id) for order in orders] == orders
    assert sell(again).version == 3


def test_half_a_batch_that_cannot_be_taken_back_is_unknown(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may say that nothing was sold, for a whole line of it may stand there."""
    mode = counter.opened("file_lock")
    write = os.write

    def cannot(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, text: write(descriptor, bytes(text)[:20]))
        patch.setattr(os, "ftruncate", cannot)
        with pytest.raises(Unknown, match="could not be taken back"):
            mode.execute(buying())
    assert sell(mode).version == 1
