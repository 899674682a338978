"""The pictures of a run, gathered from its slices, as markup for the page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from loadtest import charts, folder, lanes, timelines, usages
from loadtest.charts import NARROW, WIDE, Compared, Curve
from loadtest.conservation import owned
from loadtest.judge import QUIET_PAIRS_MIN
from loadtest.measure import latencies
from loadtest.mishaps import LOOKED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.folder import Recorded
    from loadtest.judge import Result
    from loadtest.measure import Measured
    from loadtest.mishaps import Stretch as Fault
    from loadtest.timelines import Shade, Stretch
    from loadtest.witness import Story


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page shows of a mode: its first slice, and the latencies of all of them."""

    result: Result
    series: int
    first: Recorded
    time: Stretch
    latencies_ms: list[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture among others of its kind: the mode, a line about it, and the picture."""

    mode: str
    note: str
    picture: Markup
    faults: str = ""


def look_at(place: Path, result: Result, series: int) -> Seen:
    """Load what the page shows of a mode; in a folder ``place``, and with its place among the modes."""
    first: Recorded | None = None
    merged: list[float] = []
    # Where no slice ended well, those that broke off are shown as far as they came.
    whole = [place / each.slice for each in result.rounds]
    for path in whole or [each / result.mode for each in folder.rounds(place)]:
        if not (path / "plan.json").exists():
            continue
        recorded = folder.load_slice(path)
        merged += latencies([recorded.slice])
        if first is None and recorded.operations:
            first = recorded
    if first is None:
        raise ValueError(f"{result.mode} was measured without a slice")
    time = timelines.stretch(first.operations, _faults(first.faults), first.plan.warmup_s)
    return Seen(result, series, first, time, sorted(merged))


def _faults(faults: Sequence[Fault]) -> list[tuple[str, int, int]]:
    """Return what was done to the service meanwhile: names with two readings of the clock. Mere looks have no name."""
    return [("" if _is_look(each) else each.name, each.from_ns, each.to_ns) for each in faults]


def _is_look(fault: Fault) -> bool:
    return fault.mishap is None and fault.name.endswith(LOOKED)


def throughput(results: Sequence[Result], seen: Sequence[Seen], ceiling: Measured | None) -> dict[str, Any]:
    """Return the picture of the rates, and whether they are ratios; without a ceiling, why there is none."""
    rows = []
    for each in seen:
        ratio, rounds = each.result.ratio, each.result.rounds
        if ceiling is not None and ratio is not None:
            enough = sum(bool(one.quiet and one.to_ceiling) for one in rounds) >= QUIET_PAIRS_MIN
            dots = [(one.to_ceiling, bool(one.quiet) or not enough) for one in rounds if one.to_ceiling]
            interval = "" if ratio.low is None else f" (95 %: {ratio.low:.2f} to {ratio.high:.2f})"
            words = f"{ratio.median:.2f}{interval}"
            rows.append(Compared(each.result.mode, each.series, ratio.median, ratio.low, ratio.high, dots, words))
        elif ceiling is None and each.result.measured is not None:
            rate = each.result.measured.requests_per_s
            dots = [(one.requests_per_s, True) for one in rounds]
            rows.append(Compared(each.result.mode, each.series, rate, None, None, dots, f"{rate:,.1f} per second"))
    draw = charts.rates if ceiling is None else charts.ratios
    paused = any(each.first.plan.think_s for each in seen)
    return {
        "picture": _both(lambda key, width: draw(key, rows, width), "throughput"),
        "paused": paused,
        "interval": any(result.ratio and result.ratio.low is not None for result in results),
        "left_out": any(not counts for row in rows for _, counts in row.rounds),
    }


def latency(place: Path, seen: Sequence[Seen]) -> Markup:
    """Return the curves of all modes, and that of the ceiling."""
    curves = [Curve(each.result.mode, each.series, each.latencies_ms) for each in seen]
    slices = [
        folder.load_slice(path / folder.CEILING) for path in folder.rounds(place) if (path / folder.CEILING).is_dir()
    ]
    merged = latencies([each.slice for each in slices if not each.failure])
    if merged:
        curves.append(Curve("the ceiling", None, merged))
    return _both(lambda key, width: charts.percentiles(key, curves, width), "latency")


def panels(seen: Sequence[Seen]) -> dict[str, list[Panel]]:
    """Return the pictures along time, a list for each kind. The axes up are the same in all modes."""
    lowest = min(
        (left for each in seen for _, left in timelines.owed(each.first.operations, each.first.start.count)), default=0
    )
    took = [timelines.took_ms(row) for each in seen for row in each.first.operations]
    span = (min(took, default=1.0), max(took, default=1.0))
    panels: dict[str, list[Panel]] = {"tickets": [], "dots": [], "strips": []}
    for each in seen:
        mode, rows, look = each.result.mode, each.first.operations, charts.look(each.series)
        start, number = each.first.start.count, each.series
        sold = owned(rows)
        drawn = {
            "tickets": (
                timelines.tickets(f"tickets-{number}", look, rows, start, each.time, lowest),
                f"{sold:,} sold of {start:,}",
            ),
            "dots": (timelines.dots(f"dots-{number}", rows, each.time, span), _shown(len(rows))),
            "strips": (timelines.strips(f"strips-{number}", look, rows, each.time), _fairness(each.result.measured)),
        }
        for name, (picture, note) in drawn.items():
            panels[name].append(Panel(mode, note, markup(picture), _named(each.time.shades)))
    return panels


def usages_of(seen: Sequence[Seen]) -> dict[str, list[Panel]]:
    """Return the pictures of what was used, a list for each mode that was looked at."""
    made: dict[str, list[Panel]] = {}
    for each in seen:
        for what in usages.KINDS if each.first.samples else ():
            key = f"{what}-{each.series}"
            picture = usages.drawn(key, charts.look(each.series), what, each.first.samples, each.time)
            panel = Panel(each.result.mode, usages.KINDS[what][0], markup(picture), _named(each.time.shades))
            made.setdefault(each.result.mode, []).append(panel)
    return made


def _shown(count: int) -> str:
    most = timelines.DOTS_MAX
    return f"{count:,} operations" if count <= most else f"{most:,} of {count:,} operations"


def _fairness(measured: Measured | None) -> str:
    shares = (("clients", measured.by_client), ("workers", measured.by_worker)) if measured else ()
    return "; ".join(
        f"{name}: Jain {share.jain:.3f}, {share.least:,}{f' to {share.most:,}' * (share.most > share.least)} each"
        for name, share in shares
        if share is not None
    )


def cases(place: Path, stories: dict[str, list[Story]]) -> list[tuple[str, list[tuple[Story, Markup, str]]]]:
    """Return the stories of each mode that has any, with their pictures and the faults that happened meanwhile."""
    told = []
    for number, (mode, of_mode) in enumerate(stories.items()):
        drawn = []
        for index, story in enumerate(of_mode):
            if story.lanes:
                shades = _faults_during(place / story.slice, story)
                picture = _both(partial(_case, story, shades), f"case-{number}-{index}")
                drawn.append((story, picture, _named(shades)))
            else:
                drawn.append((story, Markup(), ""))
        if drawn:
            told.append((mode, drawn))
    return told


def _named(shades: Sequence[Shade]) -> str:
    return ", ".join(f"{each.mark} {each.name}" for each in shades if each.mark)


def _faults_during(place: Path, story: Story) -> list[Shade]:
    recorded = folder.load_slice(place)
    if not recorded.faults:
        return []
    begin, end = min(lane.called_s for lane in story.lanes), max(lane.returned_s for lane in story.lanes)
    shades = timelines.stretch(recorded.operations, _faults(recorded.faults), 0.0).shades
    return [each for each in shades if each.to_s >= begin and each.from_s <= end]


def _case(story: Story, shades: Sequence[Shade], key: str, width: float) -> str:
    return lanes.witness(key, story, width, shades)


def _both(draw: Callable[[str, float], str], key: str) -> Markup:
    """Return a picture for a desk and one for a telephone; the style sheet shows the one that fits."""
    wide, narrow = draw(f"{key}-wide", WIDE), draw(f"{key}-narrow", NARROW)
    return markup(f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>')


def markup(made: str) -> Markup:
    """Return what ``loadtest.drawing`` made, or our own file, as markup: both have escaped what is not theirs."""
    return Markup(made)  # noqa: S704  # see above
