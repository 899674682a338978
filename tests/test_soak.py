"""A soak: what a service uses is looked at, what grows without bound is found, and nothing else is."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from itertools import islice
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import folder, gauges, growth, schedule, serve, usages
from loadtest.drive import Progress
from loadtest.growth import Process, Sample, growths, used
from loadtest.timelines import Stretch
from tests import reliability, soak_row
from tests.processes import alive_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.schedule import Step

S = 1_000_000_000
MB = 1_000_000
FILES = {"*.json": (1, 400), "*.jsonl": (1, 4 * MB), "*.N.jsonl": (0, 0)}


def watched(
    seconds: int = 120, *, memory: Callable[[int], float] = lambda _: 50 * MB,
    descriptors: Callable[[int], float] = lambda _: 40, tmp: Callable[[int], float] = lambda _: 0,
    kept: Callable[[int], float] = lambda second: 250_000 * second, born: Callable[[int], int] = lambda _: 7,
) -> list[Sample]:  # fmt: skip
    """Return what is seen, second by second, of a worker at 1,000 calls a second; it does not sit quite still."""
    chance = random.Random(1)
    seen = []
    for second in range(1, seconds + 1):
        noise = chance.uniform(-1, 1)
        worker = Process(
            11, born(second), "worker", int(memory(second) + noise * MB), int(descriptors(second) + 3 * noise), 9
        )
        files = FILES | {"*.tmp": (int(tmp(second)), 0), "*.N.jsonl": (second // 16, int(kept(second)))}
        seen.append(Sample(second * S, 1000 * second, (Process(1, 7, "master", 30 * MB, 12, 2), worker), files))
    return seen


def test_what_comes_and_goes_does_not_grow() -> None:
    """Noise, a warm-up, what is known of a journal until the next one, what rises once, and what is kept by design."""
    for calm in (
        watched(),
        watched(memory=lambda second: 50 * MB + 12 * MB * (second % 16) / 16),
        watched(memory=lambda second: 90 * MB - 60 * MB / second, descriptors=lambda second: min(2 * second, 60)),
        watched(300, descriptors=lambda second: 40 + 48 * (second > 150)),
        watched(memory=lambda second: 50 * MB + 400 * MB * (second == 77)),
    ):
        assert growths(calm) == []
        told = used(calm)
        assert told is not None
        assert (told.judged, told.workers, told.growths) == (1, 1, ())
        assert told.kept_bytes_a_call == pytest.approx(250, rel=0.05)


@pytest.mark.parametrize(
    ("leak", "said"),
    [
        (watched(memory=lambda second: (50 + second / 2) * MB), "the memory of a process (worker) grew from "),
        (watched(descriptors=lambda second: 40 + 2 * second), "the descriptors of a process (worker) grew from "),
        (watched(tmp=lambda second: second / 3), "the number of files grew from "),
        (watched(kept=lambda second: 3_000_000 * second), "the bytes that are kept (2,000 a call at most) grew from "),
    ],
)
def test_what_grows_is_found_and_told_once(leak: list[Sample], said: str) -> None:
    """A few kilobytes a call are seen, in what is noise beside them; and nothing else is said to grow."""
    (growing,) = growths(leak)
    assert growing.sentence().startswith(said)
    assert growing.sentence().endswith(" s, and was still growing")


def test_a_process_that_was_started_again_begins_anew() -> None:
    """It is judged by its age: what grew in each of many short lives, a little, is no growth of the service."""
    lives = watched(memory=lambda second: (50 + second % 20 / 2) * MB, born=lambda second: second // 20)
    assert growths(lives) == []
    told = used(lives)
    assert told is not None
    assert told.workers == 7
    assert used(watched(growth.SAMPLES_MIN - 1)) is None
    assert growths(watched(30, memory=lambda second: second * 10 * MB)) == []
    leaking = watched(240, memory=lambda second: (50 + second % 120) * MB, born=lambda second: second // 120)
    assert [growing.what for growing in growths(leaking)] == ["memory of a process (worker)"] * 2


def test_a_kind_of_file_is_a_kind_however_many_there_are() -> None:
    """Names of events and numbers are not what is counted."""
    assert gauges.kind_of("default.jsonl") == gauges.kind_of("concert-7.jsonl") == "*.jsonl"
    assert gauges.kind_of("default.00000000000000019204.jsonl") == "*.N.jsonl"
    assert gauges.kind_of("orders.sqlite-wal") == "*.sqlite-wal"


@pytest.mark.usefixtures("often")
def test_a_look_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what grew after it would never be seen."""

    def failing(_: Path) -> dict[str, tuple[int, int]]:
        failed.set()
        raise ValueError("no look")

    failed = threading.Event()
    monkeypatch.setattr(gauges, "_files", failing)
    with pytest.raises(gauges.Unread, match="could not be read until the end"), gauges.read((), tmp_path, (), print):
        assert failed.wait(60)


