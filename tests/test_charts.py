"""Pictures: they are well formed whatever they are given, they lose no peak, and they say in words what they show."""

from __future__ import annotations

import itertools
import math
import re
from importlib import resources
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadtest import charts, lanes, thin, timelines
from loadtest.charts import NARROW, WIDE, Compared, Curve
from loadtest.drawing import SERIES, clock, duration, linear, logarithmic, spaced, whole
from loadtest.history import Operation
from loadtest.page import KINDS
from loadtest.witness import Lane, Story

if TYPE_CHECKING:
    from loadtest.history import Outcome

HOSTILE = "<script>alert('1')</script>&\""
FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
POSITIVE = st.floats(min_value=1e-9, max_value=1e15)


def parsed(svg: str) -> ET.Element:
    """Return a picture as a tree: it must be well formed, named and described, and have only numbers as places."""
    tree = ET.fromstring(svg)  # noqa: S314  # our own
    assert tree.get("role") == "img"
    name = next(each for each in tree if each.tag.endswith("title"))
    told = next(each for each in tree if each.tag.endswith("desc"))
    assert (tree.get("aria-labelledby"), tree.get("aria-describedby")) == (name.get("id"), told.get("id"))
    assert name.text
    assert told.text
    assert "script" not in {each.tag.rpartition("}")[2] for each in tree.iter()}
    places = [value for each in tree.iter() for key, value in each.attrib.items() if key in {"d", "x", "y", "width"}]
    assert not re.search("nan|inf|e[+-]", " ".join(places))
    return tree


def operation(number: int, returned: int, outcome: Outcome = "done", **more: Any) -> Operation:  # noqa: ANN401
    values: dict[str, Any] = {"kind": "buy", "quantity": 1, "status": 201}
    values |= {"planned": 0, "called": 0, "returned": returned, "outcome": outcome}
    return Operation(**values | more, name=f"n{number}", client=number % 3)


@given(values=st.lists(FINITE), most=st.integers(2, 9), zero=st.booleans())
@example(values=[5e-324], most=5, zero=True)
@example(values=[1e300, -1e300], most=5, zero=False)
def test_a_linear_scale_places_everything_inside(values: list[float], most: int, *, zero: bool) -> None:
    """Whatever the values: no division by zero, few ticks, in order, and all of it between the ends."""
    scale = linear(values, 10, 90, zero=zero)
    assert all(10 <= scale(value) <= 90 for value in values)
    ticks = scale.ticks(most)
    assert 1 < len(ticks) <= most
    assert ticks == sorted(ticks)
    assert all(math.isfinite(tick) and whole(tick) for tick in ticks)


@given(st.lists(FINITE), st.integers(2, 9))
@example([0.0, -1.0], 5)
@example([1e-300, 1e300], 5)
def test_a_logarithmic_scale_leaves_out_what_it_cannot_place(values: list[float], most: int) -> None:
    """Zero and less go to the edge, and even one value gets a scale."""
    scale = logarithmic(values, 90, 10)
    assert all(10 <= scale(value) <= 90 for value in values)
    ticks = scale.ticks(most)
    assert 1 < len(ticks) <= most
    assert all(tick > 0 for tick in ticks)


@given(st.lists(st.floats(0, 200), max_size=20), st.floats(1, 10))
def test_labels_do_not_cover_each_other(places: list[float], gap: float) -> None:
    """They keep their order and their distance, and where there is room they stay within the bounds."""
    moved = spaced(places, gap, 0, 200)
    order = sorted(range(len(places)), key=lambda index: places[index])
    assert all(moved[after] - moved[before] >= gap - 1e-6 for before, after in itertools.pairwise(order))
    assert all(-1e-6 <= place <= 200 + 1e-6 for place in moved)


@given(st.lists(st.tuples(FINITE, FINITE), max_size=300), st.integers(4, 50))
def test_a_thinned_curve_keeps_its_ends_its_peak_and_its_valley(points: list[tuple[float, float]], most: int) -> None:
    """No more points than asked for, all of them real, in their order."""
    kept = thin.envelope(points, most)
    assert len(kept) <= max(most, thin.KEPT_PER_STRETCH)
    remaining = iter(points)
    assert all(point in remaining for point in kept)
    if points:
        heights, all_heights = [y for _, y in kept], [y for _, y in points]
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        assert (min(heights), max(heights)) == (min(all_heights), max(all_heights))


