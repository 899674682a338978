"""Faults on a real service: process_lock is seen to hang, others serve again, and planted losses are found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loadtest import folder, slowness, volume
from loadtest.servers.process import Missing
from tests.databases import missing
from tests.processes import alive_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)
TRIES_MAX = 3
PROGRAM_S = 190


def compared(here: Path, mode: str, faults: str) -> tuple[dict[str, str], dict[str, dict[str, object]]]:
    """Run a comparison; return the mode's verdict and its mishaps. On a busy machine nobody may be met: then again."""
    words = ["compare", "--quiet", "--modes", mode, "--faults", faults]
    for _ in range(TRIES_MAX):
        ended = loadtest(here, *words)
        if ended.returncode != 2:
            break
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert alive_in(here) == []
    return told(here / "runs" / "latest")


def loadtest(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", *words]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=PROGRAM_S)


def told(run: Path) -> tuple[dict[str, str], dict[str, dict[str, object]]]:
    """Return a run's verdict on its one mode, and what befell it by name."""
    (mode,) = json.loads((run / "verdict.json").read_text())["modes"]
    return mode["verdict"], {each["name"]: each for each in mode["mishaps"]}


def test_process_lock_hangs_when_its_holder_is_killed_and_is_held_to_saying_so(tmp_path: Path) -> None:
    """It is seen, and the service started again; a claim that said otherwise would be a broken word."""
    verdict, mishaps = compared(tmp_path, "process_lock", "kill")
    assert "but not through a killed holder; in 4 processes, with a killed worker and a killed holder" in verdict["why"]
    assert verdict["why"].endswith("after a killed holder nobody was served any more")
    assert mishaps["killed holder"]["stuck"]
    place = tmp_path / "runs" / "latest" / "round-1" / "process_lock"
    assert any("started again, for nobody was served" in each.name for each in folder.load_slice(place).faults)
    word = json.loads((place / "mode.json").read_text())
    word["claim"]["survives"].append("killed holder")
    (place / "mode.json").write_text(json.dumps(word))
    assert loadtest(tmp_path, "check").returncode == 1
    assert told(tmp_path / "runs" / "latest")[0]["word"] == "broke its word"


def test_group_commit_bears_kills_and_restarts_and_a_sale_that_is_lost_is_found(tmp_path: Path) -> None:
    """Every acknowledged sale is there; one taken out of the journal is a broken word; the report tells of all."""
    verdict, mishaps = compared(tmp_path, "group_commit", "kill,stop,restart")
    assert verdict["word"] == "as claimed"
    assert "nothing was wrong" in verdict["why"]
    assert {name: each["times"] for name, each in mishaps.items()} == dict.fromkeys(
        ["killed worker", "killed holder", "killed service", "restarted service"], 1
    )
    assert not any(each["stuck"] or each["wrong"] for each in mishaps.values())
    run = tmp_path / "runs" / "latest"
    page = " ".join((run / "report.html").read_text().split())
    assert "group_commit did what it claims, with a killed" in page
    assert page.count("killed with all its processes and started again") >= 3
    assert "Meanwhile, on purpose, there was a " in page
    lost = tmp_path / "runs" / "lost"
    shutil.copytree(run.resolve(), lost)
    journal = lost / "round-1" / "group_commit" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    del lines[len(lines) // 2]
    journal.write_text("\n".join(lines) + "\n")
    assert loadtest(tmp_path, "check", str(lost)).returncode == 1
    assert "phantom order" in told(lost)[0]["why"]


def test_file_lock_serves_again_when_its_holder_is_killed_and_when_there_is_room_again(tmp_path: Path) -> None:
    """What does not fit on a full disk is told so in definite words, and what was sold there is kept."""
    able(volume.check)
    verdict, mishaps = compared(tmp_path, "file_lock", "full-disk,kill")
    assert verdict["word"] == "as claimed"
    assert mishaps["full disk"]["met"]
    assert not any(each["stuck"] or each["wrong"] for each in mishaps.values())
    data = tmp_path / "runs" / "latest" / "round-1" / "file_lock" / "data"
    assert '"count"' in (data / "default.json").read_text()
    assert not (data / volume.BALLAST).exists()


def test_sqlite_bears_a_slow_disk(tmp_path: Path) -> None:
    """The service is served on with fsyncs held back, and again as before."""
    able(slowness.check)
    verdict, mishaps = compared(tmp_path, "sqlite", "slow-disk")
    assert verdict["word"] == "as claimed"
    assert list(mishaps) == ["slow disk"]


def able(check: Callable[[], None]) -> None:
    """Skip, or fail where nothing may be skipped, unless this can be done here."""
    try:
        check()
    except Missing as error:
        missing(error)
