"""A run is judged from its folder: what stands there, and when it happened."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from loadtest import history, plan, session
from loadtest.check import Start
from loadtest.history import Operation
from loadtest.judge import judge
from loadtest.mishaps import Stretch

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
TICKETS = 100
CLAIM = {"name": "file_lock", "workers": 2, "claim": {"reach": "processes", "survives": ["killed holder"]}}


def bought(version: int, at_s: float, *, buyer: int, number: int) -> Operation:
    """Return a purchase of the ticket of that number, together with whoever makes the same version."""
    times = (int(at_s * S), int(at_s * S), int((at_s + 0.2) * S))
    row = Operation("buy", f"client {buyer} order {version}", buyer, *times, "done", 201, 1)
    told = replace(row, version=version, count=TICKETS - version, tickets=(number,))
    return replace(told, order=f"{buyer}-{version}", worker=str(70 + buyer))


def left(run: Path, operations: list[Operation], faults: list[Stretch], number: int = 1) -> Path:
    """Leave a run of one slice, or one more round of it."""
    place = run / f"round-{number}" / "file_lock"
    place.mkdir(parents=True)
    scene = replace(plan.make("flash-sale", 1, 30.0, tickets=TICKETS), warmup_s=0.0)
    last = max((row.version or 0) for row in operations)
    look = Operation("look", "the last look", -1, 40 * S, 40 * S, 41 * S, "done", 200)
    look = replace(look, version=last, count=TICKETS - last)
    for name, value in (
        ("plan", asdict(scene)), ("mode", CLAIM), ("start", asdict(Start(TICKETS, TICKETS))),
        ("faults", [asdict(each) for each in faults]),
    ):  # fmt: skip
        (place / f"{name}.json").write_text(json.dumps(value))
    (place / "service.log").touch()
    history.save(place / "history.jsonl", operations)
    history.save(place / "last.jsonl", [look])
    return run


PAUSED = Stretch("worker 70 paused", 11 * S, 16 * S, "paused holder", met=True)


def sold_twice(at_s: float, still_s: float = 0.0) -> list[Operation]:
    """Return a purchase a second, and of one ticket a second one. After 10 s nobody is served for ``still_s``."""
    rows = []
    for version in range(1, 30):
        moment = version + still_s * (version > 10)
        buyers = (0, 1) if moment == at_s else (0,)
        rows += [bought(version, moment, buyer=buyer, number=version) for buyer in buyers]
    return rows


@pytest.mark.parametrize(("twice_at_s", "word"), [(2.0, "broke its word"), (12.0, "as claimed")])
def test_a_pause_excuses_nothing_that_was_over_before_it(tmp_path: Path, twice_at_s: float, word: str) -> None:
    """Two buyers have one ticket: while a holder is paused that may come of it, before that the lock is none."""
    (result,), _ = judge(left(tmp_path, sold_twice(twice_at_s), [PAUSED]))
    assert (result.verdict.word, "double sale x 1" in result.verdict.why) == (word, True), result.verdict


LOOK = Stretch("worker 70 stopped for a look", 9 * S, 10 * S)
STOPPED = Stretch("the service killed", 5 * S, 6 * S, "killed service", met=True)


@pytest.mark.parametrize(
    ("twice_at_s", "faults", "word"),
    [
        (7.0, [STOPPED, PAUSED], "broke its word"),
        (12.0, [STOPPED, PAUSED], "as claimed"),
        (9.0, [LOOK, PAUSED], "as claimed"),  # whoever was stopped for a look may have had the lock
        (7.0, [LOOK, PAUSED], "broke its word"),
        (12.0, [replace(PAUSED, met=False)], "broke its word"),  # and, with no trace, there was no holder
        (12.0, [replace(PAUSED, victim="70", mishap=None)], "could not tell"),  # taken back: the scene was over
        (12.0, [STOPPED], "broke its word"),
        (12.0, [LOOK, replace(STOPPED, from_ns=11 * S, to_ns=12 * S)], "broke its word"),
    ],
)
def test_a_pause_excuses_what_came_after_its_holder_was_hunted_for(
    tmp_path: Path, twice_at_s: float, faults: list[Stretch], word: str
) -> None:
    """Another fault excuses nothing, before it or after it."""
    (result,), _ = judge(left(tmp_path, sold_twice(twice_at_s), faults))
    assert (result.verdict.word, "double sale x 1" in result.verdict.why) == (word, True), result.verdict


def test_each_pause_is_looked_at_by_itself(tmp_path: Path) -> None:
    """That the others stood still in the first round denies the second nothing, and is no excuse in its own."""
    waiting = replace(bought(99, 12.0, buyer=2, number=99), returned=18 * S, outcome="not done", version=None)
    left(tmp_path, [*sold_twice(0.0, 8.0), waiting], [PAUSED], 1)
    left(tmp_path, sold_twice(12.0), [PAUSED], 2)
    (result,), _ = judge(tmp_path)
    assert result.mishaps[0].stuck
    assert result.verdict.word == "as claimed", result.verdict
    left(tmp_path, [*sold_twice(28.0, 8.0), waiting], [PAUSED], 3)
    (result,), _ = judge(tmp_path)
    assert result.verdict.word == "broke its word", result.verdict


@pytest.mark.parametrize(("alone", "remain"), [(True, 2 * (TICKETS - 29)), (False, TICKETS - 29)])
def test_what_is_left_is_summed_only_where_each_round_had_a_store_of_its_own(
    tmp_path: Path,
    alone: bool,  # noqa: FBT001  # a table's column
    remain: int,
) -> None:
    """Rounds against a service that was running already sell from one store: what the last left is left."""
    rows = [bought(version, float(version), buyer=0, number=version) for version in range(1, 30)]
    for number in (1, 2):
        left(tmp_path, rows, [], number)
    if not alone:
        for log in tmp_path.rglob("service.log"):
            log.unlink()
    (result,), _ = judge(tmp_path)
    assert result.checked is not None
    assert (result.checked.sold, result.checked.left) == (2 * 29, remain)


def test_a_run_is_told_by_its_own_folder_and_warnings_are_no_verdicts(tmp_path: Path) -> None:
    """Where a link led to it, which leads elsewhere after the next run."""
    rows = [bought(version, float(version), buyer=version % 2, number=version) for version in range(1, 30)]
    run = left(tmp_path / "runs" / "1", rows, [])
    (run / "run.json").write_text("{}")
    ceiling = run / "round-1" / "ceiling"
    ceiling.mkdir()
    (ceiling / "plan.json").write_text((run / "round-1" / "file_lock" / "plan.json").read_text())
    (ceiling / "failure.txt").write_text("it broke off")
    (tmp_path / "runs" / "latest").symlink_to("1")
    console = session.Speaker(record=True, width=200)
    session.finish(tmp_path / "runs" / "latest", (), console)
    told = console.export_text()
    assert f"report: {run / 'report.html'}" in told
    assert "\nwarning: round-1/ceiling: it broke off, so this round has no ratio" in told
