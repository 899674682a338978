"""Journals that are closed while others look, sell, make events and die: nobody sees less than there is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from service import rules
from service.batch import commit
from service.catalogue import CLAIMS
from service.commands import Buy, Cancel, Confirm, Hold, Resize, key_of
from service.mode import NotWritten
from service.outcomes import Cancelled, Held, NoSuchEvent, NoSuchOrder, Reply, Sized, Sold
from service.stores import disk, document, fenced, fencing, followed, journal, json_file, order_index
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile
from service.stores.lines import CARRIED, change_of
from service.stores.sealed import unseal
from service.values import Event, Order, TicketMap
from tests.counter import NOW, ON_FILES, Counter, buying, decide_now, look, sell
from tests.stranger import sells_first

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.mode import Mode

FORK = multiprocessing.get_context("fork")
CAPACITY = 1000
SHORT_BYTES = 900
SELLERS, ORDERS_EACH = 3, 20


@pytest.fixture
def directory(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    (counter.directory / "default.json").write_text(f'{{"count": {CAPACITY}}}')
    return counter.directory


def changes(mode: Mode, after: int = 0) -> list[int]:
    """Return the versions of the changes that a looker is told of."""
    lines = mode.store.changes("default", after)
    assert not isinstance(lines, NoSuchEvent)
    return [change_of(unseal(line)).version for line in lines]


def tickets(mode: Mode) -> TicketMap:
    seen = mode.store.tickets("default", 1, CAPACITY)
    assert isinstance(seen, TicketMap)
    return seen


def held(mode: Mode) -> Order:
    reply = mode.execute(Hold(buying().order, "default", 1, 60.0))
    assert isinstance(reply, Held)
    return reply.order


def test_a_journal_that_begins_with_many_holds_is_not_closed_at_once(counter: Counter, directory: Path) -> None:
    """What it begins with is more than its bound: it is full when it has grown by that, and not before each order."""
    mode = counter.opened("file_lock")
    holds = [held(mode) for _ in range(20)]
    before = len(journal.closed(directory)["default"])
    assert (directory / "default.jsonl").stat().st_size > 3 * SHORT_BYTES
    for _ in range(9):
        sell(mode)
    assert len(journal.closed(directory)["default"]) <= before + 9 * 250 // SHORT_BYTES + 1
    for again in (mode, counter.joined("group_commit"), counter.opened("file_lock")):
        assert [again.store.find(hold.id) for hold in holds] == holds
    assert isinstance(mode.execute(Confirm(holds[0].id, "default")).order, Order)  # type: ignore[union-attr]


def test_holds_that_are_carried_on_cost_less_than_what_is_new(counter: Counter, directory: Path) -> None:
    """Twenty holds are several times what fills a journal: they are not written again for every few orders."""
    mode = counter.opened("file_lock")
    for _ in range(20):
        held(mode)
    for _ in range(200):
        sell(mode)
    files = [directory / "default.jsonl", *(path for _, path in journal.closed(directory)["default"])]
    lines = [unseal(line) for path in files for line in path.read_bytes().splitlines(keepends=True)]
    assert sum(line["status"] == CARRIED for line in lines) <= sum(line["status"] in {"sold", "held"} for line in lines)


@pytest.mark.parametrize("step", ["replace", "overwrite"])
def test_who_looks_sees_all_there_is_when_one_died_while_closing(counter: Counter, directory: Path, step: str) -> None:
    """Before the new journal is in place, and between it and its document: counters, tickets, orders and changes."""
    mode = counter.opened("file_lock")
    orders = [held(mode)]
    path = directory / "default.jsonl"
    while path.stat().st_size < SHORT_BYTES + path.read_bytes().index(b"\n") + 1:
        orders.append(sell(mode))

    def be_worker() -> None:
        dying = counter.joined("file_lock")
        target = journal if step == "replace" else json_file
        pytest.MonkeyPatch().setattr(target, step, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        sell(dying)

    worker = FORK.Process(target=be_worker)
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    version = orders[-1].version
    for looker in (mode, counter.joined("file_lock")):
        assert look(looker).version == version
        assert tickets(looker) == TicketMap(look(looker), ((2, version),), ((1, 1),))
        assert [looker.store.find(order.id) for order in orders] == orders
        assert changes(looker) == list(range(1, version + 1))
    assert sell(mode).version == version + 1
    assert tickets(mode) == TicketMap(look(mode), ((2, version + 1),), ((1, 1),))


@pytest.mark.parametrize("name", [name for name in ON_FILES if CLAIMS[name].reach == "processes"])
def test_lookers_never_see_less_than_before_while_journals_are_closed(
    counter: Counter, directory: Path, name: str
) -> None:
    """Workers hold, sell and cancel through many short journals; whoever looks finds versions that only rise, each
    change once, as many tickets gone as the counters say, and every order that was told of.
    """
    mode = counter.build(name)
    pipes = [FORK.Pipe(duplex=False) for _ in range(SELLERS)]

    def be_worker(number: int) -> None:
        mode.open()
        for _ in range(ORDERS_EACH):
            order = sell(mode)
            kept = held(mode)
            reply = mode.execute(Cancel(kept.id, "default"))
            assert isinstance(reply, Cancelled)
            pipes[number][1].send((order, reply.order))
        pipes[number][1].send(None)

    workers = [FORK.Process(target=be_worker, args=(number,)) for number in range(SELLERS)]
    for worker in workers:
        worker.start()
    mode.open()
    told: list[Order] = []
    open_ends = [receiver for receiver, _ in pipes]
    seen, mapped = 0, 0
    while open_ends:
        for receiver in [each for each in open_ends if each.poll()]:
            orders = receiver.recv()
            told += orders or ()
            if orders is None:
                open_ends.remove(receiver)
        event, ticket_map, listed = look(mode), tickets(mode), changes(mode)
        assert event.version >= max([seen, *(order.version for order in told)])
        assert ticket_map.event.version >= mapped
        gone = sum(last - first + 1 for first, last in (*ticket_map.sold, *ticket_map.held))
        assert gone == CAPACITY - ticket_map.event.count
        assert listed == list(range(1, len(listed) + 1))
        assert len(listed) >= event.version
        assert [mode.store.find(order.id) for order in told[-3:]] == told[-3:]
        seen, mapped = event.version, ticket_map.event.version
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * SELLERS
    again = counter.opened("file_lock")
    assert look(again) == Event("default", CAPACITY, CAPACITY - SELLERS * ORDERS_EACH, 3 * SELLERS * ORDERS_EACH)
    assert [again.store.find(order.id) for order in told] == told
    assert len(journal.closed(directory).get("default", ())) > 10 or name == "lease"


def test_an_event_that_is_made_by_two_at_once_has_one_capacity(counter: Counter, directory: Path) -> None:
    """Each between the other's steps: at most one is told that it made the event, and that with its own capacity."""
    stores = [counter.opened("file_lock").store, counter.joined("file_lock").store]
    real = document.place
    for number, at in enumerate((".jsonl", ".json")):
        made: list[bool] = []

        def between(path: Path, text: bytes, at: str = at, name: str = f"e{number}", made: list[bool] = made) -> None:
            if path.suffix == at and not made:
                made.append(True)  # so that the other one is not stopped here
                made[0] = stores[1].create(name, 20)
            real(path, text)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_file, "place", between)
            mine = stores[0].create(f"e{number}", 10)
        event = stores[0].look(f"e{number}")
        assert isinstance(event, Event)
        assert [mine, made[0]].count(True) <= 1
        assert not mine or event.capacity == 10
        assert not made[0] or event.capacity == 20
    assert sorted(path.name for path in directory.glob("e*")) == ["e0.json", "e0.jsonl", "e1.json", "e1.jsonl"]


