"""Journals that are not as they were written, and what a start makes of them: ``python -m tests.journal_fuzz``.

A store is written by commands of every kind. Then its files are changed as Hypothesis likes: bits flipped, pieces cut,
inserted, repeated, swapped; the document with them, or removed. The law: the store is refused, with the file and where
in it, or it opens with exactly the first n changes that were written, and no fewer than a whole document covers.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter as Tally
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from service import catalogue, rules
from service.commands import Buy, Cancel, Confirm, Hold, Resize, Sweep
from service.stores import journal, recovery
from service.stores.document import parsed
from service.stores.fenced import FencedJsonFile
from service.stores.fencing import CANCEL
from service.stores.json_file import JsonFile
from service.stores.replay import Refused
from service.stores.sealed import unseal
from service.values import Event, order_id
from tests import reliability
from tests.counter import NOW
from tests.damage import changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.commands import Command
    from service.rules import Decision, Page

CAPACITY = 12
SHORT_BYTES = 900
"""A journal of some five lines, so that a store has closed ones."""
JOURNAL, DOCUMENT = "default.jsonl", "default.json"
WHERE = re.compile(
    r"default\.(\d+\.)?jsonl?(, line \d+ \(byte \d+\)|'? (has no first line|has no line for|is missing|knows version"
    r"|covers|already records|starts no event|goes on from (version|default)|does not go on|does not come before))"
)
"""How a refusal says what is wrong where."""
NOTED = b'"status":"noted"'


@dataclass(frozen=True, slots=True)
class Written:
    """A store as it was written: its files, the lines of its last journal, and how the event stood after each."""

    files: dict[str, bytes]
    lines: tuple[bytes, ...]
    events: tuple[Event, ...]


def commands() -> Iterator[Command]:
    """Yield commands of every kind, with and without keys."""
    ids = [order_id("default", f"{number:024x}") for number in range(8)]
    yield Buy(ids[0], "default", 2, buyer="票\n")
    yield Hold(ids[1], "default", 3, 60.0, key="1" * 32)
    yield Confirm(ids[1], "default", key="2" * 32)
    yield Hold(ids[2], "default", 1, 1.0)
    yield Buy(ids[3], "default", 100, key="3" * 32)  # refused, and remembered
    yield Hold(ids[4], "default", 2, 60.0)
    yield Cancel(ids[0], "default", key="4" * 32)
    yield Sweep("default")  # one hold has ended by now
    yield Buy(ids[5], "default", 1, buyer='"quoted"')
    yield Resize("default", CAPACITY + 3)
    yield Buy(ids[6], "default", 4)
    yield Cancel(ids[5], "default")


@cache
def written(mode: str, *, rotated: bool = False) -> Written:
    """Write a store in a mode, and return it."""
    clock = iter(range(100))

    def decide(page: Page, command: Command) -> Decision:
        return rules.decide(page, command, NOW + next(clock))

    before, journal.JOURNAL_BYTES_MAX = journal.JOURNAL_BYTES_MAX, SHORT_BYTES if rotated else 1 << 20
    try:
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder)
            (directory / DOCUMENT).write_text(f'{{"count": {CAPACITY}}}')
            os.close(recovery.prepare(directory, "a test").descriptor)
            store = FencedJsonFile(directory) if mode == "lease" else JsonFile(directory)
            made = catalogue.MODES[mode](store, decide, 1.0)
            made.open()
            for command in commands():
                made.execute(command)
            files = {path.name: path.read_bytes() for path in directory.glob("default.*")}
    finally:
        journal.JOURNAL_BYTES_MAX = before
    lines = tuple(files[JOURNAL].splitlines(keepends=True))
    return Written(files, lines, tuple(_events(lines)))


def _events(lines: tuple[bytes, ...]) -> Iterator[Event]:
    """Yield how the event stood after each line, by what the line itself says."""
    capacity, count = 0, 0
    for line in lines:
        said = unseal(line)
        capacity, count = said.get("capacity", capacity), said.get("count", count)
        yield Event("default", capacity, count, said["version"])


@st.composite
def damaged(draw: st.DrawFn, store: Written) -> dict[str, bytes]:
    """Return the files of a store with one of its journals changed, and perhaps the document changed or removed."""
    files = dict(store.files)
    name = draw(st.sampled_from(sorted(name for name in files if name.endswith(".jsonl"))))
    files[name] = draw(changed(files[name]))
    match draw(st.sampled_from(["whole", "whole", "changed", "none"])):
        case "changed":
            files[DOCUMENT] = draw(changed(files[DOCUMENT]))
        case "none":
            del files[DOCUMENT]
    return files


def judge(store: Written, files: dict[str, bytes], directory: Path, *, verify: bool) -> str:
    """Start on these files, and return how that went. Raises ``AssertionError`` if the law is broken."""
    for path in directory.iterdir():
        path.unlink()
    for name, text in files.items():
        (directory / name).write_bytes(text)
    try:
        os.close(recovery.prepare(directory, "a test", verify=verify).descriptor)
    except Refused as error:
        assert str(directory) in str(error)
        assert WHERE.search(str(error)), str(error)
        return "refused"
    text = (directory / JOURNAL).read_bytes()
    every = [line for line in text.splitlines(keepends=True) if not line.endswith(CANCEL)]  # that is void by design
    # What may come again without meaning anything: a line with a fence is void then, and an answer is the same again.
    again = [line for number, line in enumerate(every) if line in every[:number]]
    assert all(b'"fence":' in line or NOTED in line for line in again)
    assert set(every) <= set(store.lines)
    first = store.lines[: max(map(store.lines.index, every)) + 1]
    # An answer that changed nothing has no version of its own: that one is missing shows by the document alone, and
    # that it stands elsewhere shows nowhere in a journal with fences, where it is void then.
    lines, there = [line for line in first if NOTED not in line or line in every], iter(every)
    assert all(line in there for line in lines if NOTED not in line), "changes stand in their order"
    assert parsed(directory / DOCUMENT).event == store.events[len(first) - 1]
    if files.get(DOCUMENT) == store.files[DOCUMENT]:
        assert len(lines) == len(store.lines)
    if verify:
        assert {name for name in files if name not in {JOURNAL, DOCUMENT} and files[name] != store.files[name]} == set()
    return "opened whole" if len(lines) == len(store.lines) else "opened shorter"


STORES = {
    "one journal": ("file_lock", False),
    "closed journals": ("file_lock", True),
    "fenced": ("lease", False),
}


def tried(which: str, examples: int, chance: int) -> Tally[str]:
    """Try so many damaged stores, and return how the starts went."""
    mode, rotated = STORES[which]
    store = written(mode, rotated=rotated)
    went: Tally[str] = Tally()
    with tempfile.TemporaryDirectory(dir=reliability.folder()) as folder:
        # That examples come slowly is the machine's business, and no failure.
        @seed(chance)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(damaged(store), st.booleans())
        def law(files: dict[str, bytes], verify: bool) -> None:  # noqa: FBT001  # as drawn
            went[judge(store, files, Path(folder), verify=verify)] += 1

        law()
    return went


@click.command
@click.option("--examples", default=2_000, show_default=True, help="of each kind of store")
@click.option("--seed", "chance", default=1, show_default=True)
@click.option("--write", is_flag=True, help="put the table into docs/reliability.md")
def main(examples: int, chance: int, write: bool) -> None:  # noqa: FBT001  # as click has it
    """Start on damaged stores."""
    rows = ["| store | starts | refused, by file and place | opened whole | opened with the first changes |"]
    rows += ["| --- | --: | --: | --: | --: |"]
    for which in STORES:
        went = tried(which, examples, chance)
        figures = (went.total(), went["refused"], went["opened whole"], went["opened shorter"])
        rows.append(f"| {which} | {' | '.join(f'{figure:,}' for figure in figures)} |")
    click.echo("\n".join(rows))
    if write:
        reliability.fill("journals", "\n".join(rows))


if __name__ == "__main__":
    main()
