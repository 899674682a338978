"""Drawing: scales, ticks, axes, and a canvas that makes SVG text and escapes what it is given. Pure.

Lengths are in the picture's own units, which are pixels where the picture has room. Colours are classes; the page's
style sheet gives them values for light, dark and print.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Words = Callable[[float], str]

SERIES = 10
"""How many looks there are for a mode: a colour, a dash pattern and a marker each."""
TICKS_MAX = 6
MS_PER_S = 1e3


@dataclass(frozen=True, slots=True)
class Scale:
    """Places values from ``low`` to ``high`` between ``start`` and ``end``; what lies outside goes to the edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, inside = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, inside = math.log10(low), math.log10(high), math.log10(inside)
        part = (inside - low) / (high - low) if high > low else 0.5
        return self.start + part * (self.end - self.start)

    def ticks(self, most: int = TICKS_MAX) -> list[float]:
        """Return at most ``most`` round values on the scale; without room for two of them, its ends."""
        chosen = _powers(self.low, self.high, most) if self.log else _steps(self.low, self.high, most)
        return chosen if len(chosen) > 1 else sorted({self.low, self.high})


def linear(values: Iterable[float], start: float, end: float, *, zero: bool = True) -> Scale:
    """Return a scale for ``values``, from 0 if ``zero``; never an empty one."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    return Scale(low, high if high > low else low + max(1.0, abs(low)), start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """Return a logarithmic scale for the positive ``values``: at least one power of ten wide."""
    known = [value for value in values if 0 < value < math.inf] or [1.0]
    low, high = min(known), max(known)
    if high < 10 * low:
        middle = math.sqrt(low) * math.sqrt(high)
        low, high = middle / math.sqrt(10), middle * math.sqrt(10)
    return Scale(max(low, 1e-300), min(high, 1e300), start, end, log=True)


def _steps(low: float, high: float, most: int) -> list[float]:
    span = high / most - low / most
    if not 0 < span < math.inf:
        return []
    power = max(10.0 ** math.floor(math.log10(span)), 1e-300)  # below that there is no exact power of ten
    for step in (power, 2 * power, 5 * power, 10 * power):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most:
            return [number * step for number in range(first, last + 1)]
    return []


def _powers(low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def spaced(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return ``places`` moved apart, so that labels there are ``gap`` apart, in the same order, and from ``low`` on.

    They end at ``high`` where there is room for that.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    bound = low
    for index in order:
        moved[index] = max(moved[index], bound)
        bound = moved[index] + gap
    bound = high
    for back, index in enumerate(reversed(order)):
        moved[index] = max(min(moved[index], bound), low + gap * (len(order) - 1 - back))
        bound = moved[index] - gap
    return moved


def whole(value: float) -> str:
    """Return a number as short as it can be: 10,000 and 0.25."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004  # 3 digits


def duration(ms: float) -> str:
    """Return milliseconds as people write them: 0.5 ms, 20 ms, 2 s."""
    return f"{whole(ms / MS_PER_S)} s" if abs(ms) >= MS_PER_S else f"{whole(float(f'{ms:.3g}'))} ms"


def clock(ticks: Sequence[float]) -> Words:
    """Return how the moments ``ticks`` (in seconds) are written: in one unit, with digits that tell them apart."""
    ordered = sorted(ticks)
    step = min((after - before for before, after in pairwise(ordered) if after > before), default=1.0)
    unit, factor = ("ms", MS_PER_S) if all(abs(tick) < 1 for tick in ordered) else ("s", 1.0)
    digits = min(9, max(0, math.ceil(-math.log10(step * factor) - 1e-9)))
    return lambda seconds: f"{seconds * factor:,.{digits}f} {unit}"


def coordinate(value: float) -> str:
    """Return a length for SVG: one digit after the point is finer than any screen, and keeps the page small."""
    short = f"{value:.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


def line(points: Iterable[tuple[float, float]]) -> str:
    """Return the path through ``points``."""
    return "".join(f"{'L' if n else 'M'}{coordinate(x)} {coordinate(y)}" for n, (x, y) in enumerate(points))


def staircase(points: Sequence[tuple[float, float]], until: float | None = None) -> str:
    """Return the path that stays at each point's height until the next one, and at the last one's ``until`` there."""
    if not points:
        return ""
    path = f"M{coordinate(points[0][0])} {coordinate(points[0][1])}"
    path += "".join(f"H{coordinate(x)}V{coordinate(y)}" for x, y in points[1:])
    return path if until is None else f"{path}H{coordinate(until)}"


class Canvas:
    """Gathers the elements of one picture."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []

    def add(self, tag: str, look: str, **attributes: float | str) -> None:
        """Add an element with the classes ``look``."""
        named = "".join(
            f' {name.replace("_", "-")}="{escape(value) if isinstance(value, str) else coordinate(value)}"'
            for name, value in attributes.items()
        )
        self._parts.append(f'<{tag} class="{escape(look)}"{named}/>')

    def text(self, x: float, y: float, words: str, look: str = "", anchor: str = "start") -> None:
        """Add a line of text that starts, ends or has its middle at ``x``."""
        where = f'x="{coordinate(x)}" y="{coordinate(y)}" text-anchor="{anchor}"'
        self._parts.append(f'<text class="{escape(look)}" {where}>{escape(words)}</text>')

    def named(self, x: float, y: float, name: str, words: str) -> None:
        """Add a name, and behind it what is said of it, wherever the name ends in the reader's font."""
        more = f'<tspan class="value" dx="10">{escape(words)}</tspan>'
        where = f'x="{coordinate(x)}" y="{coordinate(y)}"'
        self._parts.append(f'<text class="name" {where}>{escape(name)}{more}</text>')

    def svg(self, key: str, title: str, description: str, look: str = "") -> str:
        """Return the picture with its name and its description, under ``key``, which is unique on the page."""
        key = escape(key)
        return (
            f'<svg class="{escape(look)}" role="img" aria-labelledby="{key}-t" aria-describedby="{key}-d" '
            f'viewBox="0 0 {coordinate(self.width)} {coordinate(self.height)}" xmlns="http://www.w3.org/2000/svg">'
            f'<title id="{key}-t">{escape(title)}</title><desc id="{key}-d">{escape(description)}</desc>'
            f"{''.join(self._parts)}</svg>"
        )


def x_axis(canvas: Canvas, x: Scale, top: float, bottom: float, words: Words, ticks: Sequence[float] = ()) -> None:
    """Draw the ticks of ``x`` (or ``ticks``) with their names below, and a thin line up from each."""
    canvas.add("line", "axis", x1=x.start, x2=x.end, y1=bottom, y2=bottom)
    for value in ticks or x.ticks():
        place = x(value)
        canvas.add("line", "grid", x1=place, x2=place, y1=top, y2=bottom)
        edge = "start" if place < x.start + 1 else "end" if place > x.end - 1 else "middle"
        canvas.text(place, bottom + 15, words(value), "tick", edge)


def y_axis(canvas: Canvas, y: Scale, left: float, right: float, words: Words, ticks: Sequence[float] = ()) -> None:
    """Draw the ticks of ``y`` (or ``ticks``) with their names at the left, and a thin line across from each."""
    for value in ticks or y.ticks():
        place = y(value)
        canvas.add("line", "axis" if value == 0 else "grid", x1=left, x2=right, y1=place, y2=place)
        canvas.text(left - 6, place + 4, words(value), "tick", "end")
