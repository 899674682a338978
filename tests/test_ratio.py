"""Ratios, requirements, differences, witnesses and exports: pure functions, tried on values."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import export, judge, rounds
from loadtest.difference import differences
from loadtest.findings import Checked, Finding, Witness, pooled
from loadtest.history import Operation, Passage
from loadtest.judge import Result, Round
from loadtest.measure import measure
from loadtest.ratio import PAIRS_MIN, paired, unpaired
from loadtest.require import Outcome, WrongRequirement, evaluate, parse
from loadtest.verdict import Verdict
from loadtest.witness import tell

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_a_paired_ratio_survives_noise_that_falls_on_both() -> None:
    """The machine's speed wanders by a factor of twenty; the ratio of 1.6 is found all the same."""
    chance = random.Random(4)
    speeds = [chance.uniform(50, 1000) for _ in range(15)]
    ratio = paired([(1.6 * speed * chance.uniform(0.95, 1.05), speed) for speed in speeds])
    assert ratio is not None
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.median == pytest.approx(1.6, rel=0.05)
    assert ratio.high / ratio.low < 1.1
    assert ratio.different


def test_an_interval_is_one_of_95_percent() -> None:
    """Of medians drawn again from the same values, by a chance of the test's own, about so many lie in it."""
    chance = random.Random(6)
    values = [chance.lognormvariate(0, 0.3) for _ in range(101)]
    ratio = paired([(value, 1.0) for value in values])
    assert ratio is not None
    assert ratio.low is not None
    assert ratio.high is not None
    drawn = [median(chance.choices(values, k=len(values))) for _ in range(3000)]
    assert 0.93 <= sum(ratio.low <= each <= ratio.high for each in drawn) / len(drawn) <= 0.97


def test_quiet_rounds_are_taken_where_there_are_enough() -> None:
    """Five quiet ones of eight decide; with four, all eight do."""

    def rounds(quiet: int) -> list[Round]:
        return [
            Round(f"round-{number}/m", 1.0, 1.0, 1.0, 0.5 if number < quiet else 0.1, quiet=number < quiet)
            for number in range(8)
        ]

    enough, few = judge._ratio(rounds(5)), judge._ratio(rounds(3))  # noqa: SLF001  # the rule itself
    assert enough is not None
    assert few is not None
    assert (round(enough.median, 6), enough.pairs) == (0.5, 5)
    assert (round(few.median, 6), few.pairs) == (0.1, 8)


def test_alike_is_not_called_different() -> None:
    """An A/A comparison: the interval holds 1."""
    chance = random.Random(5)
    ratio = paired([(chance.gauss(100, 5), chance.gauss(100, 5)) for _ in range(15)])
    assert ratio is not None
    assert ratio.different is False


def test_few_values_give_no_interval() -> None:
    """Below PAIRS_MIN nobody can tell; with none there is no ratio."""
    ratio = paired([(2.0, 1.0)] * (PAIRS_MIN - 1))
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.different) == (2.0, None, None)
    assert paired([]) is None
    assert paired([(0.0, 1.0)]) is None
    assert unpaired([1.0], []) is None


@given(st.lists(st.floats(1, 1000), min_size=PAIRS_MIN, max_size=12), st.floats(0.1, 10))
def test_a_ratio_turned_around_is_its_inverse(values: list[float], factor: float) -> None:
    """Paired or not, comparing B to A says the inverse of comparing A to B."""
    there = paired([(value * factor, value) for value in values])
    back = paired([(value, value * factor) for value in values])
    assert there is not None
    assert back is not None
    assert there.median * back.median == pytest.approx(1)
    scaled = unpaired([value * factor for value in values], values)
    assert scaled is not None
    assert scaled.median == pytest.approx(factor)


def test_modes_are_interleaved_in_rotated_order() -> None:
    """Each round has every mode and the ceiling once, and begins with another one."""
    ran = list(rounds.order(["a", "b"], 3, ceiling=True))
    names = [[name for number, name in ran if number == each] for each in (1, 2, 3)]
    assert names == [["ceiling", "a", "b"], ["a", "b", "ceiling"], ["b", "ceiling", "a"]]
    assert list(rounds.order(["a"], 2, ceiling=False)) == [(1, "a"), (2, "a")]


FIGURES: dict[str, dict[str, float | None]] = {
    "file_lock": {"p99_ms": 40.0, "ratio": 0.3},
    "no_lock": {"p99_ms": 60.0, "ratio": None},
}


KNOWN = {"p99_ms", "ratio"}


def test_requirements_are_held_against_every_mode_or_the_one_they_name() -> None:
    """A figure that was not measured is a miss."""
    outcomes = evaluate(
        [parse(text, KNOWN) for text in ("p99_ms<50", "file_lock:ratio >= 0.3", "ratio>0", "gone:ratio>0")], FIGURES
    )
    assert outcomes == [
        Outcome("p99_ms<50", "file_lock", 40.0, met=True),
        Outcome("p99_ms<50", "no_lock", 60.0, met=False),
        Outcome("file_lock:ratio >= 0.3", "file_lock", 0.3, met=True),
        Outcome("ratio>0", "file_lock", 0.3, met=True),
        Outcome("ratio>0", "no_lock", None, met=False),
        Outcome("gone:ratio>0", "gone", None, met=False),
    ]


