"""Pictures along the time of one slice: tickets left, every operation, who waited how long; faults shaded. Pure.

Moments are seconds since the first call of the slice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from loadtest.drawing import Canvas, clock, coordinate, duration, linear, logarithmic, staircase, whole, x_axis, y_axis
from loadtest.history import REPLY_LOST
from loadtest.thin import envelope, notable, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.drawing import Scale
    from loadtest.history import Operation

WIDTH, HEIGHT = 340.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 324.0, 14.0, 182.0
CURVE_POINTS = 600
DOTS_MAX = 2000
TEETH_MAX = 1500
STRIPS_MAX = 24
STRIP = 14.0
WARMUP = "warm-up"

SHAPES = {
    "sold": "h0",
    "refused": "m-2.5-2.5h5v5h-5z",
    "not done": "m0-3.5l3.5 6h-7z",
    "unknown": "m-3-3l6 6m0-6l-6 6",
    "look": "m-3 0h6m-3-3v6",
    "changed": "m0-3l3 3l-3 3l-3-3z",
    "lost": "m-3 0h6",
}
"""How an operation is drawn, by what came of it. A dot is a line without length that has round ends."""


@dataclass(frozen=True, slots=True)
class Shade:
    """A stretch of time that every picture shows: a fault with a mark above it, or the warm-up."""

    name: str
    from_s: float
    to_s: float
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time that the pictures of one slice show, and what is shaded in it."""

    began: int
    seconds: float
    shades: Sequence[Shade] = ()

    def moment(self, clock: int) -> float:
        """Return the seconds at which the monotonic clock showed ``clock``."""
        return (clock - self.began) / 1e9


def stretch(operations: Sequence[Operation], faults: Sequence[tuple[str, int, int]], warmup_s: float) -> Stretch:
    """Return the time of a slice from its first call to its last reply.

    ``faults`` are names with clock readings; one without a name is shaded, and has no mark.
    """
    began = min((row.called for row in operations), default=0)
    ended = max((row.returned for row in operations), default=began)
    numbers = count(1)
    warmup = [Shade(WARMUP, 0.0, warmup_s)] if warmup_s else []
    shades = [
        Shade(name, (since - began) / 1e9, (until - began) / 1e9, str(next(numbers)) if name else "")
        for name, since, until in faults
    ]
    return Stretch(began, (ended - began) / 1e9 or 1e-3, [*warmup, *shades])


def kind(row: Operation) -> str:
    """Return what an operation is drawn as: a name of ``SHAPES``."""
    if row.outcome == "done":
        return (
            "look"
            if row.kind in {"look", "find"}
            else "changed"
            if row.kind in {"hold", "confirm", "cancel"}
            else "sold"
        )
    return "lost" if row.problem == REPLY_LOST else row.outcome


def shade(canvas: Canvas, shades: Sequence[Shade], x: Scale, top: float, bottom: float) -> None:
    """Shade the faults and the warm-up."""
    for each in shades:
        if each.to_s >= x.low and each.from_s <= x.high:
            begin, end = x(each.from_s), x(each.to_s)
            look = "warmup" if each.name == WARMUP else "fault"
            canvas.add("rect", look, x=begin, y=top, width=max(1.0, end - begin), height=bottom - top)
            if each.mark:
                canvas.text((begin + end) / 2, top - 3, each.mark, "faultname", "middle")


def along(canvas: Canvas, time: Stretch, top: float, bottom: float) -> Scale:
    """Draw the time below, and what is shaded in it; return its scale."""
    x = linear([time.seconds], LEFT, RIGHT)
    shade(canvas, time.shades, x, top, bottom)
    ticks = x.ticks(5)
    x_axis(canvas, x, top, bottom, clock(ticks), ticks)
    return x


def owed(operations: Sequence[Operation], start: int) -> list[tuple[int, int]]:
    """Return (when, how many tickets buyers were not yet promised), from ``start`` on; below 0 is oversold.

    A promise counts from when it was told until its buyer asks to cancel, or until a hold that nobody confirmed can be
    over. So where nothing goes wrong it is never below 0, though another buyer may hear first of what was given back.
    """
    asked: dict[str, int] = {}
    back: dict[str, int] = {}
    for row in sorted(operations, key=lambda row: row.called):
        asked.setdefault(row.key or row.name, row.called)
        if row.kind == "cancel" and row.outcome in {"done", "unknown"}:
            back.setdefault(row.order, row.called)
    kept = {row.order for row in operations if row.kind == "confirm" and row.outcome == "done"}
    promised: dict[str, Operation] = {}
    for row in sorted(operations, key=lambda row: row.returned):
        if row.outcome == "done" and row.kind in {"buy", "hold"} and row.tickets:
            promised.setdefault(row.order, row)  # who asks again is told of the same order again
    steps = [(row.returned, -len(row.tickets)) for row in promised.values()]
    for order, row in promised.items():
        if order not in kept and row.ttl_s:
            over = asked[row.key or row.name] + int(row.ttl_s * 1e9)
            back[order] = min(back.get(order, over), over)
        if order in back:
            steps.append((back[order], len(row.tickets)))
    last = max((row.returned for row in operations), default=0)
    left, points = start, []
    for when, change in sorted(steps):
        left += change
        points += [(when, left)] if when <= last else []
    return points


