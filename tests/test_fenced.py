"""The store with fences: however the lines of several holders come together, everybody reads the same from them."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.mode import NotWritten
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.stores import fenced, fencing, journal, recovery
from service.stores.fenced import FencedJsonFile
from service.stores.fencing import CANCEL
from service.stores.journal import closed
from service.stores.replay import Refused
from service.stores.sealed import seal, unseal
from service.values import Event, Order, TicketMap
from tests.counter import Counter, buying, decide_now, look, sell

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.mode import Store


class Killed(BaseException):
    """The end of a holder that is killed."""


class Holder(threading.Thread):
    """One who believes that it holds the lease. It goes a step when it is told to, and can be killed at each.

    ``cut`` is where the disk ends the line that it writes.
    """

    def __init__(self, store: FencedJsonFile, quantity: int, cut: int | None) -> None:
        super().__init__(daemon=True)
        self.command = buying(quantity)
        self.cut = cut
        self.outcome: Order | str | None = None
        self._store = store
        self.ended = False
        self._killed = False
        self._go, self._arrived = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self._arrived.acquire()

    def gate(self) -> None:
        """Wait to be told to go on."""
        self._arrived.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def step(self, *, kill: bool = False) -> None:
        """Let it go to its next gate."""
        if not self.ended:
            self._killed = kill
            self._go.release()
            self._arrived.acquire()

    def run(self) -> None:
        try:
            self.gate()
            fence = self._store.fence("default")
            self.gate()
            page = self._store.read(self.command)
            self.gate()
            decided = decide_now(page, self.command).page
            self._store.write(decided, fence)
            self.outcome = decided.order
        except NotWritten as error:
            self.outcome = str(error)
        except Killed:
            pass
        finally:
            self.ended = True
            self._arrived.release()


def gated(patch: pytest.MonkeyPatch) -> None:
    """Put the gates into the store, and the end of the disk."""

    def gate() -> None:
        thread = threading.current_thread()
        if isinstance(thread, Holder):
            thread.gate()

    def around(real: Callable[..., Any]) -> Callable[..., Any]:
        def waiting(*arguments: Any) -> Any:  # noqa: ANN401  # whatever the real one takes and gives
            gate()
            result = real(*arguments)
            gate()
            return result

        return waiting

    def write(descriptor: int, text: bytes) -> int:
        thread = threading.current_thread()
        cut = thread.cut if isinstance(thread, Holder) and len(text) > 1 else None
        return written(descriptor, text[:cut])

    written = os.write
    patch.setattr(os, "write", write)
    patch.setattr(os, "fsync", lambda _: None)
    for name in ("_check", "_put", "overwrite"):
        patch.setattr(fenced, name, around(getattr(fenced, name)))


def shown(store: Store) -> list[tuple[str, int, list[int]]]:
    """Return the journal as the service gives it."""
    changes = store.changes("default", 0)
    assert not isinstance(changes, NoSuchEvent)
    return [(line["order"], line["version"], line["tickets"]) for line in map(unseal, changes)]


@settings(max_examples=150)
@given(
    orders=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([None, None, 1, 60, -1])), min_size=2, max_size=4),
    schedule=st.lists(st.integers(0, 3), max_size=50),
    killed=st.booleans(),
)
def test_any_interleaving_is_read_alike_by_all(
    orders: list[tuple[int, int | None]], schedule: list[int], *, killed: bool
) -> None:
    """Holders that nobody keeps apart take turns at each step; some have their line cut, some are killed. What was
    told as sold is sold, what was told as not sold is not, no ticket and no version is given twice, and the journal as
    it is shown, the index, the lookers and the next start all agree. Lookers never see a version go back.
    """
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        counter = Counter(Path(place))
        store = counter.opened("lease").store
        assert isinstance(store, FencedJsonFile)
        gated(patch)
        stores = [FencedJsonFile(counter.directory) for _ in orders]  # each of a process of its own
        for each in stores:
            each.open()
        holders = [Holder(each, *order) for each, order in zip(stores, orders, strict=True)]
        seen = [store.look("default")]
        found = set()
        for number in schedule:
            holders[number % len(holders)].step()
            seen.append(store.look("default"))
            found |= {each for each in holders if isinstance(store.find(each.command.order), Order)}
        for holder in holders:
            while not holder.ended:
                holder.step(kill=killed)
            holder.join()
        seen.append(store.look("default"))
        told = shown(store)
        versions = [event.version for event in seen if isinstance(event, Event)]
        assert versions == sorted(versions)
        assert [version for _, version, _ in told] == list(range(1, versions[-1] + 1))
        tickets = [ticket for *_, tickets in told for ticket in tickets]
        assert tickets == list(range(1, len(tickets) + 1))
        sold = {order: version for order, version, _ in told}
        for holder in holders:
            order = holder.command.order
            if isinstance(holder.outcome, Order):
                assert sold[order] == holder.outcome.version
            elif holder.outcome is not None:
                assert order not in sold
            assert isinstance(store.find(order), Order if order in sold else NoSuchOrder)
            assert holder not in found or order in sold
        again = counter.opened("lease").store
        assert again.look("default") == seen[-1]
        assert shown(again) == told
        assert {each.command.order for each in holders if isinstance(again.find(each.command.order), Order)} == set(
            sold
        )
        counter.close()


def test_half_a_line_counts_for_nothing_and_the_next_one_is_whole(counter: Counter) -> None:
    """A full disk: the refusal is definite, nothing is cut off while others may write, and with room it sells on."""
    mode = counter.opened("lease")
    sell(mode, 2)
    journal = counter.directory / "default.jsonl"
    before = journal.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for room in (0, 20, 20):
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
            with pytest.raises(NotWritten, match="so nothing was done"):
                mode.execute(buying(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(journal.read_bytes()) == len(before) + 20
    assert look(mode).version == 1
    assert sell(mode).version == 2
    assert CANCEL in journal.read_bytes()
    assert [version for _, version, _ in shown(mode.store)] == [1, 2]
    counter.close()
    assert look(counter.opened("file_lock")) == Event("default", 10, 7, 2)


def test_a_page_that_was_read_before_another_was_written_is_refused_at_the_check(counter: Counter) -> None:
    """By its version; and by its fence alone, when another has taken one and written nothing."""
    store = counter.opened("lease").store
    assert isinstance(store, FencedJsonFile)
    first, command = store.fence("default"), buying()
    page = decide_now(store.read(command), command).page
    size = (counter.directory / "default.jsonl").stat().st_size
    second = store.fence("default")
    for fence in (0, first):
        with pytest.raises(NotWritten, match="another took over"):
            store.write(page, fence)
    assert (counter.directory / "default.jsonl").stat().st_size == size
    store.write(page, second)
    third = store.fence("default")
    with pytest.raises(NotWritten, match="another took over"):
        store.write(page, third)
    assert (first, second, third) == (1, 2, 3)
    assert len((counter.directory / "default.jsonl").read_bytes().splitlines()) == 2


def test_the_fence_of_the_line_before_the_documents_end_counts(counter: Counter) -> None:
    """A lower one is void to who reads on from there, as to who reads from the first line."""
    mode = counter.opened("lease")
    store = mode.store
    assert isinstance(store, FencedJsonFile)
    assert store.fence("default") == 1
    order = sell(mode)
    journal = counter.directory / "default.jsonl"
    line = unseal(journal.read_bytes().splitlines(keepends=True)[-1])
    assert line["fence"] == 2
    with journal.open("ab") as file:
        file.write(seal(line | {"version": 2, "order": "low", "fence": 1, "tickets": [2], "count": 8}))
    assert look(mode) == Event("default", 10, 9, 1)
    assert shown(store) == [(order.id, 1, [1])]
    assert look(counter.opened("lease")) == Event("default", 10, 9, 1)


def test_who_looks_is_shown_only_what_is_on_disk(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that counts, and that its writer has not made durable yet: whoever shows it does so first."""
    mode = counter.opened("lease")
    document = (counter.directory / "default.json").read_bytes()
    sell(mode)
    (counter.directory / "default.json").write_bytes(document)  # as its writer was paused before fsync
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    journal = (counter.directory / "default.jsonl").stat().st_ino
    assert look(mode).version == 1
    assert synced == [journal]
    seen = mode.store.tickets("default", 1, 10)
    assert isinstance(seen, TicketMap)
    assert (seen.event.version, seen.sold) == (1, ((1, 1),))
    assert synced == [journal] * 2


