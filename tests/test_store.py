"""The ticket store: what is on disk after anything, and what happens to it before anyone may sell."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mode import Damaged, NotWritten
from service.rules import Event, NoSuchEvent, Order, Sold
from service.stores import recovery
from service.stores.recovery import Refused
from service.stores.sealed import seal, unseal
from tests.counter import Counter, buying, decide_now

if TYPE_CHECKING:
    from pathlib import Path

    from service.mode import Mode

FORK = get_context("fork")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def sell(mode: Mode, quantity: int = 1) -> Order:
    reply = mode.execute(buying(quantity))
    assert isinstance(reply, Sold)
    return reply.order


def look(mode: Mode) -> Event:
    event = mode.store.look("default")
    assert not isinstance(event, NoSuchEvent)
    return event


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


def test_an_empty_directory_becomes_an_event_of_a_hundred_tickets(tmp_path: Path) -> None:
    """Defaults work with no setting at all, and nobody else may read what is there."""
    counter = Counter(tmp_path / "new" / "data")
    assert look(counter.opened("file_lock")) == Event("default", 100, 100)
    assert stat.S_IMODE(counter.directory.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in counter.directory.iterdir()}
    assert modes == {0o600}


def test_the_articles_file_opens_as_it_is_and_always_shows_count(counter: Counter) -> None:
    """``{"count": 10}`` is an event of ten tickets; after a sale the document is still JSON that shows ``count``."""
    mode = counter.opened("file_lock")
    assert look(mode) == Event("default", 10, 10)
    sell(mode, 3)
    assert json.loads((counter.directory / "default.json").read_text())["count"] == 7


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


def test_a_journal_cut_at_any_byte_of_its_last_two_lines_opens_with_every_whole_line(counter: Counter) -> None:
    """After a crash at that byte the document is the one from before, or older, or missing; each time the store opens
    with exactly the whole lines, sells on from there, and gives no ticket and no version twice.
    """
    mode = counter.opened("file_lock")
    document, journal = counter.directory / "default.json", counter.directory / "default.jsonl"
    documents, orders = [document.read_bytes()], []
    for _ in range(4):
        orders.append(sell(mode, 2))
        documents.append(document.read_bytes())
    counter.close()
    whole = journal.read_bytes()
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[2], len(whole) + 1):
        kept = sum(end <= cut for end in ends) - 1
        for text in (documents[kept], documents[kept - 1], documents[0], None):
            journal.write_bytes(whole[:cut])
            document.unlink(missing_ok=True)
            if text is not None:
                document.write_bytes(text)
            again = counter.opened("file_lock")
            assert look(again) == Event("default", 10, 10 - 2 * kept, kept)
            assert [again.store.find(order.id) for order in orders[:kept]] == orders[:kept]
            order = sell(again, 2)
            assert (order.version, order.tickets) == (kept + 1, (2 * kept + 1, 2 * kept + 2))
            counter.close()


def test_a_journal_shorter_than_its_document_is_refused(counter: Counter) -> None:
    """The document came to disk after the journal, so acknowledged sales are missing: selling on would sell twice."""
    mode = counter.opened("file_lock")
    sell(mode)
    journal = counter.directory / "default.jsonl"
    whole = journal.read_bytes()
    sell(mode)
    journal.write_bytes(whole)
    with pytest.raises(Refused, match="knows version 2, but the journal ends at 1: acknowledged sales are missing"):
        counter.build("file_lock")


def damaged_journals(whole: bytes) -> dict[str, tuple[bytes, str]]:
    first, second, third = whole.splitlines(keepends=True)
    flipped = second.replace(b'"count":9', b'"count":8')
    more = seal(unseal(third) | {"count": 9})
    return {
        "a bit flipped": (first + flipped + third, r"line 2 \(byte \d+\): not a whole line"),
        "a line twice": (first + second + second, "version 1 comes twice"),
        "a line missing": (first + third, "version 2 comes too early"),
        "no first line": (second + third, "the first line has version 1, not 0"),
        "empty": (b"", "no first line"),
        "a count that does not follow": (first + second + more, "1 tickets of 9 were sold and 9 are said to be left"),
    }


@pytest.mark.parametrize("damage", damaged_journals(seal({"version": 0}) * 3))
def test_a_damaged_journal_is_refused_by_file_and_line(counter: Counter, damage: str) -> None:
    """A store that guesses is a store that sells twice."""
    mode = counter.opened("file_lock")
    sell(mode)
    sell(mode)
    journal = counter.directory / "default.jsonl"
    text, sentence = damaged_journals(journal.read_bytes())[damage]
    journal.write_bytes(text)
    with pytest.raises(Refused, match=sentence) as refused:
        counter.build("file_lock")
    assert "default.jsonl" in str(refused.value)
    assert journal.read_bytes() == text


def test_a_store_that_sold_twice_is_not_opened_again(counter: Counter) -> None:
    """What ``no_lock`` may leave: two lines with one version."""
    mode = counter.opened("no_lock")
    page = mode.store.read(buying())
    for _ in range(2):
        mode.store.write(decide_now(page, buying()).page)
    with pytest.raises(Refused, match="comes twice: two sales did not keep each other out"):
        counter.build("file_lock")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"default.json": '{"count": -1}'}, "starts no event: expected"),
        ({"default.json": '{"count": 1.5}'}, "starts no event: expected"),
        ({"default.json": '{"count": true}'}, "starts no event: expected"),
        ({"default.json": '{"count": 1, "more": 2}'}, "starts no event: expected"),
        ({"default.json": "[" * 100_000}, "starts no event: expected"),
        ({"default.json": ""}, "starts no event: expected"),
        ({"No Good.json": '{"count": 1}'}, "an event's name has only a-z, 0-9 and '-'"),
    ],
)
def test_a_document_that_is_no_event_is_refused(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    """Only the article's form, to the letter, starts an event."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(Refused, match=sentence):
        recovery.prepare(tmp_path, "a test")


