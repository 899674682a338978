"""The plan, the measures and the verdict: pure functions, tried on values."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import plan
from loadtest.cost import add_up
from loadtest.findings import Checked, Finding, Witness
from loadtest.history import REPLY_LOST, Operation, Passage, outcome
from loadtest.inside import idle_share, look_inside
from loadtest.measure import Measured, Share, measure, overlaps, share
from loadtest.percentiles import percentile
from loadtest.slices import Slice, cut
from loadtest.usage import Usage
from loadtest.verdict import Claimed, Conditions, verdict, worst

CLEAN = Checked((), sold=10, left=0)
ALONE = Conditions()
CASE = Witness("ann and bob both made version 2")
CAUGHT = Checked((Finding("lost update", 3, CASE, CASE),), sold=14, left=0)
TWICE = Checked((Finding("double effect", 1, CASE, CASE),), sold=14, left=0)
BUSY = replace(
    measure([]),
    decided=20,
    overlapping=20,
    contended_sales=8,
    inside_max=8,
    workers=4,
    busiest_share=0.4,
    busiest_host_share=0.4,
    by_client=Share(1.0, 1, 1),
)
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
        ("nowhere", 4, TWICE, BUSY, "as claimed"),
        ("threads", 4, CAUGHT, BUSY, "as claimed"),
        ("threads", 4, CLEAN, BUSY, "broke its word"),
        ("threads", 1, CLEAN, ONE_SIDED, "as claimed"),
        ("threads", 1, CAUGHT, ONE_SIDED, "broke its word"),
        ("processes", 4, CLEAN, QUIET, "could not tell"),
        ("nowhere", 4, CLEAN, QUIET, "could not tell"),
        ("processes", 4, CLEAN, ONE_SIDED, "could not tell"),
        ("processes", 4, CLEAN, replace(BUSY, decided=0, overlapping=0), "could not tell"),
        ("processes", 4, CLEAN, replace(BUSY, overlapping=4), "as claimed"),
        ("processes", 4, CLEAN, replace(BUSY, contended_sales=0), "could not tell"),
        ("nowhere", 4, CLEAN, replace(BUSY, contended_sales=0), "could not tell"),
        ("processes", 4, CLEAN, replace(BUSY, overlapping=3), "could not tell"),
        ("processes", 4, CLEAN, replace(BUSY, busiest_share=0.9), "as claimed"),
        ("processes", 4, CLEAN, replace(BUSY, busiest_share=0.91), "could not tell"),
        ("processes", 4, CLEAN, replace(BUSY, errors=2), "as claimed"),
        ("processes", 4, CLEAN, replace(BUSY, errors=3), "could not tell"),
        ("processes", 4, replace(CLEAN, left=None), BUSY, "could not tell"),
    ],
)
def test_a_mode_is_held_to_its_claim_both_ways(
    reach: str, workers: int, checked: Checked, measured: Measured, word: str
) -> None:
    """Findings speak for themselves; their absence speaks only under contention that several workers shared."""
    assert verdict(Claimed(reach, workers), checked, measured, ALONE).word == word


def test_a_verdict_says_why() -> None:
    """In a sentence with figures."""
    assert (
        verdict(Claimed("nowhere", 4), CAUGHT, BUSY, ALONE).why
        == "promises nothing; in 4 processes it was caught: lost update x 3"
    )
    assert "0 of 20 requests overlapped" in verdict(Claimed("processes", 4), CLEAN, QUIET, ALONE).why
    assert "one worker answered 100%" in verdict(Claimed("processes", 4), CLEAN, ONE_SIDED, ALONE).why


@pytest.mark.parametrize("reach", ["nowhere", "threads", "processes"])
def test_one_thread_of_one_process_proves_nothing(reach: str) -> None:
    """It takes one request after the other, whatever the mode; two threads of it can collide. Findings are found."""
    assert verdict(Claimed(reach, 1, 1), CLEAN, ONE_SIDED, ALONE).word == "could not tell"
    assert verdict(Claimed(reach, 1, 2), CLEAN, ONE_SIDED, ALONE).word != "could not tell"
    assert verdict(Claimed(reach, 2, 1), CLEAN, BUSY, ALONE).word != "could not tell"
    assert verdict(Claimed(reach, 1, 1), CAUGHT, ONE_SIDED, ALONE).word != "could not tell"


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
        return [wish.quantity for wish in islice(plan.wishes(scene, client), 50)]

    assert asked(first, 3) == asked(again, 3)
    assert asked(first, 3) != asked(other, 3)
    assert asked(first, 3) != asked(first, 4)
    assert set(asked(first, 3)) == {1, 2, 3, 4, 5}


def test_the_blog_shape_is_the_articles_scene() -> None:
    """10 tickets, 20 buyers who look first and then take 1 to 5, or what is left; 0.2 s between read and write."""
    scene = plan.make("blog", 1, 5.0)
    assert (scene.tickets, scene.clients, scene.think_s, scene.look_first) == (10, 20, 0.2, True)
    bought = [list(plan.wishes(scene, client)) for client in range(scene.clients)]
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


def stretch(rows: list[Operation], **changes: object) -> Slice:
    """Return a slice of counted purchases."""
    scene = replace(plan.make("blog", 1, 5.0), **changes)  # type: ignore[arg-type]
    return cut(scene, rows, [], None, 1)


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
    measured = measure([stretch(rows)])
    assert (measured.decided, measured.errors, measured.workers) == (2, 1, 2)
    assert measured.requests_per_s == pytest.approx(2 / 0.030)
    assert measured.late_share == 0.0
    assert (measured.p50_ms, measured.p99_ms, measured.longest_ms) == (10.0, 30.0, 30.0)
    assert measured.contended_sales == 1
    assert (measured.overlapping, measured.inside_max, measured.busiest_share) == (2, 2, 0.5)
    assert measure([]).decided == 0


def test_an_open_loop_that_could_not_keep_up_gives_no_verdict() -> None:
    """What was sent late was not the load that was planned; a closed loop plans nothing ahead."""
    late = replace(BUSY, late_share=0.2)
    assert verdict(Claimed("processes", 4), CLEAN, late, Conditions(open_loop=True)).word == "could not tell"
    assert verdict(Claimed("processes", 4), CLEAN, late, ALONE).word == "as claimed"
    assert verdict(Claimed("processes", 4), CAUGHT, late, Conditions(open_loop=True)).word == "broke its word"


def test_latency_runs_from_the_planned_moment() -> None:
    """A stall is charged to everyone who would have come meanwhile, and what was sent late is counted."""
    rows = [replace(operation(900_000_000, 1_000_000_000), planned=moment * 100_000_000) for moment in range(9)]
    measured = measure([stretch(rows)])
    assert measured.longest_ms == 1000.0
    assert measured.p50_ms == 600.0
    assert measured.late_share == 1.0


@given(rate=st.floats(1, 500), clients=st.integers(1, 20), seconds=st.floats(0.5, 3))
def test_constant_arrivals_are_evenly_spaced_and_shared_out(rate: float, clients: int, seconds: float) -> None:
    """All clients together ask every 1/rate seconds up to the end; latency is counted from these moments."""
    scene = plan.make("flash-sale", 1, seconds, rate=rate, clients=clients)
    moments = sorted(each.planned or 0 for client in range(clients) for each in plan.wishes(scene, client))
    assert abs(len(moments) - rate * seconds) <= 1
    assert all(abs(after - before - 1e9 / rate) < 10 for before, after in pairwise(moments))


def test_poisson_arrivals_have_the_rate_and_are_no_clock() -> None:
    """Exponential gaps: their mean is 1/rate, and their deviation too; the same seed gives the same moments."""
    scene = plan.make("flash-sale", 7, 100.0, rate=100.0, arrivals="poisson")
    moments = sorted(each.planned or 0 for client in range(16) for each in plan.wishes(scene, client))
    gaps = [(after - before) / 1e9 for before, after in pairwise(moments)]
    assert fmean(gaps) == pytest.approx(0.01, rel=0.05)
    assert stdev(gaps) == pytest.approx(0.01, rel=0.1)
    again = plan.make("flash-sale", 7, 100.0, rate=100.0, arrivals="poisson")
    assert [each.planned for each in plan.wishes(again, 3)] == [each.planned for each in plan.wishes(scene, 3)]


def test_fairness_is_jains_index() -> None:
    """1 where all got alike, 1/n where one had all."""
    assert share([5, 5, 5, 5]) == Share(1.0, 5, 5)
    assert share([8, 0, 0, 0]) == Share(0.25, 0, 8)
    assert share([]) == Share(1.0, 0, 0)


def test_idle_is_the_time_in_which_somebody_waits_and_nobody_is_inside() -> None:
    """The first waits from 5 to 10, with nobody inside; the second from 15 to 25, the last 5 with nobody inside."""
    first = Passage("a", 1, asked=5, left=20, entered=10, read=11, version=0)
    second = Passage("b", 2, asked=15, left=30, entered=25, read=26, version=1)
    assert idle_share([first, second]) == pytest.approx((5 + 5) / (5 + 10))
    assert idle_share([first]) == 1.0
    assert idle_share([]) == 0.0


def test_what_others_can_have_caused_is_no_broken_word_where_others_can_buy() -> None:
    """A missing version at a live service may be a stranger's purchase; a double sale is proof by itself."""
    stranger = Checked((Finding("missing version", 2, CASE, CASE),), sold=4, left=0)
    for reach in ("processes", "nowhere"):
        assert verdict(Claimed(reach, 4), stranger, BUSY, Conditions(alone=False)).word == "could not tell"
    assert verdict(Claimed("processes", 4), stranger, BUSY, ALONE).word == "broke its word"
    assert verdict(Claimed("nowhere", 4), stranger, BUSY, ALONE).word == "could not tell"
    assert verdict(Claimed("processes", 4), CAUGHT, BUSY, Conditions(alone=False)).word == "broke its word"


