"""The ticket store while it sells: what is on disk after anything."""

from __future__ import annotations

import os
import resource
import signal
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mode import Damaged, NotWritten
from service.outcomes import NoSuchOrder, Sold, SoldOut
from service.stores import disk, document, json_file
from service.stores.sealed import seal, unseal
from service.values import Event
from tests.counter import Counter, buying, look, sell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FORK = get_context("fork")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(values=st.dictionaries(TEXT, st.one_of(st.integers(), TEXT, st.lists(st.integers())), min_size=1))
def test_a_sealed_line_opens_to_what_was_sealed(values: dict[str, object]) -> None:
    """One line, whatever the text; and back again."""
    line = seal(values)
    assert line.count(b"\n") == 1
    assert unseal(line) == values


def test_a_sealed_line_with_any_bit_flipped_does_not_open() -> None:
    """The checksum tells every single flipped bit, and every cut."""
    line = seal({"version": 3, "tickets": [1, 2, 3], "buyer": "票"})
    for position in range(len(line)):
        with pytest.raises(Damaged):
            unseal(line[:position])
        for bit in range(8):
            flipped = bytearray(line)
            flipped[position] ^= 1 << bit
            with pytest.raises(Damaged):
                unseal(bytes(flipped))


def test_the_journal_has_a_checksummed_line_for_each_change(counter: Counter) -> None:
    """Line by line: the opening, then every order as it was acknowledged."""
    mode = counter.opened("file_lock")
    orders = [sell(mode, quantity) for quantity in (3, 1, 2)]
    lines = [unseal(line) for line in (counter.directory / "default.jsonl").read_bytes().splitlines(keepends=True)]
    assert (lines[0]["version"], lines[0]["capacity"]) == (0, 10)
    assert [(line["order"], line["version"], tuple(line["tickets"]), line["count"]) for line in lines[1:]] == [
        (order.id, order.version, order.tickets, order.count) for order in orders
    ]


def test_two_events_in_one_directory_do_not_touch_each_other(counter: Counter) -> None:
    """A document and a journal an event."""
    (counter.directory / "concert.json").write_text('{"count": 2}')
    mode = counter.opened("file_lock")
    assert isinstance(mode.execute(buying(2, event="concert")), Sold)
    assert look(mode).version == 0
    assert mode.store.look("concert") == Event("concert", 2, 0, 1)


def run_and_die(counter: Counter, step: str) -> None:
    """Sell in a process that is killed at one step of its second write."""
    mode = counter.build("file_lock")

    def be_worker() -> None:
        mode.open()
        sell(mode, 1)
        patch = pytest.MonkeyPatch()
        if step == "half the line":
            write = os.write
            patch.setattr(os, "write", lambda descriptor, line: (write(descriptor, bytes(line)[:50]), die()))
        elif step == "before fsync":
            patch.setattr(os, "fsync", die)
        else:
            patch.setattr(json_file, "overwrite", die)
        sell(mode, 2)

    worker = FORK.Process(target=be_worker)
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL


def die(*_: object) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize(
    ("step", "version"), [("half the line", 1), ("before fsync", 2), ("before the document is written", 2)]
)
@pytest.mark.parametrize("restart", [False, True])
def test_the_next_one_inside_goes_on_from_where_a_killed_one_died(
    counter: Counter, step: str, version: int, *, restart: bool
) -> None:
    """Killed within the write: half a line is no sale and is cut off, a whole line is one and is kept, and no version
    and no ticket is given twice; with the service running on, or started again.
    """
    run_and_die(counter, step)
    mode = counter.opened("file_lock") if restart else counter.joined("file_lock")
    sold = 1 if version == 1 else 3
    order = sell(mode)
    assert (order.version, order.tickets) == (version + 1, (sold + 1,))
    counter.close()
    assert look(counter.opened("file_lock")) == Event("default", 10, 9 - sold, version + 1)
    assert not list(counter.directory.glob("*.tmp"))


def test_who_looks_after_a_refusal_sees_what_it_saw(counter: Counter) -> None:
    """A killed holder left the document behind the journal; a refusal writes nothing, and yet brings it up to date."""
    run_and_die(counter, "before the document is written")
    mode = counter.joined("file_lock")
    refused = mode.execute(buying(9))
    assert isinstance(refused, SoldOut)
    assert refused.event == look(mode) == Event("default", 10, 7, 2)


def test_a_sale_is_on_disk_before_its_document_and_its_document_is_never_half_there(counter: Counter) -> None:
    """The order of the steps: the journal's line, fsync of the journal, the document at one stroke. ``naive`` empties
    the document that others read, and fills it.
    """
    counter.build("no_lock")
    journal = (counter.directory / "default.jsonl").stat().st_ino
    steps: dict[str, list[str]] = {}
    for name in ("no_lock", "naive"):
        mode = counter.opened(name)
        taken = steps.setdefault(name, [])
        with pytest.MonkeyPatch.context() as patch:
            told: list[tuple[Any, str, Callable[..., str]]] = [
                (os, "write", lambda descriptor, _: f"write {of(descriptor, journal)}"),
                (os, "fsync", lambda descriptor: f"fsync {of(descriptor, journal)}"),
                (json_file, "overwrite", lambda path, _: f"overwrite {path.suffix}"),
                (json_file, "refill", lambda path, _: f"empty {path.suffix}"),
            ]
            for target, attribute, tell in told:
                patch.setattr(target, attribute, noting(getattr(target, attribute), tell, taken))
            sell(mode)
    assert steps["no_lock"] == ["write journal", "fsync journal", "overwrite .json"]
    assert steps["naive"] == ["write journal", "fsync journal", "empty .json", "write another file"]