@pytest.mark.parametrize("text", ["p99_ms", "p99_ms<", "<50", "p99_ms<fast", "p99_ms=<50", "a:b:c<1", ""])
def test_what_is_no_requirement_is_said_to_be_none(text: str) -> None:
    """Before anything runs."""
    with pytest.raises(WrongRequirement, match="is no requirement: expected one such as 'p99_ms<50'"):
        parse(text, KNOWN)


def test_a_requirement_on_a_figure_that_there_is_not_is_an_error() -> None:
    """A misspelt figure is not silently missed, nor met; all that is measured can be asked for."""
    with pytest.raises(WrongRequirement, match="there are p99_ms, ratio"):
        parse("p98_ms<5", KNOWN)
    for name in ("p99_ms", "ratio", "anomalies", "inside.wait_ms", "cost.cpu_ms_per_sale", "by_client.jain"):
        assert parse(f"{name}<5", export.FIGURES).figure == name


def result(rates: Sequence[float], ceiling: float | None = None) -> Result:
    rounds = tuple(
        Round(f"round-{number}/m", rate, 1.0, 2.0, rate / ceiling if ceiling else None, quiet=True)
        for number, rate in enumerate(rates)
    )
    return Result("m", {}, Verdict("as claimed", ""), Checked((), 0, 0), measure([]), None, rounds)


def test_two_runs_differ_only_beyond_the_noise() -> None:
    """Twice the rate is higher, the same is no difference, and one round each cannot tell."""
    noise = [98.0, 100.0, 101.0, 99.0, 103.0, 100.0]
    twice = [2 * rate for rate in noise]
    told = {
        name: differences([result(first)], [result(second)])[0].meaning
        for name, first, second in [("twice", noise, twice), ("same", noise, noise[::-1]), ("one", [1.0], [2.0])]
    }
    assert told["twice"] == "higher"
    assert told["same"] == "no difference shown"
    assert told["one"].startswith("cannot tell: fewer than 5 rounds")
    assert differences([result(noise)], [replace(result(noise), mode="other")]) == []


def test_two_runs_with_ceilings_are_compared_by_them() -> None:
    """A machine that is half as fast today makes no mode slower."""
    yesterday = result([300.0, 310.0, 290.0, 305.0, 295.0], ceiling=1000.0)
    today = result([150.0, 155.0, 145.0, 152.0, 148.0], ceiling=500.0)
    rate = differences([yesterday], [today])[0]
    assert (rate.figure, rate.meaning) == ("rate to ceiling", "no difference shown")


@given(st.lists(st.integers(1, 10_000_000).map(lambda micros: micros / 1000), max_size=300))
def test_the_percentile_table_is_what_hdrhistogram_would_write(values: list[float]) -> None:
    """Values and counts never fall, percentiles rise to 1, each count is that of the values up to there."""
    ordered = sorted(values)
    rows = [line.split() for line in export.hgrm(ordered).splitlines()[2:] if line and not line.startswith("#")]
    assert bool(rows) == bool(values)
    if rows:
        assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
        assert [float(row[1]) for row in rows] == sorted({float(row[1]) for row in rows})
        assert (float(rows[-1][1]), int(rows[-1][2]), rows[-1][3]) == (1.0, len(values), "inf")
        assert all(int(count) == sum(each <= float(value) for each in ordered) for value, _, count, _ in rows)


def finding(size: float) -> Finding:
    case = Witness(f"a case of size {size:g}", ("a", "b"), size)
    return Finding("lost update", 2, case, case)


def test_findings_of_several_slices_are_added_up() -> None:
    """Times add, the first stays first, the worst is the largest; what cannot be read once cannot be summed."""
    both = pooled({"one": Checked((finding(3),), 5, 1), "two": Checked((finding(9),), 6, 2)})
    (found,) = both.findings
    assert (found.times, found.first.slice, found.worst.slice, both.sold, both.left) == (4, "one", "two", 11, 3)
    for one_store in (False, True):
        assert pooled({"one": Checked((), 5, 1), "two": Checked((), 5, None)}, one_store=one_store).left is None


def test_a_collision_is_told_with_what_the_trace_knows() -> None:
    """Who read which version when, what both wrote, and which tickets have two owners."""
    ann = Operation(
        "buy", "ann", 0, 0, 0, 90_000_000, "done", 201, 2, version=8, tickets=(4, 5), order="o1", worker="70"
    )  # fmt: skip
    bob = replace(ann, name="bob", called=5, order="o2", worker="71")
    trace = [
        Passage("o1", 70, 10_000_000, 80_000_000, 11_000_000, 12_031_000, 7),
        Passage("o2", 71, 10_000_000, 80_000_000, 11_000_000, 14_033_000, 7),
    ]
    case = Witness("ann and bob both made version 8", ("ann", "bob"))
    story = tell("lost update", case, [ann, bob], trace)
    assert story.sentence == (
        "worker 1 read version 7 at 0.012 s, worker 2 read version 7 at 0.014 s, both wrote 8: "
        "tickets 4 and 5 have two owners"
    )
    assert [(lane.name, lane.read_version, lane.version) for lane in story.lanes] == [("ann", 7, 8), ("bob", 7, 8)]
    turned = Witness(case.sentence, ("bob", "ann"))
    assert tell("lost update", turned, [ann, bob], trace).sentence == story.sentence  # who read first comes first
    assert tell("lost update", case, [ann, bob], []).sentence == case.sentence