def test_a_slice_that_did_not_end_well_leaves_doubt_but_outvotes_nothing() -> None:
    """What was found stays found."""
    broken = Conditions(failures=("round-2/m: interrupted before it was over",))
    assert verdict(Claimed("processes", 4), CAUGHT, BUSY, broken).word == "broke its word"
    assert verdict(Claimed("nowhere", 4), CAUGHT, BUSY, broken).word == "as claimed"
    told = verdict(Claimed("processes", 4), CLEAN, BUSY, broken)
    assert (told.word, told.why) == ("could not tell", "round-2/m: interrupted before it was over")


def test_a_service_that_does_not_name_its_workers_gives_no_verdict() -> None:
    """Unless it has one worker only."""
    unnamed = replace(BUSY, workers=0, busiest_share=1.0)
    told = verdict(Claimed("processes", 4), CLEAN, unnamed, ALONE)
    assert told.word == "could not tell"
    assert "--harness true" in told.why
    assert verdict(Claimed("processes", 1), CLEAN, unnamed, ALONE).word == "as claimed"
    rows = [operation(0, 10, worker=""), operation(5, 20, worker="")]
    assert (measure([stretch(rows)]).workers, measure([stretch(rows)]).by_worker) == (0, None)


def test_the_window_begins_after_the_warm_up_and_ends_with_the_last_ticket() -> None:
    """Rates count what came back in the window; what was planned before it or after the first refusal is left out."""
    scene = replace(plan.make("flash-sale", 1, 10.0), warmup_s=1.0)
    rows = [replace(operation(moment * 10**9, moment * 10**9 + 10**8), planned=moment * 10**9) for moment in range(9)]
    whole = cut(scene, rows, [], None, 2)
    assert (whole.seconds, whole.returned, len(whole.operations), whole.sales) == (9.0, 8, 8, 9)
    refused = replace(rows[5], outcome="refused")
    short = cut(scene, [*rows[:5], refused, *rows[6:]], [], None, 2)
    assert short.seconds == pytest.approx(4.1)
    early = [replace(rows[0], returned=10**8), replace(operation(2 * 10**8, 3 * 10**8), planned=10**8), *rows[1:]]
    early[1] = replace(early[1], outcome="refused")
    assert cut(scene, early, [], None, 2).seconds == pytest.approx(0.3)
    assert (short.returned, len(short.operations), short.sales) == (5, 5, 8)
    passages = [Passage(str(moment), 1, asked=moment * 10**9, left=moment * 10**9 + 1) for moment in range(9)]
    assert len(cut(scene, rows, passages, None, 2).passages) == 8


