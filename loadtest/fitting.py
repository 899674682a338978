"""Tables that fit a terminal: modes and verdicts are never broken, and what has no room is left for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

WIDTH_MAX = 1000
"""Wider than any table."""


def fitting(
    rows: Sequence[Mapping[str, str]], names: tuple[str, ...], last: tuple[str, ...], title: str, console: Console
) -> tuple[Table, tuple[str, ...]]:
    """Return a table of ``rows`` with the mode, as many columns as there is room for, and the ``last`` ones.

    The names of the columns that are left come with it.
    """
    unbounded = console.options.update_width(WIDTH_MAX)
    kept, least = len(names), 0 if last else 1
    while True:
        shown = table(columns := ("mode", *names[:kept], *last), title=title)
        for cells in rows:
            shown.add_row(*(cells[name] for name in columns))
        if kept == least or console.measure(shown, options=unbounded).maximum <= console.width:
            return shown, names[kept:]
        kept -= 1


def table(names: Sequence[str], *, header_lines: int = 0, title: str = "") -> Table:
    """Return a table with columns of these names, and without rows. A header takes a line a word, or so many."""
    shown = Table(
        title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False
    )
    for name in names:
        side: Literal["left", "right"] = "left" if name in {"mode", "fault", "verdict"} else "right"
        shown.add_column(name.replace(" ", "\n", header_lines - 1), justify=side, no_wrap=name != "fault")
    return shown