def test_faults_come_again_in_another_order_and_all_of_them() -> None:
    """The same seed makes the same schedule, and each round has every fault once."""
    kinds: tuple[schedule.Kind, ...] = ("kill", "pause", "stop", "restart")

    def rough(seed: int) -> list[Step]:
        return list(islice(schedule.until_the_end(kinds, seed, 1, 600.0)[0].steps, 50))

    steps = rough(1)
    assert steps == rough(1) != rough(2)
    rounds = [tuple(step.mishap for step in steps[first : first + 5]) for first in range(0, 50, 5)]
    assert {frozenset(each) for each in rounds} == {frozenset(rounds[0])}
    assert len(set(rounds)) > 3


def test_processes_live_through_most_of_a_soak() -> None:
    """In its second part nothing is ended, so that a leak has the time to show; and each fault is calm before it."""
    rough, calm = schedule.until_the_end(schedule.KINDS, 1, 1, 600.0)
    assert [rough.until_s, calm.until_s] == pytest.approx([200, 600])
    later = list(islice(calm.steps, 50))
    assert {step.mishap for step in later} == {"paused holder", "full disk", "slow disk"}
    assert min(step.lead_s for step in later) > 30
    assert list(schedule.until_the_end(("kill", "stop"), 1, 1, 600.0)[1].steps) == []


SHORT_S, LEFT_S = 25, 400
"""The service is started again so often in the first third of ten minutes, and then lives for the rest of them."""


def soaked(mb_a_minute: float, short_s: int = SHORT_S, left_s: int = LEFT_S) -> list[Sample]:
    """Return what is seen of a soak whose workers leak so much, with lives as the schedule makes them."""
    first = 600 - left_s

    def born(second: int) -> int:
        return second // short_s * short_s if second < first else first

    return watched(
        600,
        memory=lambda second: 36 * MB + mb_a_minute / 60 * (second - born(second)) * MB,
        born=lambda at: born(at) + 7,
    )


def smallest(seen: list[Sample]) -> float:
    """Return the smallest leak that would have been seen."""
    told = used(seen)
    assert told is not None
    assert told.leak_mb_a_minute is not None
    return told.leak_mb_a_minute


def test_a_soak_says_which_leak_it_would_have_seen() -> None:
    """It is the one from which on it is found; the leak that was there once, of 7.7 MB a minute, is above it."""
    leak = smallest(soaked(0))
    assert leak == pytest.approx(60 * 16 / (LEFT_S - 60), abs=0.4)
    assert growths(soaked(leak + 0.5))
    assert not growths(soaked(leak - 0.5))
    assert [growing.what for growing in growths(soaked(7.7))] == ["memory of a process (worker)"]
    assert smallest(soaked(0, short_s=80, left_s=80)) > 12  # started again every 80 s until the end
    assert not growths(soaked(7.7, short_s=80, left_s=80))
    unseen = used(soaked(0, short_s=20, left_s=20))
    assert unseen is not None
    assert (unseen.judged, unseen.leak_mb_a_minute) == (0, None)


LOOKS_MIN, ORDERS_MIN, ORDERS_MAX = 40, 200, 50_000