def test_where_tickets_come_back_a_refusal_ends_nothing() -> None:
    """The window goes on to its end."""
    scene = replace(plan.make("holds", 1, 10.0), warmup_s=0.0)
    rows = [replace(operation(moment * 10**9, moment * 10**9 + 10**8), planned=moment * 10**9) for moment in range(9)]
    rows[2] = replace(rows[2], kind="hold", outcome="refused")
    rows[3] = replace(rows[3], kind="confirm")
    rows[4] = replace(rows[4], kind="cancel")
    whole = cut(scene, rows, [], None, 2)
    assert (whole.seconds, whole.returned, len(whole.operations)) == (10.0, 9, 9)


def test_attempts_with_one_key_are_one_request() -> None:
    """It was planned when the first was, is answered when the last is, and no lost reply is an error."""
    lost = replace(operation(10, 20), name="a", key="k", outcome="unknown", problem=REPLY_LOST)
    told = replace(operation(25, 30), name="a try 2", key="k", planned=20)
    measured = measure([stretch([lost, told, replace(operation(40, 50), name="b")])])
    assert (measured.decided, measured.errors) == (2, 0)
    assert measured.longest_ms == 20 / 1e6
    assert measure([stretch([lost])]).errors == 1


def test_those_who_got_nothing_count_for_fairness() -> None:
    """One of four clients had all: a quarter; and the least is nothing."""
    measured = measure([stretch([operation(0, 5), operation(3, 9)], clients=4)])
    assert measured.by_client == Share(0.25, 0, 2)


