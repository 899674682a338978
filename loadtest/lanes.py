"""The witness's picture: a lane for each operation of a case, and what happened in it when. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.charts import NARROW
from loadtest.drawing import Canvas, clock, coordinate, linear, x_axis
from loadtest.timelines import shade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.drawing import Scale
    from loadtest.timelines import Shade
    from loadtest.witness import Lane, Story

LANE, LINE = 44.0, 15.0
"""How high a lane is, and what a second line of text adds where the picture is narrow."""
MARGIN = 12.0
TOP = 16.0
READ = "m0-6l6 6l-6 6l-6-6z"
WROTE = "m-5-5h10v10h-10z"
TICKETS_MAX = 3
"""So many tickets are named one by one; more that follow each other are a range."""


def witness(key: str, story: Story, width: float, shades: Sequence[Shade] = ()) -> str:
    """Draw a story: a thin line from call to reply, a hollow bar while it waited, a full one while it was inside."""
    height = LANE if width > NARROW else LANE + LINE
    bottom = TOP + height * len(story.lanes) + 4
    canvas = Canvas(width, bottom + 26)
    begin = min((lane.called_s for lane in story.lanes), default=0.0)
    end = max((lane.returned_s for lane in story.lanes), default=1.0)
    x = linear([begin, end], MARGIN, width - MARGIN, zero=False)
    both = together(story.lanes)
    if both is not None:
        left, right = x(both[0]), x(both[1])
        canvas.add("rect", "together", x=left, y=TOP, width=max(1.0, right - left), height=2 * height)
    shade(canvas, shades, x, TOP, bottom)
    ticks = x.ticks(8 if width > NARROW else 5)
    x_axis(canvas, x, TOP, bottom, clock(ticks), ticks)
    for number, lane in enumerate(story.lanes):
        _lane(canvas, lane, x, TOP + height * number, TOP + height * (number + 1) - 13)
    told = "; ".join(
        f"{who(lane)}: {did(lane)}, from {lane.called_s:.3f} s to {lane.returned_s:.3f} s" for lane in story.lanes
    )
    return canvas.svg(key, f"{story.anomaly}: who did what when", f"{told}.")


def together(lanes: Sequence[Lane]) -> tuple[float, float] | None:
    """Return when the first two operations were both inside, each with what it had read; if they ever were."""
    spans = [(lane.read_s, lane.left_s) for lane in lanes[:2]]
    reads = [read for read, _ in spans if read is not None]
    lefts = [left for _, left in spans if left is not None]
    if len(reads) < 2 or len(lefts) < 2 or max(reads) >= min(lefts):  # noqa: PLR2004  # two make a collision
        return None
    return max(reads), min(lefts)


def who(lane: Lane) -> str:
    """Return who served whom."""
    where = f" on host {lane.host}" if lane.host else ""
    return f"worker {lane.worker}{where}, {lane.name}" if lane.worker else lane.name


def did(lane: Lane) -> str:
    """Return what an operation had read, and what it made of it."""
    read = f"read version {lane.read_version}" if lane.read_version is not None else ""
    if lane.outcome == "done":
        made = "" if lane.version is None else f"{'wrote' if lane.tickets else 'saw'} version {lane.version}"
    else:
        made = lane.outcome if lane.version is None else f"{lane.outcome} at version {lane.version}"
    return ", ".join(part for part in (read, made, tickets(lane.tickets)) if part) or lane.outcome


def tickets(numbers: Sequence[int]) -> str:
    """Return ticket numbers in words, as a range where they are many and follow each other."""
    if not numbers:
        return ""
    if len(numbers) > TICKETS_MAX and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"tickets {numbers[0]} to {numbers[-1]}"
    shown = ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")  # noqa: PLR2004  # what fits a lane
    return f"ticket{'s' * (len(numbers) > 1)} {shown}"


def _lane(canvas: Canvas, lane: Lane, x: Scale, top: float, middle: float) -> None:
    if middle - top < LANE:
        canvas.text(MARGIN, top + 16, f"{who(lane)}: {did(lane)}", "lane")
    else:
        canvas.text(MARGIN, top + 16, who(lane), "lane")
        canvas.text(MARGIN, top + 16 + LINE, did(lane), "lane")
    canvas.add("line", "call", x1=x(lane.called_s), x2=x(lane.returned_s), y1=middle, y2=middle)
    for moment in (lane.called_s, lane.returned_s):
        canvas.add("line", "call", x1=x(moment), x2=x(moment), y1=middle - 6, y2=middle + 6)
    if lane.asked_s is not None:
        _bar(canvas, "waiting", x(lane.asked_s), x(lane.entered_s or lane.left_s or lane.returned_s), middle)
    if lane.entered_s is not None:
        _bar(canvas, "inside", x(lane.entered_s), x(lane.left_s or lane.returned_s), middle)
    if lane.read_s is not None:
        canvas.add("path", "read", d=f"M{coordinate(x(lane.read_s))} {coordinate(middle)}{READ}")
    if lane.left_s is not None and lane.outcome == "done":
        canvas.add("path", "wrote", d=f"M{coordinate(x(lane.left_s))} {coordinate(middle)}{WROTE}")


def _bar(canvas: Canvas, look: str, begin: float, end: float, middle: float) -> None:
    canvas.add("rect", look, x=begin, y=middle - 5, width=max(1.0, end - begin), height=10, rx=1)
