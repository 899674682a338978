"""The power is lost at every moment: no acknowledged sale is, no ticket is sold twice, and the store opens."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.mode import Damaged
from service.stores import disk, document, journal, recovery, replay
from service.stores.document import understood
from service.stores.fencing import START
from service.stores.json_file import JsonFile
from service.stores.replay import Replayed
from tests.crash_states import Names, Synced, Truncated, Written, crashes
from tests.power_loss import KILLS, all_lost, lost, sold_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.stores.standing import Standing
    from service.values import Event
    from tests.crash_states import Image, Step

STATES = 10_000
STATES_OF_A_FAULT = 300
REPLAYED = recovery._replayed  # noqa: SLF001  # the step that a fault is planted in
SEED = 20261129
STORES = Path(__file__).parent.parent / "service" / "stores"
CHANGING = re.compile(
    r"os\.(write|pwrite|writev|fsync|fdatasync|ftruncate|truncate|rename|replace|link|symlink|unlink|remove|open)\("
    r"|(?<!disk)\.(write_bytes|write_text|unlink|rename|hardlink_to|symlink_to|touch|rmdir|mkdir)\("
)


@pytest.mark.timeout(600)
def test_no_power_loss_takes_an_acknowledged_sale_or_sells_a_ticket_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind of command, and whoever is killed at any step before the power is lost: each state that may be on disk
    opens, has all that was acknowledged and nothing that was not asked for, and sells the next ticket as the next
    version. ``python -m tests.power_loss`` opens more.
    """
    opened, wrong = all_lost(STATES, SEED)
    with capsys.disabled():
        print(f" [{opened} distinct states]", end="")  # noqa: T201  # a figure that the documents state
    assert wrong == []
    assert opened >= STATES


def trusting(path: Path, text: bytes, left: int) -> tuple[Replayed, int]:
    """Believe a document that is whole, whatever stands behind what it covers."""
    try:
        return Replayed(understood(text), START, None), 0
    except Damaged:
        return REPLAYED(path, text, left)


def hasty_close(path: Path, standing: Standing) -> None:
    """Close a journal, and sync its second name only with the new one."""
    disk.link(path, journal.closed_path(path, standing.since))
    document.replace(path, journal.beginning(standing))


def strict(_descriptor: int, _start: int) -> bool:
    """Take no damage for what a power loss leaves."""
    return False


