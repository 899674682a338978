"""Charts that set the modes side by side: ratios to the ceiling, rates, and latency by percentile. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.drawing import SERIES, Canvas, coordinate, duration, linear, logarithmic, spaced, whole, x_axis, y_axis
from loadtest.drawing import line as path_of
from loadtest.percentiles import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDE, NARROW = 960.0, 400.0
"""The widths for a desk and for a telephone: text keeps its size, and the plot gives way."""
ROW = 50.0
CURVE_POINTS = 240
MARKED = (2.0, 10.0, 100.0, 1000.0)
"""Where a curve has its marker: at 50, 90, 99 and 99.9 %, as 1/(1-p)."""
LABEL_GAP, NAME_GAP = 16.0, 46.0
LETTER = 7.2
"""How wide a letter of a label is, about."""

MARKERS = (
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "m-3.5-3.5h7v7h-7z",
    "m0-4.5l4.5 8h-9z",
    "m0-5l5 5l-5 5l-5-5z",
    "m0 4.5l4.5-8h-9z",
    "m-5 0h10m-5-5v10",
    "m-4-4l8 8m0-8l-8 8",
    "m-4-2l4-3l4 3l-1.5 5h-5z",
    "m-4.5 0l4.5-3v6z",
    "m4.5 0l-4.5-3v6z",
)
CEILING_MARKER = "m-5 0h10"


@dataclass(frozen=True, slots=True)
class Compared:
    """A row: a value, its interval (``None``: there is none), and the rounds' values, each with whether it counts."""

    name: str
    series: int
    value: float
    low: float | None
    high: float | None
    rounds: Sequence[tuple[float, bool]]
    words: str


@dataclass(frozen=True, slots=True)
class Curve:
    """The latencies of a mode in milliseconds, ascending. ``series`` is ``None`` for the ceiling."""

    name: str
    series: int | None
    latencies_ms: Sequence[float]


def look(series: int | None) -> str:
    """Return the class that gives a mode its colour and its dashes."""
    return "none" if series is None else f"s{series % SERIES}"


def marker(canvas: Canvas, series: int | None, x: float, y: float, more: str = "") -> None:
    """Draw a mode's marker at a place."""
    shape = CEILING_MARKER if series is None else MARKERS[series % SERIES]
    canvas.add("path", f"mark {look(series)} {more}".strip(), d=f"M{coordinate(x)} {coordinate(y)}{shape}")


def ratios(key: str, rows: Sequence[Compared], width: float) -> str:
    """Draw each mode's ratio to the ceiling: its interval, its median, and the rounds as dots."""
    told = "; ".join(f"{row.name} {row.words}" for row in rows)
    described = f"1 is a route that neither locks nor stores. {told}."
    return _compared(key, rows, width, ("Throughput as a part of the ceiling", described), ceiling=True)


def rates(key: str, rows: Sequence[Compared], width: float) -> str:
    """Draw each mode's requests per second as a bar."""
    told = "; ".join(f"{row.name} {row.words}" for row in rows)
    return _compared(key, rows, width, ("Requests per second", f"{told}."), ceiling=False)


def _compared(key: str, rows: Sequence[Compared], width: float, names: tuple[str, str], *, ceiling: bool) -> str:
    top, left, right = 20.0 if ceiling else 4.0, 8.0, width - 16
    canvas = Canvas(width, top + ROW * len(rows) + 24)
    bottom = top + ROW * len(rows)
    values = [value for row in rows for value in (row.value, row.high or 0, *(value for value, _ in row.rounds))]
    x = linear([*values, 1.0] if ceiling else values, left, right)
    x_axis(canvas, x, top, bottom, whole)
    if ceiling:
        canvas.add("line", "rule", x1=x(1), x2=x(1), y1=top, y2=bottom)
        canvas.text(x(1), top - 6, "the ceiling", "tick", "end" if x(1) > width / 2 else "start")
    for number, row in enumerate(rows):
        _row(canvas, row, x, top + ROW * number, bar=not ceiling)
    return canvas.svg(key, *names)