def of(descriptor: int, journal: int) -> str:
    """Return which file a descriptor belongs to."""
    return "journal" if os.fstat(descriptor).st_ino == journal else "another file"


def noting(real: Callable[..., Any], told: Callable[..., str], taken: list[str]) -> Callable[..., Any]:
    """Return ``real``, which notes what it is called with first."""

    def noted(*arguments: Any) -> Any:  # noqa: ANN401
        taken.append(told(*arguments))
        return real(*arguments)

    return noted


def test_a_reader_of_naive_finds_half_a_document(counter: Counter) -> None:
    """Between the truncation and the filling there is nothing to read; one that is written over is never empty."""
    seen: list[object] = []
    private = disk.private

    def looking(path: Path, flags: int) -> int:
        descriptor = private(path, flags)
        if path.suffix == ".json" and flags & os.O_WRONLY:
            try:
                seen.append(mode.store.look("default"))
            except Damaged as error:
                seen.append(str(error))
        return descriptor

    for name in ("naive", "no_lock"):
        mode = counter.opened(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "private", looking)
            sell(mode)
    assert seen == ["default.json does not hold one whole document but 0 bytes: b''", Event("default", 10, 9, 1)]


def test_a_document_that_is_being_written_over_is_read_again(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bytes of the old and some of the new one: the checksum tells, and the next reading has the new one. Who
    never gets a whole one is told so.
    """
    mode = counter.opened("file_lock")
    old = (counter.directory / "default.json").read_bytes()
    sell(mode)
    new = (counter.directory / "default.json").read_bytes()
    mixed = new[: len(new) // 4] + old[len(new) // 4 :]
    assert len(old) == len(new) == len(mixed)
    texts = [mixed, mixed, new]
    monkeypatch.setattr(document, "read", lambda _: texts.pop(0))
    assert look(mode).version == 1
    monkeypatch.setattr(document, "read", lambda _: mixed)
    with pytest.raises(Damaged, match="does not hold one whole document"):
        look(mode)


def test_a_journal_that_shrinks_under_a_running_service_is_noticed(counter: Counter) -> None:
    """The document covers more than there is: nothing is sold from a guess."""
    mode = counter.opened("file_lock")
    sell(mode)
    os.truncate(counter.directory / "default.jsonl", 150)
    with pytest.raises(Damaged, match=r"covers \d+ bytes of a journal that has 150"):
        mode.execute(buying())


def test_a_full_disk_sells_nothing_and_leaves_nothing_half_done(counter: Counter) -> None:
    """A line that does not fit is taken back, the refusal is definite, and with room again the counter sells on."""
    mode = counter.opened("file_lock")
    sell(mode, 2)
    journal = counter.directory / "default.jsonl"
    before = journal.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for room in (0, 20):
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
            with pytest.raises(NotWritten, match="so nothing was done"):
                mode.execute(buying(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert journal.read_bytes() == before
    assert not list(counter.directory.glob("*.tmp"))
    assert sell(mode).version == 2


def test_a_document_covers_whole_lines_whoever_else_writes(counter: Counter) -> None:
    """Somebody appends between the look at the journal's end and the write, as nobody is kept out: the document still
    ends where a line ends, and the next one reads on from there.
    """
    mode = counter.opened("no_lock")
    stranger = seal(
        {"version": 1, "order": buying().order, "event": "default", "count": 9, "buyer": "of another length"}
    )
    write = os.write

    def late(descriptor: int, text: bytes) -> int:
        with (counter.directory / "default.jsonl").open("ab") as other:
            other.write(stranger)
        return write(descriptor, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", late)
        sell(mode)
    whole = (counter.directory / "default.jsonl").read_bytes()
    assert document.parsed(counter.directory / "default.json").covered == len(whole)
    assert sell(mode).version == 2


def test_an_order_of_an_event_made_in_the_same_moment_as_a_look_around_is_found(counter: Counter) -> None:
    """The time of a directory has the steps of the kernel's clock, so a second change may leave it as it is."""
    mode, other = counter.opened("file_lock"), counter.joined("file_lock")
    other.store.create("first", 9)
    assert mode.store.find("0" * 32) == NoSuchOrder("0" * 32)
    at = counter.directory.stat()
    other.store.create("second", 9)
    sold = other.execute(buying(event="second"))
    os.utime(counter.directory, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert isinstance(sold, Sold)
    assert mode.store.find(sold.order.id) == sold.order