def test_what_was_never_sent_is_late_and_an_error() -> None:
    """An open loop that gave up says by how much."""
    unsent = replace(operation(10, 10), outcome="not done", problem="not sent")
    measured = measure([stretch([operation(0, 5), unsent])])
    assert (measured.errors, measured.late_share) == (1, 0.5)


def usage(clients: tuple[float, ...], machine: float = 10.0, service: float | None = 4.0) -> Usage:
    return Usage(elapsed_s=10.0, cpus=2, machine_s=machine, service_s=service, clients_s=clients)


def test_processor_time_is_shared_out() -> None:
    """Of 20 processor seconds in 10 s on two: 4 the service, 3 the clients, 3 others; 40 ms for each of 100 sales."""
    cost = add_up([usage((1.0, 2.0))], 100)
    assert cost is not None
    assert (cost.cpu_ms_per_sale, cost.client_share, cost.service_share) == (40.0, 0.15, 0.2)
    assert cost.other_cores == pytest.approx(0.3)
    assert (cost.quiet, cost.bottleneck, cost.crowded) == (False, False, False)
    elsewhere = add_up([usage((1.0,), service=None)], 100)
    assert elsewhere is not None
    assert (elsewhere.cpu_ms_per_sale, elsewhere.service_share, elsewhere.quiet) == (None, None, None)
    assert add_up([], 5) is None


@pytest.mark.parametrize(
    ("clients", "machine", "quiet", "bottleneck", "crowded"),
    [
        ((8.4, 1.0), 14.0, True, False, False),
        ((8.6, 1.0), 14.0, True, True, False),
        ((3.0, 3.1), 19.5, False, False, True),
        ((2.9, 3.0), 19.5, False, False, False),
        ((3.0, 3.1), 11.0, True, False, False),
    ],
)
def test_a_load_generator_that_is_the_limit_says_so(
    clients: tuple[float, ...], machine: float, *, quiet: bool, bottleneck: bool, crowded: bool
) -> None:
    """One process above 0.85 of a processor, or a full machine of which it took more than 0.3."""
    cost = add_up([usage(clients, machine), usage(clients, machine)], 1)
    assert cost is not None
    assert (cost.quiet, cost.bottleneck, cost.crowded) == (quiet, bottleneck, crowded)


def test_an_orders_time_is_split() -> None:
    """Waiting until it is let in, inside until it has left, and all the rest of its call; in vain counts as waiting."""
    passages = [
        Passage("a", 1, asked=2_000_000, left=9_000_000, entered=5_000_000, read=6_000_000, version=0),
        Passage("b", 1, asked=2_000_000, left=40_000_000),
    ]
    row = replace(operation(1_000_000, 12_000_000), planned=0, order="a")
    looked = look_inside([replace(stretch([row]), passages=passages)])
    assert looked is not None
    assert (looked.wait_ms, looked.hold_ms, looked.queue_ms, looked.longest_wait_ms) == (3.0, 4.0, 4.0, 38.0)
    assert look_inside([stretch([row])]) is None


def test_idle_is_averaged_over_slices() -> None:
    """One that was idle all the time and one that never was."""
    idle = Passage("a", 1, asked=0, left=20, entered=10, read=11, version=0)
    busy = [Passage("a", 1, 0, 20, 0, 1, 0), Passage("b", 1, 5, 30, 20, 21, 1)]
    looked = look_inside([replace(stretch([]), passages=[idle]), replace(stretch([]), passages=busy)])
    assert looked is not None
    assert looked.idle_share == pytest.approx(0.5)
