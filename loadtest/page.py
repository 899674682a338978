"""The page: one HTML file that shows a run, and needs nothing else to be understood.

No script, no network, no other file: the pictures are SVG text, the styles stand in the page, and a content security
policy holds it to that.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import escape

from loadtest import export, folder, matrix, pictures, report, sheet, summary, timelines
from loadtest.findings import MEANINGS
from loadtest.judge import failures
from loadtest.matrix import STATES
from loadtest.verdict import PROMISES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from markupsafe import Markup

    from loadtest.judge import Result
    from loadtest.measure import Measured
    from loadtest.pictures import Seen
    from loadtest.require import Outcome
    from loadtest.witness import Story

OPEN_GROUPS = 3
"""So many groups of figures are seen at once; the others are a click away."""

KINDS = {
    "sold": "sold",
    "changed": "held, confirmed or cancelled",
    "refused": "refused: sold out, or the order had ended",
    "not done": "certainly not done: an error, or no connection",
    "unknown": "unknown: may have happened or not",
    "lost": "the reply was lost on purpose",
    "look": "asked for the count",
}
"""What came of an operation, in words."""


def render(
    place: Path,
    run: dict[str, Any],
    results: Sequence[Result],
    ceiling: Measured | None,
    outcomes: Sequence[Outcome],
    stories: dict[str, list[Story]],
) -> str:
    """Return the page of the run in ``place``."""
    seen = [
        pictures.look_at(place, result, series) for series, result in enumerate(results) if result.measured is not None
    ]
    rounds = folder.rounds(place)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    files = resources.files("loadtest")
    return environment.from_string((files / "page.html").read_text("utf-8")).render(
        style=pictures.markup((files / "page.css").read_text("utf-8")),
        run=run,
        name=place.resolve().name,
        shape=run.get("options", {}).get("shape"),
        headline=summary.headline(results),
        told=_told(seen, results, len(rounds)),
        results=results,
        promises=(promises := matrix.looked_at(results)),
        matrix=[(result, matrix.claim(result), matrix.cells(result, promises)) for result in results],
        states=[(matrix.SYMBOLS[state], state, meaning) for state, meaning in matrix.LEGEND.items()],
        unread=[each.result.mode for each in seen if each.first.journal is None],
        sheets=_sheets(results),
        throughput=pictures.throughput(results, seen, ceiling),
        latency=pictures.latency(place, seen),
        rounds=len(rounds),
        panels_of=pictures.panels(seen),
        usages=pictures.usages_of(seen),
        usage=report.usage(results),
        kinds=_kinds(seen),
        kind_words=KINDS,
        strips_max=timelines.STRIPS_MAX,
        shades=[shade.name for each in seen for shade in each.time.shades],
        stories=pictures.cases(place, stories),
        faults=[(*row, STATES[row[-1]]) for row in report.fault_rows(results)],
        fault_columns=report.FAULTS,
        outcomes=outcomes,
        warnings=[*report.warnings(results, ceiling), *failures(place)],
        meanings=MEANINGS,
        reaches=PROMISES,
        provenance=_provenance(run),
        ceiling=ceiling,
    )


def _told(seen: Sequence[Seen], results: Sequence[Result], rounds: int) -> Markup:
    """Return the run in plain words, each mode's name set apart."""
    said = summary.outcome(results)
    if seen:
        first = seen[0].first
        workers = first.mode.get("workers")
        # With faults a scene ends when they are over.
        plan = replace(first.plan, seconds=round(seen[0].time.seconds)) if first.faults else first.plan
        said.insert(0, summary.scene(plan, first.start.count, workers, len(results), rounds, first.served.hosts))
        said[1:1] = summary.meanwhile(results)
    words = str(escape(" ".join(said)))
    if not results:
        return pictures.markup(words)
    names = "|".join(re.escape(str(escape(result.mode))) for result in results)
    return pictures.markup(re.sub(rf"\b({names})\b", r'<span class="mode">\1</span>', words))


def _sheets(results: Sequence[Result]) -> list[dict[str, list[sheet.Row]]]:
    """Return the figures in two tables: those that everybody asks for, and the others."""
    groups = list(sheet.sheet({result.mode: export.figures(result) for result in results}).items())
    return [dict(part) for part in (groups[:OPEN_GROUPS], groups[OPEN_GROUPS:]) if part]


def _kinds(seen: Sequence[Seen]) -> list[tuple[str, str]]:
    """Return the outcomes that occur, each with its shape."""
    found = {timelines.kind(row) for each in seen for row in each.first.operations}
    return [(name, shape) for name, shape in timelines.SHAPES.items() if name in found]


def _provenance(run: dict[str, Any]) -> list[tuple[str, str]]:
    packages = ", ".join(f"{name} {version}" for name, version in run.get("packages", {}).items())
    options = {name: str(value) for name, value in run.get("options", {}).items()}
    asked = ", ".join(f"{name} {value}" for name, value in options.items() if value not in {"", "None", "False"})
    rows = {
        "command": run.get("command"),
        "started": run.get("started"),
        "commit": run.get("commit"),
        "seed": run.get("options", {}).get("seed"),
        "asked for": asked,
        "Python": run.get("python"),
        "packages": packages,
        "system": run.get("system"),
        "processor": run.get("processor"),
        "processors": run.get("cpus"),
        "load before (1 minute)": run.get("load_1min"),
    }
    return [(name, str(value)) for name, value in rows.items() if value not in {None, ""}]