def late_lines(counter: Counter) -> tuple[Path, list[bytes]]:
    """Sell twice with a line between that comes too late, and return the journal and its four lines."""
    mode = counter.opened("lease")
    journal = counter.directory / "default.jsonl"
    sell(mode)
    late = unseal(journal.read_bytes().splitlines(keepends=True)[-1])
    with journal.open("ab") as file:
        file.write(seal(late | {"order": "late"}))
    sell(mode)
    counter.close()
    return journal, journal.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("left_bytes", [0, recovery.READ_BYTES_MAX])
@pytest.mark.parametrize("last", [False, True])
def test_a_start_passes_over_what_came_too_late(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, left_bytes: int, *, last: bool
) -> None:
    """In the middle of the journal it stays, at the end it is cut off; read from the first line, or from where the
    document ends.
    """
    journal, lines = late_lines(counter)
    if last:
        journal.write_bytes(b"".join([*lines, lines[2]]))
    monkeypatch.setattr(recovery, "READ_BYTES_MAX", left_bytes)
    for name in ("lease", "file_lock"):
        assert look(counter.opened(name)) == Event("default", 10, 8, 2)
        assert journal.read_bytes() == b"".join(lines)
    counter.close()
    recovery.prepare(counter.directory, "a test", verify=True)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda lines: [lines[0], lines[1].replace(b'"count":9', b'"count":8'), *lines[2:]],
            "line 2 .*not a whole line",
        ),
        (lambda lines: [lines[0], *lines[3:]], "line 2 .*version 2 comes too early"),
        (lambda lines: [*lines[:2], lines[2][:40] + b"\n", lines[3]], "line 3 .*not a whole line"),
        (lambda lines: [*lines[:2], seal(unseal(lines[2]) | {"fence": "1"}), lines[3]], "line 3 .*of the wrong kind"),
        (lambda lines: [*lines[:3], seal(unseal(lines[3]) | {"count": 9})], "line 4 .*are said to be left"),
        (lambda lines: [*lines[:2], seal({**unseal(lines[2]), "fence": None}), lines[3]], "version 1 comes twice"),
    ],
)
def test_only_a_fence_excuses_a_line(
    counter: Counter, damage: Callable[[list[bytes]], list[bytes]], sentence: str
) -> None:
    """A journal with fences is read as strictly as one without: a flipped bit, a missing line, half a line that
    nobody gave an end, a line without a fence that does not follow.
    """
    journal, lines = late_lines(counter)
    journal.write_bytes(b"".join(damage(lines)))
    with pytest.raises(Refused, match=sentence):
        counter.build("lease")


