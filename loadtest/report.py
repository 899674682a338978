"""The report: a table for the terminal, the same as Markdown, and all figures as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.compare import Judged

COLUMNS = (
    "mode",
    "sold",
    "left",
    "lost updates",
    "sold twice",
    "torn reads",
    "req/s",
    "p50 ms",
    "p99 ms",
    "longest ms",
    "verdict",
)

STYLES = {"as claimed": "green", "broke its word": "bold red", "could not tell": "yellow"}


def row(result: Judged) -> tuple[str, ...]:
    """Return a mode's result as the cells of one row."""
    checked, measured = result.checked, result.measured
    if checked is None or measured is None:
        return (result.mode, *["-"] * (len(COLUMNS) - 2), result.verdict.word)
    return (
        result.mode,
        str(checked.sold),
        "torn" if checked.left is None else str(checked.left),
        str(checked.times("lost update")),
        str(checked.times("double sale")),
        str(checked.times("torn read")),
        f"{measured.requests_per_s:.1f}",
        f"{measured.p50_ms:.0f}",
        f"{measured.p99_ms:.0f}",
        f"{measured.longest_ms:.0f}",
        result.verdict.word,
    )


def table(results: Sequence[Judged], title: str) -> Table:
    """Return the results as a table for the terminal."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in COLUMNS:
        left = name in {"mode", "verdict"}
        # A header takes a line a word, so that the whole table fits into 80 columns.
        shown.add_column(name.replace(" ", "\n"), justify="left" if left else "right", no_wrap=name != "verdict")
    for result in results:
        *cells, word = row(result)
        shown.add_row(*cells, f"[{STYLES[word]}]{word}[/]")
    return shown


def sentences(results: Sequence[Judged]) -> list[str]:
    """Return why each verdict was given, in rich's markup: a line for each mode, and one for what was seen first."""
    lines = []
    for result in results:
        style = STYLES[result.verdict.word]
        lines.append(f"[{style}]{result.mode}: {result.verdict.word}[/] ({escape(result.verdict.why)})")
        if result.checked and result.checked.findings:
            lines.append(f"    first: {escape(result.checked.findings[0].first.sentence)}")
    return lines


def markdown(results: Sequence[Judged]) -> str:
    """Return the results as a Markdown table."""
    rule = [":--" if name in {"mode", "verdict"} else "--:" for name in COLUMNS]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (COLUMNS, rule, *map(row, results)))


def save(results: Sequence[Judged], folder: Path) -> None:
    """Write all figures to ``verdict.json``."""
    text = json.dumps({"modes": [asdict(result) for result in results]}, indent=2)
    (folder / "verdict.json").write_text(f"{text}\n")