@given(st.lists(st.integers()), st.integers(0, 30))
def test_what_is_notable_is_kept(rows: list[int], most: int) -> None:
    """At most so many, in their order, and the highest among them."""
    kept = thin.notable(rows, most, lambda row: row)
    assert len(kept) <= most
    assert not rows or most < 2 or max(rows) in kept
    remaining = iter(rows)
    assert all(row in remaining for row in kept)


def test_amounts_are_written_as_people_write_them() -> None:
    """Short, with a unit, and ticks of one axis can be told apart."""
    assert [duration(ms) for ms in (0.5, 20, 999, 2000, 61_000)] == ["0.5 ms", "20 ms", "999 ms", "2 s", "61 s"]
    assert [clock([1.225, 1.23, 1.235])(value) for value in (1.225, 1.23)] == ["1.225 s", "1.230 s"]
    assert clock([0.0, 0.1])(0.1) == "100 ms"
    assert [whole(value) for value in (0, 10_000, 0.25, 12.34)] == ["0", "10,000", "0.25", "12.3"]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_charts_of_the_modes_say_what_they_show(width: float) -> None:
    """Names are escaped, an interval is a bar, and each round has its dot, hollow where it does not count."""
    rows = [Compared(HOSTILE, 0, 0.5, 0.4, 0.6, [(0.5, True), (0.7, False)], "0.50 (95 %: 0.40 to 0.60)")]
    tree = parsed(charts.ratios("k", rows, width))
    looks = [each.get("class") for each in tree.iter()]
    assert [looks.count(name) for name in ("interval s0", "dot s0", "ring s0")] == [1, 1, 1]
    assert HOSTILE in "".join(tree.itertext())
    assert "0.50 (95 %" in "".join(tree.itertext())
    parsed(charts.rates("k", rows * 9, width))
    parsed(charts.rates("k", [], width))


@given(st.lists(st.lists(POSITIVE, max_size=40), max_size=10))
@example([[1.0]])
@example([[], [1e15] * 3])
def test_latency_curves_are_drawn_for_any_values(values: list[list[float]]) -> None:
    """Nothing, one purchase, or absurd times; ten modes have different looks or at least their own label."""
    curves = [Curve(f"mode {number}", number, sorted(each)) for number, each in enumerate(values)]
    tree = parsed(charts.percentiles("k", curves, WIDE))
    assert sum("line" in each.get("class", "").split() for each in tree.iter() if each.tag.endswith("path")) == sum(
        map(bool, values)
    )


def test_a_latency_curve_is_small_however_many_purchases_there_were() -> None:
    """A hundred thousand values become a few hundred points."""
    svg = charts.percentiles("k", [Curve(HOSTILE, None, [number / 7 + 1 for number in range(100_000)])], WIDE)
    parsed(svg)
    assert len(svg) < 20_000


OPERATIONS = st.lists(
    st.builds(
        operation,
        st.integers(0, 9),
        st.integers(0, 10**12),
        st.sampled_from(["done", "refused", "not done", "unknown"]),
        count=st.none() | st.integers(-5, 10**9),
        tickets=st.lists(st.integers(1, 9), max_size=3).map(tuple),
        kind=st.sampled_from(["buy", "hold", "cancel", "confirm", "look"]),
    ),
    max_size=30,
)


@given(OPERATIONS, st.integers(0, 10**9))
def test_pictures_along_time_are_drawn_for_any_history(rows: list[Operation], start: int) -> None:
    """Whatever happened, also nothing; a fault is shaded, and its name does no harm."""
    time = timelines.stretch(rows, [(HOSTILE, 0, 5 * 10**11)], 0.5)
    for svg in (
        timelines.tickets("k", "s1", rows, start, time, -3),
        timelines.dots("k", rows, time, (0.0, 1e9)),
        timelines.strips("k", "s1", rows, time),
    ):
        looks = [each.get("class") for each in parsed(svg).iter()]
        assert looks.count("warmup") == looks.count("fault") == 1


def test_tickets_below_zero_are_shaded_and_counted() -> None:
    """Two sold of one: the second is oversold, and both the picture and its description say so."""
    rows = [operation(number, number * 10**9, tickets=(1,), count=0, order=str(number)) for number in (1, 2)]
    tree = parsed(timelines.tickets("k", "s0", rows, 1, timelines.stretch(rows, [], 0)))
    assert "oversold" in [each.get("class") for each in tree.iter()]
    assert "1 oversold" in "".join(tree.itertext())
    assert "1 more were sold than there are" in "".join(tree.itertext())


