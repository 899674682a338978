"""A start never sells from other data than was written: it opens with the first changes, or says what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from service.stores import recovery
from service.stores.fencing import CANCEL
from service.stores.replay import Refused
from tests.journal_fuzz import JOURNAL, NOTED, STORES, judge, tried, written

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = 200


@pytest.mark.parametrize("which", STORES)
def test_a_damaged_store_is_refused_or_opens_with_the_first_changes(which: str) -> None:
    """Whatever was flipped, cut, inserted, repeated or swapped, in a journal or the document; and both happens."""
    went = tried(which, EXAMPLES, 1)
    assert went["refused"] > EXAMPLES // 10
    assert went.total() >= EXAMPLES


@pytest.mark.parametrize("document", [True, False])
def test_a_live_hold_that_is_missing_where_a_journal_begins_is_noticed(tmp_path: Path, *, document: bool) -> None:
    """The first line says how many there are: found by the fuzzer as tickets that would never have come back."""
    files = dict(written("file_lock", rotated=True).files)
    lines = files[JOURNAL].splitlines(keepends=True)
    assert b'"status":"carried"' in lines[1]
    if not document:
        del files["default.json"]
    for left in (lines[:1] + lines[2:], lines[:1]):
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in (files | {JOURNAL: b"".join(left)}).items():
            (tmp_path / name).write_bytes(text)
        with pytest.raises(Refused, match=r"1 of the holds that (the|its) first line tells of"):
            recovery.prepare(tmp_path, "a test")


def test_an_answer_that_is_missing_where_the_document_covers_it_is_noticed(tmp_path: Path) -> None:
    """It has no version of its own, and a retry would be done that was refused before: found by the fuzzer."""
    files = dict(written("file_lock").files)
    lines = files[JOURNAL].splitlines(keepends=True)
    (noted,) = [line for line in lines if b'"status":"noted"' in line]
    for name, text in (files | {JOURNAL: files[JOURNAL].replace(noted, b"")}).items():
        (tmp_path / name).write_bytes(text)
    with pytest.raises(Refused, match=r"covers \d+ bytes, but the journal ends at \d+: answers"):
        recovery.prepare(tmp_path, "a test")


def test_an_answer_that_is_missing_from_a_closed_journal_is_noticed(tmp_path: Path) -> None:
    """By who reads them all: the next journal says how many bytes that one had. Found by the fuzzer."""
    files = dict(written("file_lock", rotated=True).files)
    (closed,) = [name for name, text in files.items() if name != JOURNAL and NOTED in text]
    (noted,) = [line for line in files[closed].splitlines(keepends=True) if NOTED in line]
    for name, text in (files | {closed: files[closed].replace(noted, b"")}).items():
        (tmp_path / name).write_bytes(text)
    with pytest.raises(Refused, match=rf"goes on from {closed}, which had \d+ bytes then and has \d+: restore"):
        recovery.prepare(tmp_path, "a test", verify=True)


def test_a_journal_begins_with_a_line_that_counts(tmp_path: Path) -> None:
    """A void one there, as a mode with fences may leave further down, is no beginning. Found by the fuzzer."""
    files = dict(written("lease").files)
    for name, text in (files | {JOURNAL: CANCEL + files[JOURNAL]}).items():
        (tmp_path / name).write_bytes(text)
    with pytest.raises(Refused, match=r"default.jsonl, line 1 \(byte 0\)"):
        recovery.prepare(tmp_path, "a test")


def test_the_law_is_broken_by_data_that_nobody_wrote(tmp_path: Path) -> None:
    """The judge takes the store as it is, and not the same store with another past."""
    store = written("file_lock")
    assert judge(store, store.files, tmp_path, verify=True) == "opened whole"
    other = replace(store, lines=(store.lines[0], *reversed(store.lines[1:])))
    with pytest.raises(AssertionError):
        judge(other, store.files, tmp_path, verify=True)
