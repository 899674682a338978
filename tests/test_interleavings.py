"""Every order of steps: what the modes promise holds in each, and what they do not promise is broken in so many."""

from __future__ import annotations

import itertools
import math
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner

from service.catalogue import CLAIMS
from tests.interleavings import QUICK, counted, main, row, story
from tests.stage import BUILDS, TORN, TWICE, Scene, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.interleavings import Counted

    Count = Callable[[Scene], Counted]

REACHES = ("nowhere", "threads", "processes", "hosts")
DOCUMENT = Path(__file__).parent.parent / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module")
def count(stage: Stage) -> Count:
    """Count the runs of a scene, once for all tests."""
    return cache(partial(counted, stage))


def name_of(scene: Scene) -> str:
    bound = "" if scene.switches_max is None else f", {scene.switches_max} interruptions"
    return f"{scene.mode}, {scene.apart}{', one dies' if scene.deaths_max else ''}{bound}"


@pytest.mark.parametrize("scene", QUICK, ids=name_of)
def test_a_promise_holds_in_every_interleaving_exactly_where_the_claim_reaches(count: Count, scene: Scene) -> None:
    """Beyond it, tickets are sold twice; who dies inside blocks the others exactly where the claim leaves it out. The
    figures are those of the document.
    """
    found = count(scene)
    claim = CLAIMS[scene.mode]
    keeps_apart = REACHES.index(claim.reach) >= REACHES.index(scene.apart)
    assert (found.wrong == 0) is keeps_apart
    assert (found.by[TWICE] == 0) is keeps_apart
    assert (found.blocked > 0) is (scene.deaths_max > 0 and "killed holder" not in claim.survives)
    assert row(found) in DOCUMENT.read_text()


def test_every_mode_is_interleaved_but_for_the_one_that_has_a_single_writer() -> None:
    """With a file store: engines have servers whose steps are not ours."""
    files = {name for name in CLAIMS if not name.startswith(("sqlite", "postgres", "redis", "etcd"))}
    assert BUILDS.keys() == files - {"single_writer"}
    assert {scene.mode for scene in QUICK} == BUILDS.keys()


class Way(NamedTuple):
    """An order of the steps of A and B, by who takes the next one."""

    whose: tuple[int, ...]

    def at(self, who: int, step: int) -> int:
        """Return when somebody takes a step."""
        return [place for place, each in enumerate(self.whose) if each == who][step]


def ways(steps: int) -> list[Way]:
    """Return all orders of twice ``steps`` steps."""
    places = itertools.combinations(range(2 * steps), steps)
    return [Way(tuple(int(place not in first) for place in range(2 * steps))) for first in map(set, places)]


@pytest.mark.parametrize(("mode", "steps", "read", "line"), [("no_lock", 4, 0, 2), ("thread_lock", 6, 1, 3)])
def test_the_number_of_double_sales_is_that_of_a_count_without_the_service(
    count: Count, mode: str, steps: int, read: int, line: int
) -> None:
    """Both sell the same ticket exactly when each reads before the other's line is written."""
    all_ways = ways(steps)
    assert len(all_ways) == math.comb(2 * steps, steps)
    broken = [way for way in all_ways if way.at(0, read) < way.at(1, line) and way.at(1, read) < way.at(0, line)]
    found = count(Scene(mode))
    assert (found.runs, found.by[TWICE]) == (len(all_ways), len(broken))


def test_the_number_for_no_lock_is_that_of_a_formula() -> None:
    """Of n steps with the line as the k-th: all orders, but for those where one writes before the other reads."""
    n, k = 4, 3
    apart = math.comb(n - k + n, n)  # the first k of one, then its rest among all of the other
    assert math.comb(2 * n, n) - 2 * apart == 60


def naively(choose: Callable[[int], int]) -> tuple[str, ...]:
    """Let two buyers of ``naive`` go on as chosen, in a world of three variables. Return what is wrong."""
    world = {"line": 0, "empty": 0}
    seen, found = [0, 0], ["", ""]

    def buyer(me: int) -> Iterator[None]:
        for _ in ("look", "read"):
            yield
            if world["empty"]:
                found[me] = "torn"
                return
        seen[me] = world["line"]
        yield  # decide
        yield
        world["line"] = seen[me] + 1
        yield
        world["empty"] += 1
        yield
        world["empty"] = 0

    buyers = [buyer(0), buyer(1)]
    for each in buyers:
        next(each)
    while buyers:
        chosen = buyers[choose(len(buyers))]
        if next(chosen, chosen) is chosen:
            buyers.remove(chosen)
    return ("torn",) * found.count("torn") + (("twice",) if not any(found) and seen[0] == seen[1] else ())


def all_of(run: Callable[[Callable[[int], int]], tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return what comes of a run for every row of choices."""
    found, rows = [], [[]]  # type: list[tuple[str, ...]], list[list[int]]
    while rows:
        row, taken = rows.pop(), []  # type: list[int], list[int]

        def choose(width: int, row: list[int] = row, taken: list[int] = taken) -> int:
            if len(taken) == len(row):
                rows.extend([*taken, other] for other in range(1, width))
                row.append(0)
            taken.append(row[len(taken)])
            return taken[-1]

        found.append(run(choose))
    return found


def test_the_numbers_for_naive_are_those_of_a_world_of_three_variables(count: Count) -> None:
    """Tickets sold twice, and half a file read: counted by a simulation that shares nothing with the service."""
    expected = all_of(naively)
    found = count(Scene("naive"))
    assert found.runs == len(expected)
    assert found.by[TWICE] == sum("twice" in wrong for wrong in expected)
    assert found.by[TORN] == sum("torn" in wrong for wrong in expected)


def test_a_run_is_told_again_by_its_number() -> None:
    """The same steps each time; the shortest one as a story; a number that is not there is said to be none."""
    told = CliRunner().invoke(main, ["no_lock"], catch_exceptions=False).output
    assert "| `no_lock` | 2 | each a process | no | all | 70 | 60 | 60 | 0 | 0 |" in told
    assert (
        "the shortest wrong run is number 6: A reads and decides; B reads, decides, writes the line and writes the "
        "document; A writes the line and writes the document: ticket 1 is that of A and B, version 1 is that of A and "
        "B.\n"
    ) in told
    steps = CliRunner().invoke(main, ["no_lock", "--replay", "6"], catch_exceptions=False).output
    assert steps == CliRunner().invoke(main, ["no_lock", "--replay", "6"]).output
    assert steps.splitlines()[4:6] == ["  5 B writes the line", "  6 B writes the document"]
    assert steps.endswith("ticket 1 is that of A and B, version 1 is that of A and B\n")
    assert "there are only 70 runs" in CliRunner().invoke(main, ["no_lock", "--replay", "71"]).output


def test_the_document_has_the_shortest_stories(count: Count) -> None:
    """Of a mode that promises nothing, as it is found now."""
    found = count(Scene("no_lock"))
    assert found.shortest is not None
    assert f"- `no_lock`, number {found.shortest.number}: {story(found.shortest)}" in DOCUMENT.read_text()
