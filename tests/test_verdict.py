"""The plan, the measures and the verdict: pure functions, tried on values."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import plan
from loadtest.findings import Checked, Finding, Witness
from loadtest.history import Operation, outcome
from loadtest.measure import Measured, measure, overlaps, percentile
from loadtest.verdict import judge, worst

CLEAN = Checked((), sold=10, left=0)
CASE = Witness("ann and bob both made version 2")
CAUGHT = Checked((Finding("lost update", 3, CASE, CASE),), sold=14, left=0)
BUSY = Measured(20, 0, 100.0, 1.0, 2.0, 3.0, overlapping=20, inside_max=8, workers=4, busiest_share=0.4)
QUIET = replace(BUSY, overlapping=0, inside_max=1)
ONE_SIDED = replace(BUSY, workers=1, busiest_share=1.0)


@pytest.mark.parametrize(
    ("reach", "workers", "checked", "measured", "word"),
    [
        ("processes", 4, CLEAN, BUSY, "as claimed"),
        ("hosts", 4, CLEAN, BUSY, "as claimed"),
        ("processes", 4, CAUGHT, BUSY, "broke its word"),
        ("processes", 4, CAUGHT, QUIET, "broke its word"),
        ("nowhere", 4, CAUGHT, BUSY, "as claimed"),
        ("nowhere", 4, CAUGHT, ONE_SIDED, "as claimed"),
        ("nowhere", 4, CLEAN, BUSY, "broke its word"),
        ("threads", 4, CAUGHT, BUSY, "as claimed"),
        ("threads", 4, CLEAN, BUSY, "broke its word"),
        ("threads", 1, CLEAN, ONE_SIDED, "as claimed"),
        ("threads", 1, CAUGHT, ONE_SIDED, "broke its word"),
        ("processes", 4, CLEAN, QUIET, "could not tell"),
        ("nowhere", 4, CLEAN, QUIET, "could not tell"),
        ("processes", 4, CLEAN, ONE_SIDED, "could not tell"),
        ("processes", 4, CLEAN, replace(BUSY, decided=0, overlapping=0), "could not tell"),
    ],
)
def test_a_mode_is_held_to_its_claim_both_ways(
    reach: str, workers: int, checked: Checked, measured: Measured, word: str
) -> None:
    """Findings speak for themselves; their absence speaks only under contention that several workers shared."""
    assert judge(reach, workers, checked, measured).word == word


def test_a_verdict_says_why() -> None:
    """In a sentence with figures."""
    assert (
        judge("nowhere", 4, CAUGHT, BUSY).why
        == "claims reach nowhere, ran in 4 processes, and was caught: lost update x 3"
    )
    assert "0 of 20 purchases overlapped" in judge("processes", 4, CLEAN, QUIET).why
    assert "one worker answered 100%" in judge("processes", 4, CLEAN, ONE_SIDED).why


def test_the_exit_code_is_that_of_the_worst() -> None:
    """A broken word counts before one that could not be told; no verdict at all is none."""
    assert worst(["as claimed", "as claimed"]) == 0
    assert worst(["as claimed", "could not tell"]) == 2
    assert worst(["could not tell", "broke its word", "as claimed"]) == 1
    assert worst([]) == 2


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(200, "done"), (201, "done"), (409, "refused"), (400, "not done"), (422, "not done"), (503, "not done"),
     (500, "unknown"), (502, "unknown"), (302, "unknown")],
)  # fmt: skip
def test_every_failure_is_definite_or_it_is_not(status: int, meaning: str) -> None:
    """4xx and 503 mean certainly not done; anything unforeseen means unknown."""
    assert outcome(status) == meaning


def test_a_plan_is_a_function_of_its_seed() -> None:
    """The same seed makes the same purchases; another seed others; clients differ from each other."""
    first, again, other = (plan.make("flash-sale", seed, 5.0, quantity_max=5) for seed in (1, 1, 2))

    def asked(scene: plan.Plan, client: int) -> list[int]:
        return [purchase.quantity for purchase in islice(plan.purchases(scene, client), 50)]

    assert asked(first, 3) == asked(again, 3)
    assert asked(first, 3) != asked(other, 3)
    assert asked(first, 3) != asked(first, 4)
    assert set(asked(first, 3)) == {1, 2, 3, 4, 5}


def test_the_blog_shape_is_the_articles_scene() -> None:
    """10 tickets, 20 buyers who look first and then take 1 to 5, or what is left; 0.2 s between read and write."""
    scene = plan.make("blog", 1, 5.0)
    assert (scene.tickets, scene.clients, scene.think_s, scene.look_first) == (10, 20, 0.2, True)
    bought = [list(plan.purchases(scene, client)) for client in range(scene.clients)]
    assert all(len(purchases) == 1 and purchases[0].partial for purchases in bought)
    assert all(1 <= purchases[0].quantity <= 5 for purchases in bought)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_is_a_value_that_occurred(values: list[float], percent: float) -> None:
    """Nearest rank: at least that share of values is not larger, and none smaller would do."""
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-9
    assert sum(value < found for value in values) < max(1, len(values) * percent / 100) + 1e-9


SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=20)


def operation(called: int, returned: int, worker: str = "1") -> Operation:
    return Operation("buy", "o", 0, called, called, returned, "done", 201, 1, worker=worker)


@given(SPANS)
def test_overlaps_are_those_that_comparing_all_with_all_finds(spans: list[tuple[int, int]]) -> None:
    """The sweep and the definition agree."""
    rows = [operation(start, start + length) for start, length in spans]
    expected = sum(
        any(row is not other and row.called < other.returned and other.called < row.returned for other in rows)
        for row in rows
    )
    deepest = max((sum(other.called <= row.called < other.returned for other in rows) for row in rows), default=0)
    assert overlaps(rows) == (expected, deepest)


def test_measures_count_what_was_decided() -> None:
    """Requests a second from the first call to the last reply; latency from the planned moment."""
    rows = [
        replace(operation(0, 10_000_000), planned=0),
        replace(operation(5_000_000, 30_000_000, worker="2"), planned=0, outcome="refused"),
        replace(operation(0, 99_000_000), outcome="unknown"),
        Operation("look", "l", 0, 0, 0, 500_000_000, "done", 200),
    ]
    measured = measure(rows)
    assert (measured.decided, measured.errors, measured.workers) == (2, 1, 2)
    assert measured.requests_per_s == pytest.approx(2 / 0.030)
    assert (measured.p50_ms, measured.p99_ms, measured.longest_ms) == (10.0, 30.0, 30.0)
    assert (measured.overlapping, measured.inside_max, measured.busiest_share) == (2, 2, 0.5)
    assert measure([]).decided == 0