def sold(here: Path, program: str, mode: str) -> tuple[Sample, ...]:
    """Sell for a while, and return what was seen meanwhile."""
    (here / "data").mkdir()
    (here / "data" / "default.json").write_text(json.dumps({"count": ORDERS_MAX}))
    with (
        serve.service(here, {"mode": mode, "workers": 1, "threads": 4}, program) as service,
        gauges.read([service], here, (), lambda _: None) as progress,
        requests.Session() as http,
    ):
        http.trust_env = False
        for number in range(ORDERS_MAX):
            assert http.post(f"{service.url}/buy", json={"quantity": 1}).status_code == 201
            progress(Progress(number, 0))
            if number >= ORDERS_MIN and len(gauges.load(here / gauges.FILE)) >= LOOKS_MIN:
                break
    return gauges.load(here / gauges.FILE)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "EVERY_S", 0.05)
    monkeypatch.setattr(growth, "LIFE_S_MIN", 0.5)


@pytest.mark.usefixtures("often")
def test_planted_leaks_are_found_in_a_service_that_runs(tmp_path: Path) -> None:
    """Memory, descriptors and temporary files, each by itself, and in the process that has them."""
    found = growths(sold(tmp_path, "tests.leaky_program", "leaky"))
    assert {growing.what for growing in found} == {
        "memory of a process (worker)", "descriptors of a process (worker)", "number of files",
    }  # fmt: skip
    assert alive_in(tmp_path) == []


@pytest.mark.usefixtures("often")
def test_a_service_that_leaks_nothing_is_not_said_to(tmp_path: Path) -> None:
    """The same orders, of the same lock; and its pictures can be drawn."""
    seen = sold(tmp_path, "service", "file_lock")
    assert growths(seen) == []
    told = used(seen)
    assert told is not None
    assert 0 < told.judged <= told.workers
    assert 50 < told.kept_bytes_a_call < growth.KEPT_BYTES_A_CALL_MAX
    time = Stretch(seen[0].at_ns, (seen[-1].at_ns - seen[0].at_ns) / 1e9)
    for what in usages.KINDS:
        assert usages.drawn(what, "s1", what, seen, time).count('<path class="line') == (
            1 if what == "files" else len({process.pid for sample in seen for process in sample.processes})
        )


TRIES_MAX = 3
SOON = (
    "from loadtest import __main__ as program, gauges, growth; growth.LIFE_S_MIN, gauges.EVERY_S = 3.0, 0.2;"
    "program.main()"
)


def test_a_soak_prints_its_verdict_and_what_was_used(tmp_path: Path) -> None:
    """Everything is asked for, nothing is wrong, and what grows makes a run that is not green."""
    words = "compare --soak --modes group_commit --seconds 8 --workers 2 --no-trace --quiet"
    command = [sys.executable, "-c", SOON, *words.split()]
    for _ in range(TRIES_MAX):
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        if ended.returncode != 2:  # on a busy machine one worker may answer nearly all: then nobody can tell
            break
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "group_commit used, when it was warm and at the end: " in ended.stdout
    leak = re.search(r"a leak of ([0-9.]+) MB a minute in each, or more, would have been seen", ended.stdout)
    assert leak is not None
    head, _, row = soak_row.table(tmp_path / "runs" / "latest").splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert cells["smallest leak of a worker that would be seen, MB a minute"] == leak[1]
    assert f"\n{head}\n" in reliability.PAGE.read_text()  # the page has the table as it is made
    place = tmp_path / "runs" / "latest" / "round-1" / "group_commit"
    recorded = folder.load_slice(place)
    kinds = {(row.kind, row.outcome) for row in recorded.operations}
    assert {(kind, "done") for kind in ("buy", "hold", "confirm", "cancel", "look", "find")} <= kinds
    assert recorded.plan.shape == "mixed"
    assert 'id="usage"' in (tmp_path / "runs" / "latest" / "report.html").read_text()
    grown = [replace(each, files={"*.tmp": (number, 0)}) for number, each in enumerate(recorded.samples * 9)]
    rows = [replace(each, at_ns=number * S) for number, each in enumerate(grown)]
    (place / gauges.FILE).write_text("".join(f"{json.dumps(asdict(row))}\n" for row in rows))
    command = [sys.executable, "-c", SOON, "check"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "it was caught: grows without bound x 1" in ended.stdout
    assert "the number of files grew from" in ended.stdout
