"""The load test from end to end: it starts the service, catches who should be caught, and says so by its exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from pathlib import Path

TRIES_MAX = 3


def loadtest(runs: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the load test's command line until it ends."""
    runs.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *words],
        cwd=runs.parent,
        env=os.environ | {"COLUMNS": "80"} | environment,
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
    )


def compared(runs: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Compare; again where it could not tell, for on a busy machine one worker may answer nearly all."""
    for _ in range(TRIES_MAX):
        ended = loadtest(runs, "compare", *words, **environment)
        if ended.returncode != 2:
            break
    return ended


def figures(runs: Path) -> dict[str, dict[str, Any]]:
    return {mode["mode"]: mode for mode in json.loads((runs / "latest" / "verdict.json").read_text())["modes"]}


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run of the demo's comparison; a setting in the caller's environment must not leak into it."""
    runs = tmp_path_factory.mktemp("here") / "runs"
    return runs, compared(runs, TURNSTILE_THINK_S="9", TURNSTILE_MODE="nonsense")


def test_the_demo_catches_three_and_clears_the_others(blog: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """4 workers: ``naive``, ``no_lock`` and ``thread_lock`` are caught, the others are right."""
    runs, ended = blog
    assert ended.returncode == 0, ended.stdout + ended.stderr
    modes = figures(runs)
    assert list(modes) == [
        "naive",
        "no_lock",
        "thread_lock",
        "process_lock",
        "file_lock",
        "ticket_lock",
        "lease",
        "group_commit",
        "single_writer",
    ]
    assert {mode["verdict"]["word"] for mode in modes.values()} == {"as claimed"}
    for name in ("naive", "no_lock", "thread_lock"):
        assert modes[name]["checked"]["findings"]
    for name in ("process_lock", "file_lock", "ticket_lock", "lease", "group_commit", "single_writer"):
        assert modes[name]["checked"] == {"findings": [], "sold": 10, "left": 0}
        assert modes[name]["measured"]["inside"]["hold_ms"] > 200
        assert modes[name]["measured"]["p50_ms"] > 200
        assert modes[name]["measured"]["workers"] > 1


def test_the_table_fits_a_terminal_and_says_all(blog: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """80 columns, a row a mode, and a sentence for each verdict."""
    _, ended = blog
    table = ended.stdout.partition("-blog")[2].partition("naive: as claimed")[0]
    assert 60 < max(map(len, table.splitlines())) <= 80
    for word in ("sold", "left", "updates", "twice", "torn", "req/s", "p50", "p99", "longest", "verdict"):
        assert word in ended.stdout
    assert "file_lock: as claimed (promises to keep processes apart; in 4 processes nothing was wrong" in ended.stdout
    assert re.search(r"worker \d read version \d+ at \d\.\d+ s, both wrote \d+: tickets? \d", ended.stdout)


def test_a_run_can_be_judged_again_from_its_files(blog: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The same verdicts, the same figures; and as Markdown."""
    runs, _ = blog
    before = figures(runs)
    assert loadtest(runs, "check").returncode == 0
    assert figures(runs) == before
    markdown = loadtest(runs, "check", "runs/latest", "--markdown")
    assert markdown.stdout.splitlines()[0].startswith("| mode | sold | left |")
    assert len(markdown.stdout.splitlines()) == 11


def test_a_mode_that_is_not_what_it_claims_breaks_its_word(blog: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Both ways: one that claims too much, and one that claims too little. Exit 1."""
    runs, _ = blog
    for name, reach, promise in (("no_lock", "hosts", "to keep hosts apart"), ("file_lock", "nowhere", "nothing")):
        word = runs / "latest" / "round-1" / name / "mode.json"
        honest = word.read_text()
        word.write_text(json.dumps(json.loads(honest) | {"claim": {"reach": reach}}))
        ended = loadtest(runs, "check")
        word.write_text(honest)
        assert ended.returncode == 1
        assert f"{name}: broke its word (promises {promise}; in 4 processes" in ended.stdout


def test_a_run_without_contention_proves_nothing(tmp_path: Path) -> None:
    """One buyer alone, in as many rounds as one worker answers: exit 2, and why."""
    ended = loadtest(tmp_path / "runs", "compare", "--modes", "file_lock", "--clients", "1", "--workers", "2")
    assert ended.returncode == 2
    assert re.search(r"could not tell \(0 of \d requests overlapped another", " ".join(ended.stdout.split()))


def test_one_worker_alone_is_within_the_reach_of_threads(tmp_path: Path) -> None:
    """``thread_lock`` keeps its word with one worker, and ``no_lock`` is caught even there."""
    flags = ("--workers", "1", "--think-s", "0.02")
    ended = compared(tmp_path / "runs", "--modes", "thread_lock,no_lock", *flags)
    assert ended.returncode == 0, ended.stdout
    modes = figures(tmp_path / "runs")
    assert modes["thread_lock"]["checked"]["findings"] == []
    assert modes["no_lock"]["checked"]["findings"]


def test_a_mode_that_does_not_exist_could_not_be_told(tmp_path: Path) -> None:
    """The service's own sentence, exit 2, and no run that would be the latest."""
    ended = loadtest(tmp_path / "runs", "compare", "--modes", "best")
    assert ended.returncode == 2
    told = " ".join(ended.stderr.split())
    assert "the service did not start: turnstile: --mode (TURNSTILE_MODE) is 'best': expected one of naive" in told
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("shape", ["last-ticket", "flash-sale --seconds 2", "holds --seconds 3", "retries --seconds 3"])
def test_every_shape_tells_right_from_wrong(tmp_path: Path, shape: str) -> None:
    """The other scenes catch and clear too."""
    flags = ("--shape", *shape.split(), "--workers", "2")
    ended = compared(tmp_path / "runs", "--modes", "no_lock,process_lock", *flags)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    modes = figures(tmp_path / "runs")
    assert modes["no_lock"]["checked"]["findings"]
    assert modes["process_lock"]["checked"]["findings"] == []


def test_what_cannot_be_recorded_is_one_sentence(tmp_path: Path) -> None:
    """A place for the runs that is no directory: exit 2, no traceback."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "file").write_text("")
    ended = loadtest(tmp_path / "runs", "compare", "--runs", "file/below", "--modes", "file_lock")
    assert ended.returncode == 2
    assert "could not be recorded" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
