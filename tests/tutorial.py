"""The output that the tutorial and the seed's chapters show: ``python -m tests.tutorial`` runs all and writes it anew.

``python -m tests.tutorial 04-process-lock daemon-process`` does so for some pages. Of what a load test prints, a page
shows the table of outcomes, that of faults, and the verdicts; a line ``...`` stands for the rest.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.test_how_to import agree, followed, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = [
    page
    for folder in ("tutorial", "seed")
    for page in sorted((ROOT / "docs" / folder).glob("*.md"))
    if "\n```console" in page.read_text()
]
LOAD_TEST = "-m loadtest compare"
SHOWN_TABLES = ("sold", "fault")
"""A word in the head of each table that a page shows."""
VERDICT = re.compile(r"\w+: (as claimed|broke its word|could not tell)")
WITNESS = re.compile(r" {4}(?=\S)")
ROW = re.compile(r"(\w+) \d+ \d+ (\d+) (\d+) \d+ ")
"""Of the table of outcomes: mode, sold, left, lost updates, sold twice, torn reads."""
CAUGHT = re.compile(r"[a-z][a-z ]+(?= x \d)")
SOLD = re.compile(r"(\d+) tickets were there, (\d+) were sold, \d+ are left")
MET = re.compile(r"\b(killed|paused) (?:process|holder \(not met\))")
"""Whether the one that was stopped had written already is luck."""
SURE = frozenset({"lost update", "double sale"})
"""What a mode without exclusion is caught at each time. The rest is a matter of luck."""


def written(page: str, printed: list[str]) -> str:
    """Return a page with what its commands printed, in their order."""
    lines, told = [], iter(printed)
    inside = False
    for line in page.splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and not line.startswith("$ "):
            continue
        lines.append(line)
        if inside and line.startswith("$ "):
            lines += kept(line, next(told))
    return "\n".join(lines) + "\n"


def kept(command: str, printed: str) -> list[str]:
    """Return what a page shows of what a command printed."""
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()]
    return list(_thinned(printed)) if LOAD_TEST in command else lines


def same(command: str, shown: str, printed: str) -> bool:
    """Tell whether what was printed is what is shown: words, modes, verdicts, and what is none where that counts.

    A mode that is caught must be caught at what is shown, as far as that is no matter of luck.
    """
    lines = [line for line in kept(command, printed) if line != "..."]
    caught = _caught(shown.splitlines()) <= _caught(lines)
    return caught and agree(_plain(shown.splitlines()), _plain(lines))


def _thinned(printed: str) -> Iterator[str]:
    """Yield the tables and verdicts of a load test, and one ``...`` for whatever stands between them."""
    left_out = False
    for block in re.split(r"\n\s*\n", printed):
        lines = [line.rstrip() for line in block.splitlines() if line.strip()]
        table = any("─" in line for line in lines) and any(word in "\n".join(lines[:2]) for word in SHOWN_TABLES)
        told = False
        for line in lines:
            told = bool(VERDICT.match(line) or (told and WITNESS.match(line)))
            if table or told or line.startswith("exit code"):
                if left_out:
                    yield "..."
                left_out = False
                yield line
            else:
                left_out = True
    if left_out:
        yield "..."


def _plain(lines: list[str]) -> str:
    """Return lines without their widths, and with *some* for a number of lost updates or double sales."""
    plain: list[str] = []
    for each in lines:
        line = "a witness" if WITNESS.match(each) else MET.sub(r"\1 holder", re.sub("─+", "─", each))
        line = SOLD.sub(lambda found: f"{'all' if found[1] == found[2] else 'too many'} were sold", line)
        line = re.sub(r"\s+", " ", line).strip()
        row = ROW.match(line)
        if row:
            some = ", ".join("none" if number == "0" else "some" for number in row.groups()[1:])
            line = f"{row[1]} {some} {line[row.end() :]}"
        if line != "a witness" or plain[-1:] != [line]:
            plain.append(line)
    return "\n".join(plain)


def _caught(lines: list[str]) -> set[str]:
    return {name for line in lines if "caught: " in line for name in CAUGHT.findall(line)} & SURE


def main() -> int:
    """Run pages and write what they printed."""
    for page in [page for page in PAGES if page.stem in sys.argv[1:] or not sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            printed = followed([command for command, _ in steps(page.read_text())], Path(folder))
        page.write_text(written(page.read_text(), printed))
        sys.stdout.write(f"run: {page.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