def test_starting_an_event_over_a_journal_is_refused(counter: Counter) -> None:
    """Who writes ``{"count": 10}`` over a running event must say what is to become of its orders."""
    sell(counter.opened("file_lock"))
    (counter.directory / "default.json").write_text('{"count": 10}')
    with pytest.raises(Refused, match="already records 1 changes of one: remove the journal to start anew"):
        counter.build("file_lock")


def test_a_crash_while_an_event_is_started_does_not_matter(counter: Counter) -> None:
    """The journal's first line is there, the document is still the article's: it opens."""
    counter.build("file_lock")
    (counter.directory / "default.json").write_text('{"count": 10}')
    assert look(counter.opened("file_lock")) == Event("default", 10, 10)


def test_a_directory_in_use_is_refused_by_who_uses_it(counter: Counter) -> None:
    """A second service on the same directory, whatever its mode."""
    counter.build("file_lock")
    with pytest.raises(Refused, match="is in use by a test in mode file_lock: stop it, or choose another"):
        recovery.prepare(counter.directory, "another")


def test_a_link_in_the_directory_is_not_followed(tmp_path: Path) -> None:
    """Nobody makes the service write elsewhere by a symbolic link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "service.lock").symlink_to(elsewhere)
    with pytest.raises(Refused, match="cannot be used"):
        recovery.prepare(directory, "a test")
    assert elsewhere.read_text() == "precious"


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    """One sentence, not a traceback."""
    (tmp_path / "data").write_text("")
    with pytest.raises(Refused, match=r"cannot be used \((File exists|Not a directory)"):
        recovery.prepare(tmp_path / "data", "a test")


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
            patch.setattr(type(counter.directory), "replace", die)
        sell(mode, 2)

    worker = FORK.Process(target=be_worker)
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL


def die(*_: object) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize(
    ("step", "version"), [("half the line", 1), ("before fsync", 2), ("before the document is replaced", 2)]
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
            with pytest.raises(NotWritten, match="so nothing was sold"):
                mode.execute(buying(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert journal.read_bytes() == before
    assert not list(counter.directory.glob("*.tmp"))
    assert sell(mode).version == 2
