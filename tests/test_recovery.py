"""What happens to a data directory before anyone may sell from it."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from service.stores import recovery
from service.stores.json_file import JsonFile
from service.stores.repair import repaired
from service.stores.replay import Refused
from service.stores.sealed import seal, unseal
from service.values import Event
from tests.counter import Counter, buying, decide_now, look, sell
from tests.failing_disk import FailingDisk

if TYPE_CHECKING:
    from pathlib import Path


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
    opening, sale = unseal(first), unseal(second)
    flipped = second.replace(b'"count":9', b'"count":8')
    more = seal(unseal(third) | {"count": 9})
    return {
        "a bit flipped": (first + flipped + third, r"line 2 \(byte \d+\): not a whole line"),
        "a line twice": (first + second + second, "version 1 comes twice"),
        "a line missing": (first + third, "version 2 comes too early"),
        "no first line": (second + third, "it has version 1 and 9 of None tickets, which is no beginning"),
        "empty": (b"", "no first line"),
        "another event": (seal(opening | {"event": "vip"}), "belongs to the event 'vip'"),
        "another's sale": (first + seal(sale | {"event": "vip"}), "belongs to the event 'vip'"),
        "fewer left than there are": (seal(opening | {"count": 9}), "9 of 10 tickets, which is no beginning"),
        "a member missing": (first + seal({"version": 1, "event": "default"}), r"missing or of the wrong kind"),
        "a member of the wrong kind": (first + seal(sale | {"count": "9"}), "of the wrong kind|are said to be left"),
        "a ticket twice": (first + second + seal(unseal(third) | {"tickets": [1]}), "1 tickets sold were not all free"),
        "too few tickets": (first + seal(sale | {"tickets": []}), "1 tickets of 10 were sold"),
        "nothing sold": (first + seal(sale | {"quantity": 0, "count": 10, "tickets": []}), "0 tickets of 10 were sold"),
        "less than nothing left": (
            first + seal(sale | {"quantity": 11, "count": -1, "tickets": list(range(1, 12))}),
            "11 tickets of 10 were sold and -1 are said to be left",
        ),
        "a count that does not follow": (first + second + more, "1 tickets of 9 were sold and 9 are said to be left"),
    }


@pytest.mark.parametrize("damage", damaged_journals(seal({"version": 0, "tickets": []}) * 3))
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
    store = counter.opened("no_lock").store
    assert isinstance(store, JsonFile)
    page = store.read(buying())
    for _ in range(2):
        store.write(decide_now(page, buying()).page)
    with pytest.raises(Refused, match="comes twice: two sales did not keep each other out"):
        counter.build("file_lock")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"default.json": '{"count": -1}'}, "starts no event: expected"),
        ({"default.json": '{"count": 1.5}'}, "starts no event: expected"),
        ({"default.json": '{"count": 5, "count": 7}'}, "starts no event: expected"),
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


@pytest.mark.parametrize(
    ("error", "todo"),
    [
        (errno.EROFS, "mount it so that it can be written to, or choose another directory"),
        (errno.EACCES, f"let user {os.geteuid()} read and write there, or choose another directory"),
        (errno.ENOSPC, "make room on the disk, or choose another directory"),
        (errno.EIO, "look after the disk, or choose another directory"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_with_what_to_do(counter: Counter, error: int, todo: str) -> None:
    """By a start and by a repair, in one sentence."""
    counter.opened("file_lock")
    counter.close()
    for start in (lambda: recovery.prepare(counter.directory, "a test"), lambda: repaired(counter.directory)):
        with pytest.MonkeyPatch.context() as patch:
            FailingDisk(patch, 0, error)
            with pytest.raises(Refused, match=rf"cannot be used \({os.strerror(error)}: .*\): {todo}$"):
                start()


def test_a_last_line_with_a_wrong_checksum_is_half_a_line_unless_it_was_acknowledged(counter: Counter) -> None:
    """A power loss may leave zeros before its end. It is cut off, unless the document, written later, covers it."""
    mode = counter.opened("file_lock")
    sell(mode)
    document, journal = counter.directory / "default.json", counter.directory / "default.jsonl"
    before = document.read_bytes()
    sell(mode)
    after = document.read_bytes()
    whole = journal.read_bytes()
    end = whole.rindex(b"{")
    zeros = whole[:end] + bytes(40) + whole[end + 40 :]
    for text, opens in ((before, True), (after, False)):
        counter.close()
        journal.write_bytes(zeros)
        document.write_bytes(text)
        if opens:
            assert look(counter.opened("file_lock")) == Event("default", 10, 9, 1)
        else:
            with pytest.raises(Refused, match="line 3"):
                counter.build("file_lock")


def test_files_of_others_are_left_alone(counter: Counter) -> None:
    """Only our own spare files are removed, and a copy with another ending is no event."""
    others = ["precious.tmp", "default.json.bak", "notes.txt", "default.x.tmp"]
    ours = ["default.12-34.tmp", "default.json.tmp", "default.jsonl.tmp"]
    for name in others + ours:
        (counter.directory / name).write_text("x")
    counter.build("file_lock")
    left = {path.name for path in counter.directory.iterdir()}
    assert set(others) <= left
    assert not set(ours) & left
