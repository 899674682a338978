"""The reference that is written by hand is held to what there is."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from service import catalogue, guarding, problems
from service.commands import Buy
from service.modes.single_writer import SingleWriter
from service.settings import Settings
from service.stores import guard, recovery, stopped
from tests.counter import ON_FILES

ROOT = Path(__file__).parent.parent


def patterns() -> list[str]:
    """Return the names in the first column of the table of files, as patterns."""
    text = (ROOT / "docs" / "reference" / "files.md").read_text()
    names = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)))
    return [re.sub("EVENT|PID|CHANCE", "*", name).replace("000000012345", "[0-9]" * 12) for name in names]


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
    assert {name for name in there if not any(fnmatch(name, pattern) for pattern in patterns())} == set()


def test_every_ending_that_is_ours_is_in_the_table() -> None:
    """What the service takes for its own files is told, too."""
    told = " ".join(patterns())
    assert {ending for ending in (*guard.OURS, stopped.SUFFIX, recovery.INCOMPLETE) if ending not in told} == set()


def test_every_header_of_a_reply_is_in_the_table() -> None:
    """Of those that guard a reply, and of those that belong to a status."""
    text = (ROOT / "docs" / "reference" / "http.md").read_text().partition("## Headers")[2].partition("\n## ")[0]
    names = {name for name, _ in guarding.DATA} | {name for each in problems.HEADERS.values() for name in each}
    assert len(names) > 5
    assert {name for name in names if f"`{name}" not in text} == set()