PLANTED: dict[str, tuple[object, str, Callable[..., object], str]] = {
    "no fsync of files": (disk, "sync", lambda _: None, "were acknowledged, and|does not open"),
    "no fsync of the directory": (disk, "sync_names", lambda _: None, "were acknowledged, and"),
    "the document is trusted over the journal": (recovery, "_replayed", trusting, "were acknowledged, and"),
    "the second name of a closed journal may be lost": (journal, "close", hasty_close, "is next|are next"),
    "half a write is taken for damage": (replay, "_in_pieces", strict, "does not open: .* not a whole line"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str) -> None:
    """What would lose sales is seen to lose them, by the same search that finds nothing in the store as it is."""
    target, attribute, fault, sentence = PLANTED[name]
    judge = lost(
        sold_on, JsonFile, STATES_OF_A_FAULT, random.Random(SEED), lambda patch: patch.setattr(target, attribute, fault)
    )
    assert judge.wrong
    assert any(re.search(sentence, each) for each in judge.wrong), judge.wrong[:3]


def test_a_fault_that_needs_a_kill_before_the_power_loss_is_found() -> None:
    """A start that makes the document durable before the journal: right by itself, and wrong after somebody was killed
    between his line and its fsync.
    """

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(recovery, "disk", WithoutSync())

    kill = KILLS["sale at 1, started again"]
    assert lost(kill, JsonFile, 0, random.Random(SEED)).wrong == []
    wrong = lost(kill, JsonFile, 0, random.Random(SEED), plant).wrong
    assert any("acknowledged sales are missing" in each for each in wrong)


class WithoutSync:
    """The disk, for one who leaves the fsync of files out."""

    def __getattr__(self, name: str) -> Callable[..., object]:  # noqa: D105  # all but one are the real ones
        return (lambda _: None) if name == "sync" else getattr(disk, name)


def images(*steps: Step, before: bytes = b"old") -> set[Image]:
    """Return what may be there at the end, by the corners and by chance."""
    chance = random.Random(SEED)
    *_, crash = crashes({"a": 0}, {0: before}, steps)
    ways = [*crash.corners(), *(crash.drawn(chance) for _ in range(300) if crash.pending)]
    return {crash.image(came) for came in ways}


def texts(found: set[Image]) -> set[bytes]:
    return {text for image in found for _, text in image.files}


def names(found: set[Image]) -> set[tuple[str, ...]]:
    return {tuple(sorted(name for each, _ in image.files for name in each)) for image in found}


def whole(file: int, at: int, text: bytes) -> Written:
    return Written(file, at, text, ((0, len(text)),))


def test_what_was_synced_is_there_and_what_was_not_may_be_torn_anywhere() -> None:
    """A write over comes in any pieces, with the old bytes between them; behind a sync it is certain."""
    assert {b"old", b"new", b"nld", b"oew"} <= texts(images(whole(0, 0, b"new")))
    assert texts(images(whole(0, 0, b"new"), Synced(0))) == {b"new"}
    assert texts(images(whole(0, 0, b"new"), Synced(None))) >= {b"old", b"new"}
    assert texts(images(Truncated(0, 1))) == {b"old", b"o"}


def test_later_writes_may_come_without_earlier_ones_and_leave_zeros() -> None:
    """What is appended second may be there, and what was appended first may not."""
    found = texts(images(whole(0, 3, b"1"), whole(0, 4, b"2")))
    assert found >= {b"old", b"old1", b"old12", b"old\0" + b"2"}
    assert {text.strip(b"\0") for text in found} == {b"old", b"old1", b"old12", b"old\0" + b"2"}


def test_names_come_one_by_one_until_the_directory_is_synced() -> None:
    """A rename may give the new name without taking the old one, and never takes the old without giving the new."""
    moved = Names((("b", 0), ("a", None)))
    assert names(images(moved)) == {("a",), ("b",), ("a", "b")}
    assert names(images(moved, Synced(None))) == {("b",)}
    assert names(images(moved, Synced(0))) == {("a",), ("b",), ("a", "b")}
    linked, removed = Names((("b", 0),)), Names((("a", None),))
    assert names(images(linked, removed)) == {("a",), ("b",), ("a", "b"), ()}


def test_two_states_are_one_only_if_their_files_have_the_same_names_and_bytes() -> None:
    """Two names of one file are another state than two files of the same bytes."""
    linked = images(Names((("b", 0),)), Synced(None))
    copied = images(Names((("b", 1),)), Synced(None), whole(1, 0, b"old"), Synced(1))
    assert len({image.digest() for image in (*linked, *copied)}) == 2


def test_nobody_but_the_seam_changes_a_file() -> None:
    """Whatever did not go through it would be missing in every state that was built."""
    files = [
        path
        for path in STORES.glob("*.py")
        if re.search(r"^from service.stores import .*\bdisk\b", path.read_text(), re.MULTILINE)
    ]
    assert len(files) > 5
    found = {
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text().splitlines()
        if CHANGING.search(line)
    }
    assert found == {"repair.py: (directory / name).unlink(missing_ok=True)"}  # of SQLite's file


def test_a_new_data_directory_is_on_disk_with_all_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first journal is in it: else a power loss takes the directory, and all that was sold from it."""
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_names", synced.append)
    begin = recovery.begin

    def begun(document: Path, event: Event) -> None:
        synced.append(document)
        begin(document, event)

    monkeypatch.setattr(recovery, "begin", begun)
    recovery.prepare(tmp_path / "a" / "b", "a test").free()
    assert synced[:4] == [tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "default.json"]