@pytest.mark.parametrize("step", ["before the journal", "between the two", "with a second name"])
def test_an_event_of_one_who_died_while_making_it_can_be_made(counter: Counter, directory: Path, step: str) -> None:
    """It has the capacity that the next one asks for, at once or by a change; and its files have one name each."""
    mode = counter.opened("file_lock")

    def be_worker() -> None:
        patch = pytest.MonkeyPatch()
        real = document.place

        def die(path: Path, text: bytes) -> None:
            if (path.suffix == ".jsonl") == (step == "before the journal"):
                os.kill(os.getpid(), signal.SIGKILL)
            real(path, text)

        if step == "with a second name":
            patch.setattr(disk, "unlink", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            patch.setattr(document, "_spare", spare)
        else:
            patch.setattr(json_file, "place", die)
        mode.store.create("concert", 10)

    def spare(path: Path, text: bytes) -> Path:
        made = path.with_name("concert.1-1.tmp")
        made.write_bytes(text)
        return made

    worker = FORK.Process(target=be_worker)
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert isinstance(mode.store.look("concert"), NoSuchEvent)
    made = mode.store.create("concert", 20)
    assert made == (step == "before the journal")
    assert isinstance(mode.execute(Resize("concert", 20)), Sized)
    event = mode.store.look("concert")
    assert isinstance(event, Event)
    assert (event.capacity, event.count) == (20, 20)
    assert isinstance(counter.opened("file_lock").execute(buying(20, event="concert")), Sold)
    assert not list(directory.glob("*.tmp"))


def test_a_spare_file_is_never_written_through_its_second_name(counter: Counter, directory: Path) -> None:
    """Of one who died within ``place``, and whose process and thread have the same numbers as this one: the journal
    that has the name of the spare file too is not emptied.
    """
    mode = counter.opened("file_lock")
    sell(mode)
    spare = directory / f"default.{os.getpid()}-{threading.get_ident()}.tmp"
    spare.hardlink_to(directory / "default.jsonl")
    before = (directory / "default.jsonl").read_bytes()
    document.replace(directory / "default.json", (directory / "default.json").read_bytes())
    assert (directory / "default.jsonl").read_bytes() == before


def test_an_event_that_is_asked_for_is_not_let_go_of(
    counter: Counter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most events are known to a worker that others do not sell from, and so never read again: asked for all the time,
    one is the last to be forgotten. In the middle of a batch, that would sell twice.
    """
    monkeypatch.setattr(followed, "FOLLOWED_MAX", 3)
    mode = counter.opened("group_commit")
    store = mode.store
    assert isinstance(store, JsonFile)
    for name in "abcdef":
        assert store.create(name, 5)
        mode.execute(buying(event=name))
        sell(mode)
        assert "default" in store._followed  # noqa: SLF001  # nothing else tells
        assert len(store._followed) <= 3  # noqa: SLF001  # as above
    assert directory == counter.directory


def test_lines_of_others_in_the_middle_of_a_batch_are_found_by_the_next(counter: Counter, directory: Path) -> None:
    """Somebody whom no lock keeps out writes between the decision and the write: what was expected is not believed, and
    the next one goes by what stands there.
    """
    mode = counter.opened("group_commit")
    store = mode.store
    assert isinstance(store, JsonFile)
    sell(mode)
    path = directory / "default.jsonl"
    with sells_first(path, CAPACITY - 3):
        commit(store, decide_now, [buying(), buying()])
    order = sell(mode)
    # Of the two in the batch, the first came too late, and the second follows the stranger's by its version alone.
    assert order.version == 3
    assert order.tickets == (4,)


def test_a_refused_page_leaves_nothing_expected(counter: Counter, directory: Path) -> None:
    """Whatever breaks in a batch, the decision too: the next order is decided on what is on disk."""
    mode = counter.opened("group_commit")
    store = mode.store
    assert isinstance(store, JsonFile)
    sell(mode)

    def breaks(page: Any, command: Any) -> Any:  # noqa: ANN401  # whatever a decision takes and gives
        if command.quantity == 2:
            raise RuntimeError("unforeseen")
        return decide_now(page, command)

    with pytest.raises(RuntimeError, match="unforeseen"):
        commit(store, breaks, [buying(1), buying(2)])
    assert sell(mode).tickets == (2,)
    assert look(mode) == Event("default", CAPACITY, CAPACITY - 2, 2)
    assert directory == counter.directory


class Between:
    """A store with fences, whose holder is stopped between two lines of one page while ``then`` runs."""

    def __init__(self, patch: pytest.MonkeyPatch, when: Callable[[int], bool], then: Callable[[], None]) -> None:
        self._put, self._then, self._when, self._number = fenced._put, then, when, 0  # noqa: SLF001  # the step
        patch.setattr(fenced, "_put", self)

    def __call__(self, *arguments: Any) -> int:  # noqa: ANN401  # whatever the real one takes
        self._number += 1
        if self._when(self._number):
            self._then()
        return self._put(*arguments)


@pytest.mark.parametrize("other", ["takes over", "sells"])
@pytest.mark.parametrize("line", [1, 2])
def test_a_holder_that_loses_its_lease_between_two_lines_sells_nothing_late(
    counter: Counter, line: int, other: str
) -> None:
    """An order that ends a hold writes two changes. Whoever takes over before the second has its own way: either the
    first line alone counts, which is right by itself, or the whole page, and everybody reads the same.
    """
    later = NOW + 100
    mode = counter.opened("lease")
    store, rival = mode.store, counter.joined("lease").store
    assert isinstance(store, FencedJsonFile)
    assert isinstance(rival, FencedJsonFile)
    kept = mode.execute(Hold(buying().order, "default", 9, 60.0))
    assert isinstance(kept, Held)
    sold: list[Reply] = []

    def sell_late(by: FencedJsonFile, command: Buy, fence: int) -> Reply:
        decision = rules.decide(by.read(command), command, later)
        by.write(decision.page, fence)
        return decision.reply

    def take_over() -> None:
        fence = rival.fence("default")
        if other == "sells":
            sold.append(sell_late(rival, buying(1), fence))

    command = buying(4)
    with pytest.MonkeyPatch.context() as patch:
        Between(patch, lambda number: number == line, take_over)
        fence = store.fence("default")
        try:
            mine = sell_late(store, command, fence)
        except NotWritten:
            mine = None
    assert (mine is None) == (other == "sells" or line == 1)
    history = [(change.id, change.status) for change in told(counter)]
    assert len(set(history)) == len(history)
    assert ((command.order, "sold") in history) == (mine is not None)
    expected = Event("default", 10, *counted(told(counter)))
    for each in (store, rival):
        assert each.look("default") == expected
    for name in ("lease", "file_lock"):
        assert look(counter.opened(name)) == expected
    assert fencing.taken(counter.directory / "default.jsonl") >= 2


def told(counter: Counter) -> list[Order]:
    """Return the orders as the changes of the journal have made them, one after the other."""
    lines = counter.joined("lease").store.changes("default", 0)
    assert not isinstance(lines, NoSuchEvent)
    found = [change_of(unseal(line)) for line in lines]
    assert [change.version for change in found] == list(range(1, len(found) + 1))
    return [change for change in found if isinstance(change, Order)]


def counted(history: list[Order]) -> tuple[int, int]:
    """Return the count and the version after a history."""
    owned: dict[int, str] = {}
    for change in history:
        if change.status in {"sold", "held"}:
            assert not set(change.tickets) & owned.keys()
            owned |= dict.fromkeys(change.tickets, change.id)
        else:
            owned = {ticket: owner for ticket, owner in owned.items() if owner != change.id}
    return 10 - len(owned), len(history)


def test_a_key_is_no_order(counter: Counter, directory: Path) -> None:
    """Orders and keys stand in one index: who asks for an order by the name of a key is told that there is none."""
    mode = counter.opened("file_lock")
    # As if a key had been found whose digest begins like the orders of its event.
    key = buying().order[:8] + key_of("default", "a key")[8:]
    order = buying()
    mode.execute(Buy(order.order, "default", 1, key=key))
    mode.execute(Buy(buying().order, "default", CAPACITY + 1, key=key[:-1] + "0"))
    for each in (key, key[:-1] + "0"):
        assert mode.store.find(each) == NoSuchOrder(each)
    assert directory == counter.directory


def test_a_line_longer_than_what_is_read_at_once_hides_nothing(
    counter: Counter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal's first line names all tickets that came back: orders and keys behind it are found, however long."""
    monkeypatch.setattr(order_index, "PIECE_BYTES", 64)
    mode = counter.opened("file_lock")
    first = mode.execute(Buy(buying().order, "default", 1, key=key_of("default", "a key")))
    assert isinstance(first, Sold)
    assert mode.execute(Buy(buying().order, "default", 1, key=key_of("default", "a key"))) == first
    assert mode.store.find(first.order.id) == first.order
    with (directory / "default.jsonl").open("ab") as file:
        file.write(b'{"version":2,"order":"')
    assert counter.joined("group_commit").store.find(first.order.id) == first.order