def tickets(
    key: str, look: str, operations: Sequence[Operation], start: int, time: Stretch, lowest: int | None = None
) -> str:
    """Draw the tickets left as replies state them, against what is left of ``start`` after all acknowledged sales.

    ``lowest`` is how far the axis goes down at least, so that pictures can be compared.
    """
    canvas = Canvas(WIDTH, HEIGHT)
    promised = [(time.moment(when), float(left)) for when, left in owed(operations, start)]
    replies = sorted((row for row in operations if row.count is not None), key=lambda row: row.returned)
    stated = [(time.moment(row.returned), float(row.count or 0)) for row in replies]
    least = min((left for _, left in promised), default=float(start))
    y = linear([start, 0 if lowest is None else lowest, least], BOTTOM, TOP)
    x = along(canvas, time, TOP, BOTTOM)
    y_axis(canvas, y, LEFT, RIGHT, whole)

    def placed(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x(when), y(left)) for when, left in envelope([(0.0, float(start)), *points], CURVE_POINTS)]

    if least < 0:
        below = [(x(when), max(y(0), y(left))) for when, left in envelope(promised, CURVE_POINTS)]
        closed = (
            f"M{coordinate(below[0][0])} {coordinate(y(0))}L{staircase(below, x(time.seconds))[1:]}V{coordinate(y(0))}Z"
        )
        canvas.add("path", "oversold", d=closed)
        late = below[0][0] > (LEFT + RIGHT) / 2
        place = (below[0][0] - 8, (y(0) + BOTTOM) / 2) if late else (RIGHT - 6, y(0) + 15)
        canvas.text(*place, f"{whole(-least)} oversold", "oversoldname", "end")
    canvas.add("path", "line promised", d=staircase(placed(promised), x(time.seconds)))
    canvas.add("path", f"line solid {look}", d=staircase(placed(stated), x(time.seconds)))
    said = f"the last reply stated {whole(stated[-1][1])}" if stated else "no reply stated a count"
    ends = promised[-1][1] if promised else float(start)
    less = f"{whole(-ends)} more were sold than there are" if ends < 0 else f"{whole(ends)} are left to sell"
    told = f"Of {whole(start)} tickets: {said}; by what buyers were told they own, {less}."
    return canvas.svg(key, "Tickets left over time", told)


def dots(key: str, operations: Sequence[Operation], time: Stretch, latencies_ms: tuple[float, float]) -> str:
    """Draw every operation where its reply came, as high as it took long; ``latencies_ms`` is the range to show."""
    canvas = Canvas(WIDTH, HEIGHT)
    y = logarithmic(latencies_ms, BOTTOM, TOP)
    x = along(canvas, time, TOP, BOTTOM)
    y_axis(canvas, y, LEFT, RIGHT, duration)
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for row in notable(operations, DOTS_MAX, _rank):
        place = f"M{coordinate(x(time.moment(row.returned)))} {coordinate(y(took_ms(row)))}"
        paths[kind(row)].append(place + SHAPES[kind(row)])
    for name in SHAPES:
        if name in paths:
            canvas.add("path", f"op {name.replace(' ', '-')}", d="".join(paths[name]))
    counts = {name: sum(kind(row) == name for row in operations) for name in SHAPES}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"
    return canvas.svg(key, "Every operation: when its reply came, and how long it took", f"Operations: {told}.")


def _rank(row: Operation) -> float:
    """Return how much an operation is worth a look: failures most of all, then what took long."""
    return math.inf if row.outcome in {"not done", "unknown"} else took_ms(row)


def took_ms(row: Operation) -> float:
    """Return how long an operation took from its planned moment, in milliseconds."""
    return (row.returned - row.planned) / 1e6


def strips(key: str, look: str, operations: Sequence[Operation], time: Stretch) -> str:
    """Draw a row a client: a saw's tooth for each purchase, which rises while the client waits and falls at the reply.

    The clients that waited longest stand on top.
    """
    clients: defaultdict[int, list[Operation]] = defaultdict(list)
    for row in operations:
        if row.kind not in {"look", "noop"}:
            clients[row.client].append(row)
    longest = {client: max(map(took_ms, rows)) for client, rows in clients.items()}
    ranked = spread(sorted(clients, key=lambda client: (-longest[client], client)), STRIPS_MAX)
    bottom = TOP + STRIP * len(ranked) + 4
    canvas = Canvas(WIDTH, bottom + 30)
    x = along(canvas, time, TOP, bottom)
    tallest = max(longest.values(), default=1.0) or 1.0
    shown = {id(row) for row in notable([row for name in ranked for row in clients[name]], TEETH_MAX, took_ms)}
    for number, client in enumerate(ranked):
        floor = TOP + STRIP * (number + 1)
        teeth = "".join(
            _tooth(x(time.moment(row.planned)), x(time.moment(row.returned)), floor, took_ms(row) / tallest)
            for row in clients[client]
            if id(row) in shown
        )
        canvas.add("line", "grid", x1=LEFT, x2=RIGHT, y1=floor, y2=floor)
        canvas.add("path", f"tooth {look}", d=teeth)
        canvas.text(LEFT - 6, floor - 1, duration(longest[client]), "tick", "end")
    told = f"{len(clients)} clients. The longest wait of each was between "
    told += f"{duration(min(longest.values(), default=0))} and {duration(max(longest.values(), default=0))}."
    return canvas.svg(key, "Who waited how long: a row for each client", told)


def _tooth(begin: float, end: float, floor: float, part: float) -> str:
    height = max(1.0, part * (STRIP - 3))
    return f"M{coordinate(begin)} {coordinate(floor)}H{coordinate(end)}v-{coordinate(height)}z"
