"""Pictures of what a service used along the time of a slice: memory, descriptors, files; faults shaded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.drawing import Canvas, coordinate, linear, whole, y_axis
from loadtest.thin import envelope
from loadtest.timelines import BOTTOM, CURVE_POINTS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, along

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.growth import Sample
    from loadtest.timelines import Stretch

MB = 1e6
KINDS = {
    "memory": ("Memory of each process, in MB", MB),
    "descriptors": ("Open descriptors of each process", 1.0),
    "files": ("Files that should not grow in number", 1.0),
}
"""What is drawn: its title, and the unit."""


def drawn(key: str, look: str, what: str, samples: Sequence[Sample], time: Stretch) -> str:
    """Draw ``what`` of each process as a line of its own, or of all files together."""
    title, unit = KINDS[what]
    lines = _lines(what, samples, time, unit)
    values = [value for line in lines for _, value in line]
    canvas = Canvas(WIDTH, HEIGHT)
    y = linear(values, BOTTOM, TOP)
    x = along(canvas, time, TOP, BOTTOM)
    y_axis(canvas, y, LEFT, RIGHT, whole)
    for line in lines:
        points = [f"{coordinate(x(at))} {coordinate(y(value))}" for at, value in envelope(line, CURVE_POINTS)]
        canvas.add("path", f"line {look}", d=f"M{'L'.join(points)}")
    highest = whole(round(max(values, default=0.0)))
    told = f"{len(lines)} lines; the highest value is {highest}."
    return canvas.svg(key, title, told)


def _lines(what: str, samples: Sequence[Sample], time: Stretch, unit: float) -> list[list[tuple[float, float]]]:
    if what == "files":
        return [[(time.moment(sample.at_ns), sample.total(what)) for sample in samples]]
    lines: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for sample in samples:
        for process in sample.processes:
            point = time.moment(sample.at_ns), getattr(process, what) / unit
            lines.setdefault((process.pid, process.born), []).append(point)
    return list(lines.values())
