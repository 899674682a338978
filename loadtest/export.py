"""Write a run's figures to files: JSON with all of them, CSV, Markdown, and latencies for HdrHistogram's plotter."""

from __future__ import annotations

import csv
import io
import json
import math
from bisect import bisect_right
from dataclasses import asdict, is_dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from loadtest import report
from loadtest.measure import Measured
from loadtest.percentiles import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.judge import Result
    from loadtest.require import Outcome
    from loadtest.witness import Story

TICKS_PER_HALF = 5
"""Lines of an .hgrm file for each halving of the distance to 100 %, as HdrHistogram writes them."""


def _names(kind: type, prefix: str = "") -> set[str]:
    """Return the names of all figures in a dataclass and in those that it is made of."""
    names: set[str] = set()
    for name, hint in get_type_hints(kind).items():
        inner = [part for part in (hint, *get_args(hint)) if isinstance(part, type) and is_dataclass(part)]
        names |= _names(inner[0], f"{prefix}{name}.") if inner else {f"{prefix}{name}"}
    return names


FIGURES = frozenset(_names(Measured) | {"ratio", "sold", "left", "anomalies"})
"""All that a requirement can ask for."""


def figures(result: Result) -> dict[str, float | None]:
    """Return a mode's figures by name, flat: what a requirement can ask for, and a row of the CSV."""
    flat: dict[str, float | None] = {"ratio": result.ratio.median if result.ratio else None}
    if result.checked is not None:
        flat |= {"sold": result.checked.sold, "left": result.checked.left}
        flat["anomalies"] = sum(finding.times for finding in result.checked.findings)
    if result.measured is not None:
        _flatten("", asdict(result.measured), flat)
    return flat


def _flatten(prefix: str, values: dict[str, Any], flat: dict[str, float | None]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _flatten(f"{prefix}{name}.", value, flat)
        else:
            flat[f"{prefix}{name}"] = None if value is None else float(value)


def as_json(
    run: dict[str, Any],
    results: Sequence[Result],
    ceiling: Measured | None,
    outcomes: Sequence[Outcome],
    stories: dict[str, list[Story]],
    exit_code: int,
) -> dict[str, Any]:
    """Return everything that a run found as JSON values."""
    return {
        "run": run,
        "exit_code": exit_code,
        "ceiling": asdict(ceiling) if ceiling else None,
        "requirements": [asdict(outcome) for outcome in outcomes],
        "modes": [asdict(result) | {"stories": [asdict(each) for each in stories[result.mode]]} for result in results],
    }


def write(folder: Path, verdict: dict[str, Any], results: Sequence[Result]) -> None:
    """Write ``verdict.json``, ``verdict.csv`` and ``verdict.md``."""
    (folder / "verdict.json").write_text(f"{json.dumps(verdict, indent=2)}\n")
    (folder / "verdict.csv").write_text(as_csv(results))
    (folder / "verdict.md").write_text(report.markdown(results))


def as_csv(results: Sequence[Result]) -> str:
    """Return the figures as CSV, a row a mode."""
    rows = [{"mode": result.mode, "verdict": result.verdict.word} | figures(result) for result in results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def hgrm(latencies_ms: Sequence[float]) -> str:
    """Return latencies (ascending) as the percentile table that HdrHistogram's tools read and its plotter draws.

    The columns are value in milliseconds, percentile as a fraction, count up to there, and 1/(1-percentile).
    """
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    total, level = len(latencies_ms), 0.0
    while total and level < 100 * (1 - 1 / total):
        value = percentile(latencies_ms, level)
        count = bisect_right(latencies_ms, value)
        lines.append(f"{value:12.3f} {level / 100:14.12f} {count:10d} {100 / (100 - level):14.2f}")
        halvings = math.floor(math.log2(100 / (100 - level))) + 1
        level += 100 / (TICKS_PER_HALF * 2**halvings)
    if total:
        lines.append(f"{latencies_ms[-1]:12.3f} {1:14.12f} {total:10d} {'inf':>14}")
        lines.append(f"#[Mean    = {fmean(latencies_ms):12.3f}, StdDeviation   = {pstdev(latencies_ms):12.3f}]")
        lines.append(f"#[Max     = {latencies_ms[-1]:12.3f}, Total count    = {total:12d}]")
    return "\n".join(lines) + "\n"
