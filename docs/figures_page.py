"""What pages tell again of what was measured: rows of the tables in performance.md and databases.md.

Rows are found by what they say, so a table that is measured anew is told anew.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
SOURCES = ("performance.md", "databases.md")
TO_CEILING = re.compile(r"`(\w+)` to the ceiling: rate")
GROUP = (
    "`group_commit` to the ceiling: rate",
    "`group_commit` to the ceiling: p99",
    "`group_commit` to `file_lock`: rate",
    "`single_writer` to the ceiling: rate",
    "`postgres_group` to `postgres_row_lock`: rate",
    "`group_commit`, 1 client: median above the ceiling's, in fsyncs",
    "1,000 events to 1: rate",
)


def to_the_ceiling() -> str:
    """Return what each mode was measured at, to a route that answers and stores nothing."""
    rows = ["| mode | rate, to that of the ceiling | 95 % | measured in |", "| --- | --- | --- | --- |"]
    for page, what, measured, interval, _ in _rows():
        if found := TO_CEILING.fullmatch(what):
            rows.append(f"| `{found[1]}` | {measured} | {interval} | [{page}](../{page}) |")
    return "\n".join(rows)


def told_again(wanted: tuple[str, ...]) -> str:
    """Return the rows that say this. Raises ``KeyError`` where one is measured no more."""
    found = {what: (measured, interval, figures) for _, what, measured, interval, figures in _rows()}
    rows = ["| what | measured | 95 % | in figures |", "| --- | --- | --- | --- |"]
    return "\n".join([*rows, *(f"| {what} | {' | '.join(found[what])} |" for what in wanted)])


def _rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the page, and of each row what, measured, the interval and the figures."""
    for page in SOURCES:
        for line in (HERE / page).read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == len(("what", "target", "measured", "95 %", "in figures", "from", "met")):
                yield page, cells[0], cells[2], cells[3], cells[4]


PARTS: dict[str, Callable[[], str]] = {
    "modes to the ceiling": to_the_ceiling,
    "group commit in figures": partial(told_again, GROUP),
}