def test_half_a_line_is_told_by_its_end_or_by_what_ran_into_it(counter: Counter) -> None:
    """Each is void, and opens; the fence of the line that ran into it counts as seen."""
    journal, lines = late_lines(counter)
    half = lines[3][:70]
    document = journal.with_suffix(".json").read_bytes()
    for more in (half + CANCEL, CANCEL, half + lines[2], half + half + lines[2]):
        journal.with_suffix(".json").write_bytes(document)
        journal.write_bytes(b"".join([*lines[:3], more, lines[3]]))
        assert look(counter.opened("lease")) == Event("default", 10, 8, 2)
    place = fencing.Place(1, 1)
    late = seal(unseal(lines[3]) | {"fence": 7})
    assert fencing.after(place, half + late) == (fencing.Place(1, 7), None)
    assert fencing.after(fencing.Place(1, 7), lines[3]) == (fencing.Place(1, 7), None)


def test_fences_go_on_above_those_in_the_journal(counter: Counter) -> None:
    """Whatever became of the file that counts them: a power loss may take it back."""
    mode = counter.opened("lease")
    for _ in range(3):
        sell(mode)
    (counter.directory / "default.fence").unlink()
    mode = counter.opened("lease")
    assert sell(mode).version == 4
    assert (counter.directory / "default.fence").stat().st_size == 4


def test_a_full_journal_is_closed_by_the_next_start(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while they sell: whoever is late would close another's. Its orders are found as before."""
    mode = counter.opened("lease")
    orders = [sell(mode) for _ in range(3)]
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", 500)
    mode = counter.opened("lease")
    assert [since for since, _ in closed(counter.directory)["default"]] == [0]
    orders.append(sell(mode))
    assert [mode.store.find(order.id) for order in orders] == orders
    assert [version for _, version, _ in shown(mode.store)] == [1, 2, 3, 4]
    counter.close()
    recovery.prepare(counter.directory, "a test", verify=True)
