"""The table: each target, what was measured, its interval, and whether it is met. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures import pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.results import Results, Row
    from loadtest.ratio import Ratio


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table. ``bound`` is ``None`` where there is no target; ``least`` says that more is better.

    ``what`` may name sizes, such as ``{orders:,}``: they are those of the options that it was measured with.
    """

    row: str
    what: str
    bound: float | None
    figure: Callable[[Row], Ratio | None]
    detail: Callable[[Row], str]
    least: bool = True
    unit: str = ""
    aim: str = ""
    behind: Callable[[Row], str] = pairs


def markdown(results: Results, targets: Sequence[Target]) -> str:
    """Return the table, and below it what it was measured on."""
    heads = ("what", "target", "measured", "95 %", "in figures", "from", "")
    lines = [_cells(heads), f"|{' --- |' * len(heads)}"]
    lines += [_line(each, results) for each in targets if each.row in results.rows]
    return "\n".join([*lines, "", _measured_on(results)])


def put(text: str, name: str, made: str) -> str:
    """Return ``text`` with ``made`` between the marks of this name. Raises ``ValueError`` if there are none."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    part = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not part.search(text):
        raise ValueError(f"there is no place for it: expected a line {begin.strip()} and below it a line {end}")
    return part.sub(lambda _: f"{begin}{made}\n{end}", text, count=1)


def verdict(target: Target, figure: Ratio) -> str:
    """Say whether the target is met, by how much it is missed, and whether the interval leaves that open."""
    if target.bound is None:
        return "for information"
    met = figure.median >= target.bound if target.least else figure.median <= target.bound
    said = "met" if met else f"MISSED by {abs(figure.median / target.bound - 1):.0%}"
    if figure.low is None or figure.high is None:
        return said
    return f"{said}, within the noise" if figure.low < target.bound < figure.high else said


def _line(target: Target, results: Results) -> str:
    row = results.rows[target.row]
    what, asked = target.what.format(**results.options), _asked(target)
    if row.failure:
        return _cells((what, asked, "", "", row.failure, "", "not measured"))
    figure = target.figure(row)
    if figure is None:
        return _cells((what, asked, "", "", "nothing was decided", "", "not measured"))
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:.3g} to {figure.high:.3g}"
    measured = f"{figure.median:.3g}{target.unit}"
    errors = sum(each.errors for pair in row.pairs for each in pair)
    detail = target.detail(row) + (f"; {errors} ERRORS" if errors else "")
    return _cells((what, asked, measured, interval, detail, target.behind(row), verdict(target, figure)))


def _asked(target: Target) -> str:
    if target.bound is None:
        return ""
    return f"{'at least' if target.least else 'at most'} {target.bound:g}{target.unit}{target.aim}"


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def _measured_on(results: Results) -> str:
    """Return sentences on the machine, the commit and the load: more than one of each if rows were measured apart."""
    seen = [row.provenance for row in results.rows.values() if row.provenance]
    load = results.options["load"]
    kinds = {
        f"commit {each['commit']}, Python {each['python']}, gunicorn {each['packages']['gunicorn']}, "
        f"{each['cpus']} x {each['processor']}"
        for each in seen
    }
    days = sorted({each["started"].split()[0] for each in seen})
    return (
        f"Measured on {' and '.join(days)}: {'; '.join(sorted(kinds))}. Where nothing else is said: {load['clients']} "
        f"clients in {load['processes']} processes, {load['workers']} workers with {load['threads']} threads each, "
        f"slices of {load['seconds']:g} s after {load['warmup_s']:g} s of warm-up, ABBA order."
    )
