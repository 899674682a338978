"""The page of figures, ``docs/reliability.md``, whose parts are made by the commands that it names."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
LOST = frozenset({"lost update", "missing version", "phantom order"})
TWICE = frozenset({"double sale", "double effect"})
"""What the check finds that is a sale that was acknowledged and is gone, and one that was made twice."""
MEMORY = Path("/dev/shm")  # noqa: S108  # a directory of our own there
"""Where an fsync costs nothing, if there is such a place."""


def fill(name: str, made: str) -> None:
    """Put what was made between ``<!-- name -->`` and ``<!-- /name -->``."""
    part = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    PAGE.write_text(part.sub(lambda place: f"{place[1]}{made}\n{place[2]}", PAGE.read_text()))


def renew(name: str, made: str, named_by: int = 1) -> None:
    """Put the rows of a table into the page's own, which keeps those that were not made again.

    The first ``named_by`` cells are a row's name. A column that only some rows have is 0 in the others.
    """
    there = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", PAGE.read_text(), re.DOTALL)
    fill(name, merged(there[1] if there else "", made, named_by))


def merged(old: str, new: str, named_by: int) -> str:
    """Return a table with the rows of both; where both have one of a name, the new one."""
    tables = [[_cells(line) for line in text.splitlines() if line.startswith("|")] for text in (old, new)]
    head, marks, *_ = max(tables, key=lambda rows: len(rows[0]) if rows else 0)
    rows = {tuple(row[:named_by]): dict(zip(table[0], row, strict=True)) for table in tables for row in table[2:]}
    lines = [head, marks, *([row.get(column, "0") for column in head] for row in rows.values())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def folder() -> Path | None:
    """Return where to make temporary directories: in memory, if that can be."""
    return MEMORY if MEMORY.is_dir() else None