def _row(canvas: Canvas, row: Compared, x: Callable[[float], float], top: float, *, bar: bool) -> None:
    series, middle = look(row.series), top + 32
    canvas.named(x(0) + 4, top + 19, row.name, row.words)
    if bar:
        canvas.add("rect", f"bar {series}", x=x(0), y=middle - 6, width=max(1.0, x(row.value) - x(0)), height=12, rx=2)
    elif row.low is not None and row.high is not None:
        span = max(2.0, x(row.high) - x(row.low))
        canvas.add("rect", f"interval {series}", x=x(row.low), y=middle - 6, width=span, height=12, rx=6)
    if len(row.rounds) > 1 or not bar:
        for value, counts in row.rounds:
            canvas.add("circle", f"{'dot' if counts else 'ring'} {series}", cx=x(value), cy=middle + 11, r=2.6)
    if not bar:
        marker(canvas, row.series, x(row.value), middle)


def percentiles(key: str, curves: Sequence[Curve], width: float) -> str:
    """Draw latency by percentile, both axes logarithmic: the rare and slow ones get as much room as the common."""
    known = [curve for curve in curves if curve.latencies_ms]
    height = 400.0 if width >= WIDE else 360.0
    canvas = Canvas(width, height)
    top, bottom, left = 26.0, height - 42, 58.0
    names = max((len(curve.name) for curve in known), default=0)
    right = width - min(width / 2.5, names * LETTER + 44)
    most = max((len(curve.latencies_ms) for curve in known), default=0)
    x = logarithmic([1.0, max(most, 100.0)], left, right)
    shown = [value for curve in known for value in (curve.latencies_ms[0], curve.latencies_ms[-1])]
    y = logarithmic(shown, bottom, top)
    levels = [1.0, 2.0, *(10.0**power for power in range(1, 9))]
    x_axis(canvas, x, top, bottom, _percent, _apart([level for level in levels if level <= x.high], x))
    y_axis(canvas, y, left, right, duration)
    canvas.text(left, top - 10, "latency", "tick")
    canvas.text((left + right) / 2, bottom + 34, "part of the requests that took at most so long", "tick", "middle")
    ends = [(x(len(curve.latencies_ms)), y(curve.latencies_ms[-1])) for curve in known]
    labels = spaced([end for _, end in ends], LABEL_GAP, top, bottom)
    for curve, (end_x, end_y), label_y in zip(known, ends, labels, strict=True):
        points = _levels(curve.latencies_ms)
        series = look(curve.series)
        canvas.add("path", f"line {series}", d=path_of([(x(level), y(value)) for level, value in points]))
        for level in MARKED:
            if level <= len(curve.latencies_ms):
                marker(canvas, curve.series, x(level), y(_at(curve.latencies_ms, level)))
        leader = [(end_x, end_y), (right + 4, end_y), (right + 10, label_y), (right + 16, label_y)]
        canvas.add("path", f"leader {series}", d=path_of(leader))
        marker(canvas, curve.series, right + 16, label_y, "end")
        canvas.text(right + 24, label_y + 4, curve.name, f"label {series}")
    return canvas.svg(key, "Latency by percentile", _told(known))


def _apart(levels: Sequence[float], x: Callable[[float], float]) -> list[float]:
    """Return those of ``levels`` whose names do not run into each other; the rare ones matter most."""
    kept: list[float] = []
    for level in reversed(levels):
        if not kept or x(kept[-1]) - x(level) >= NAME_GAP:
            kept.append(level)
    return kept


def _told(curves: Sequence[Curve]) -> str:
    told = [
        f"{curve.name}: half within {duration(percentile(curve.latencies_ms, 50))}, 99 % within "
        f"{duration(percentile(curve.latencies_ms, 99))}, the longest {duration(curve.latencies_ms[-1])}."
        for curve in curves
    ]
    return " ".join(told) or "Nothing was measured."


def _levels(latencies_ms: Sequence[float]) -> list[tuple[float, float]]:
    """Return points (1/(1-p), latency) of a curve, evenly along the axis, up to where one purchase is left above."""
    end = max(len(latencies_ms), 1)
    steps = min(CURVE_POINTS, 8 * end)
    levels = [math.exp(math.log(end) * step / steps) for step in range(steps + 1)]
    return [*((level, _at(latencies_ms, level)) for level in levels), (float(end), latencies_ms[-1])]


def _at(latencies_ms: Sequence[float], level: float) -> float:
    return percentile(latencies_ms, 100 * (1 - 1 / level))


def _percent(level: float) -> str:
    return f"{100 * (1 - 1 / level):.10g} %"
