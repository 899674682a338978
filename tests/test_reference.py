"""The reference is held to what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from service import catalogue, guarding, problems
from service.commands import Buy
from service.modes.single_writer import SingleWriter
from service.settings import Settings
from service.stores import closed_index, recovery, stopped
from service.stores.files import OURS
from tests.counter import ON_FILES

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("mode", ON_FILES)
def test_every_file_that_a_mode_makes_is_in_the_table(mode: str, tmp_path: Path) -> None:
    """No mode leaves a file of which the reference does not say what it is, and whether it may be removed."""
    (tmp_path / "default.json").write_text('{"count": 10}')
    made, _ = catalogue.build(catalogue.chosen(Settings(mode=mode, data=tmp_path)))
    if not isinstance(made, SingleWriter):  # its writer is a process of its own, and makes what the others make
        made.open()
        made.execute(Buy(f"{1:040x}", "default", 1))
    there = {path.name for path in tmp_path.iterdir()}
    assert "default.jsonl" in there
    assert {name for name in there if not OURS.fullmatch(name)} == set()


def test_every_name_that_is_given_in_a_directory_is_ours() -> None:
    """Also of files that only a mishap makes; and what is somebody else's is not, though it looks alike."""
    given = {recovery.INCOMPLETE, *(f"{closed_index.FILE}{end}" for end in ("", "-wal", "-shm"))}
    given |= {f"default.jsonl{stopped.SUFFIX}", "default.000000000012.jsonl", "default.lease.break.1.a"}
    given |= {f"default.{spare}.tmp" for spare in ("json", "jsonl", "12-345")}
    assert {name for name in given if not OURS.fullmatch(name)} == set()
    assert not any(OURS.fullmatch(name) for name in ("README", "tickets.sqlite", "notes.tmp", "service.lock.old"))


def test_every_header_of_a_reply_is_in_the_table() -> None:
    """Of those that guard a reply, and of those that belong to a status."""
    text = (ROOT / "docs" / "reference" / "http.md").read_text().partition("## Headers")[2].partition("\n## ")[0]
    names = {name for name, _ in guarding.DATA} | {name for each in problems.HEADERS.values() for name in each}
    assert len(names) > 5
    assert {name for name in names if f"`{name}" not in text} == set()