def test_every_outcome_has_its_own_shape() -> None:
    """So that they are told apart without colour; and a crowd is thinned, its failures kept."""
    assert len(set(timelines.SHAPES.values())) == len(timelines.SHAPES)
    assert len(set(charts.MARKERS)) == len(charts.MARKERS)
    rows = [operation(number, number * 10**6) for number in range(1, 5000)] + [operation(0, 1, "unknown")]
    svg = timelines.dots("k", rows, timelines.stretch(rows, [], 0), (0.1, 1e4))
    assert svg.count("h0") <= timelines.DOTS_MAX
    assert "op unknown" in svg
    assert len(svg) < 60_000


def lane(**more: object) -> Lane:
    values = {
        "name": HOSTILE, "worker": 3, "called_s": 1.0, "returned_s": 2.0, "asked_s": 1.1, "entered_s": 1.2,
        "read_s": 1.3, "left_s": 1.9, "read_version": 7, "version": 8, "tickets": (4, 5), "outcome": "done",
    }  # fmt: skip
    return Lane(**values | more)  # type: ignore[arg-type]


def test_a_witness_shows_who_was_inside_when() -> None:
    """Two that were inside at once are shaded together; versions and tickets are named."""
    story = Story("lost update", "s", "", (lane(), lane(read_s=1.4, left_s=1.5, tickets=(1, 2, 3, 4))))
    assert lanes.together(story.lanes) == (1.4, 1.5)
    for width in (WIDE, NARROW):
        words = "".join(parsed(lanes.witness("k", story, width)).itertext())
        assert "read version 7, wrote version 8, tickets 4, 5" in words
        assert "tickets 1 to 4" in words
    unknown = dict.fromkeys(("asked_s", "entered_s", "read_s", "left_s", "read_version", "version", "worker"))
    bare = lane(**unknown, outcome="unknown", tickets=())
    assert lanes.together((bare, lane())) is None
    parsed(lanes.witness("k", Story("miscount", "s", "", (bare,)), NARROW))
    parsed(lanes.witness("k", Story("miscount", "s", "", ()), NARROW))


def test_what_buyers_are_promised_is_told_once_and_ends_with_the_hold() -> None:
    """Who asks again is promised nothing more. A buyer who asks to cancel relies on nothing, and neither does one whose
    hold can be over: it counts from the first attempt. What was confirmed stays.
    """
    held: dict[str, Any] = {"kind": "hold", "ttl_s": 1e-7, "tickets": (1, 2)}
    rows = [
        operation(1, 10, "unknown", kind="hold", key="k", called=3),
        operation(2, 20, **held, order="a", key="k", called=12),
        operation(3, 25, **held, order="a", key="k", called=22),
        operation(4, 30, **held, order="b"),
        operation(5, 40, kind="confirm", tickets=(1, 2), order="b"),
        operation(6, 50, tickets=(5,), order="c"),
        operation(7, 70, "unknown", kind="cancel", order="c", called=60),
        operation(8, 90, kind="cancel", tickets=(5,), order="c", called=80),
        operation(9, 500, "unknown"),
    ]
    assert timelines.owed(rows, 10) == [(20, 8), (30, 6), (50, 5), (60, 6), (103, 8)]


def test_each_operation_is_drawn_as_what_came_of_it() -> None:
    """A lost reply is no failure, and a hold is no sale."""
    drawn = {
        "sold": operation(1, 2),
        "changed": operation(1, 2, kind="hold"),
        "look": operation(1, 2, kind="look"),
        "refused": operation(1, 2, "refused", kind="confirm"),
        "lost": operation(1, 2, "unknown", problem="ReplyLost"),
        "unknown": operation(1, 2, "unknown", problem="torn-read"),
        "not done": operation(1, 2, "not done"),
    }
    assert {name: timelines.kind(row) for name, row in drawn.items()} == {name: name for name in drawn}
    assert drawn.keys() == timelines.SHAPES.keys() == KINDS.keys()


def test_nine_modes_look_different() -> None:
    """Each has a colour, a dash and a marker of its own."""
    style = (resources.files("loadtest") / "page.css").read_text("utf-8")
    assert len(charts.MARKERS) == SERIES >= 9
    for series in range(SERIES):
        assert len(set(re.findall(rf"--s{series}: (#\w+);", style))) == 2
    looks = re.findall(r"\.s\d \{ --c: var\(--s\d\); --d: ([^;]+); \}", style)
    assert len(set(looks)) == SERIES
