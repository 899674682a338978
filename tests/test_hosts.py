"""Several hosts over one engine, and what befalls one of them: judged as one system, held to the claim both ways."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from click.testing import CliRunner

from loadtest import engines, folder
from loadtest.__main__ import main
from loadtest.engines import Engines
from loadtest.folder import Served
from loadtest.history import host_of, load
from loadtest.judge import _claimed
from loadtest.servers.process import Missing
from loadtest.verdict import Claimed, Conditions, verdict
from tests.databases import missing
from tests.processes import alive_in
from tests.test_verdict import BUSY, CAUGHT, CLEAN

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.engines import Server
    from loadtest.findings import Checked


@pytest.mark.parametrize(
    ("claimed", "checked", "word"),
    [
        (Claimed("hosts", 2, hosts=3), CLEAN, "as claimed"),
        (Claimed("hosts", 2, hosts=3), CAUGHT, "broke its word"),
        (Claimed("processes", 2, hosts=3), CAUGHT, "as claimed"),
        (Claimed("processes", 2, hosts=3), CLEAN, "broke its word"),
        (Claimed("threads", 1, hosts=3), CLEAN, "broke its word"),
        (Claimed("threads", 1, hosts=1), CLEAN, "as claimed"),
    ],
)
def test_a_claim_is_held_to_the_hosts_that_sold(claimed: Claimed, checked: Checked, word: str) -> None:
    """Who promises to keep processes apart must be caught where hosts sold; and each host must have had its share."""
    assert verdict(claimed, checked, BUSY, Conditions()).word == word
    one_sided = replace(BUSY, busiest_host_share=0.95)
    if checked is CLEAN and claimed.hosts > 1:
        told = verdict(claimed, checked, one_sided, Conditions())
        assert (told.word, told.why.partition(":")[0]) == ("could not tell", "one host answered 95% of the requests")


def test_hosts_that_share_a_file_of_one_machine_are_processes_of_one() -> None:
    """SQLite's file keeps processes apart, whichever service they are of; over a network they are hosts."""
    word = {"workers": 2, "threads": 8}
    claim = {"reach": "processes", "survives": ["killed holder"]}
    assert _claimed(claim, word, Served(3, "sqlite")) == Claimed("processes", 6, 8, 1, ("killed holder",))
    assert _claimed(claim, word, Served(3, "redis")) == Claimed("processes", 2, 8, 3, ("killed holder",))
    assert _claimed(claim, word, Served()) == Claimed("processes", 2, 8, 1, ("killed holder",))


def test_each_slice_has_a_database_of_its_own(tmp_path: Path) -> None:
    """Files have the slice's folder; a private server makes one; on a running one it is an event that nobody has."""

    class Made:
        pids = (7,)

        def url(self, name: str) -> str:
            return f"redis://here/0?prefix={name}"

    needed = {"redis_lock": "redis", "sqlite": "sqlite", "file_lock": ""}
    private = Engines(needed, {"redis": cast("Server", Made())}, "")
    first, second = (private.fresh("redis_lock", tmp_path) for _ in range(2))
    assert (first.engine, first.event, first.servers) == ("redis", "default", (7,))
    assert first.url != second.url
    assert private.fresh("sqlite", tmp_path).url == f"sqlite:///{tmp_path}/tickets.db"
    assert private.fresh("file_lock", tmp_path) == private.fresh(folder.CEILING, tmp_path) == engines.FILES
    running = Engines(needed, {}, "redis://there/0")
    first, second = (running.fresh("redis_lock", tmp_path) for _ in range(2))
    assert first.url == second.url == "redis://there/0"
    assert first.event != second.event != "default"


def test_the_service_says_which_engine_each_mode_needs() -> None:
    """The load test does not know it otherwise."""
    listed = engines.listed()
    assert listed["file_lock"] == ""
    assert set(listed.values()) <= {"", "sqlite", *engines.RUNNING}


LISTED = {"file_lock": "", "redis_lock": "redis", "redis_script": "redis"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--modes file_lock --hosts 2",
            "run on one host: leave out --hosts, or name modes on an engine: redis_lock,",
        ),
        ("--modes file_lock --url redis://127.0.0.1:1/0", "do not run there: expected redis_lock or redis_script"),
        (
            "--modes file_lock --url http://127.0.0.1:1",
            "do not run there: expected the address of an engine",
        ),
        ("--modes redis_lock --faults pause --shape blog", "faults need a shape that goes by time: flash-sale, holds"),
        ("--shape holds --faults kill --hosts 2 --seconds 16", "may take 36.5 s: expected so many or more"),
        (
            "--faults kill,fire",
            "expected some of kill, pause, stop, restart, full-disk, slow-disk, with commas between",
        ),
        ("--modes redis_lock --faults full-disk --hosts 2", "fills the file system of one host: leave out --hosts"),
        ("--modes file_lock --faults slow-disk", "there is no strace here"),
        ("--modes file_lock --faults full-disk", "there is no unshare here"),
        ("--modes redis_lock", "there is no Redis server here: apt install redis-server"),
    ],
)
def test_what_could_tell_nothing_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    """In a sentence, with exit code 2, and without a run."""
    monkeypatch.setattr(engines, "listed", lambda: LISTED)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    ended = CliRunner().invoke(main, ["compare", "--runs", str(tmp_path), *words.split()], env={"COLUMNS": "400"})
    assert said in ended.output
    assert ended.exit_code != 0
    assert list(tmp_path.iterdir()) == []


TRIES_MAX = 3


def judged(here: Path, schemes: str, words: str) -> dict[str, tuple[str, str]]:
    """Run a comparison with the private servers that it needs; return each mode's verdict, and why."""
    try:
        engines.check(schemes.split())
    except Missing as error:
        missing(error)
    command = [sys.executable, "-m", "loadtest", "compare", "--workers", "1", "--quiet", *words.split()]
    for _ in range(TRIES_MAX):
        ended = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        if ended.returncode != 2:  # on a busy machine too little may happen at once: then nobody can tell
            break
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert alive_in(here) == []
    modes = json.loads((here / "runs" / "latest" / "verdict.json").read_text())["modes"]
    return {mode["mode"]: (mode["verdict"]["word"], mode["verdict"]["why"]) for mode in modes}


def test_hosts_over_one_engine_are_judged_as_one_system(tmp_path: Path) -> None:
    """A server's, and a file's; their logs and data stand apart, and the history names the host of each worker."""
    # With a pause, for then there is no ceiling to be measured.
    words = "--modes redis_script,sqlite --hosts 3 --shape flash-sale --seconds 2 --think-s 0.001"
    told = judged(tmp_path, "redis", words)
    assert "to keep hosts apart; on 3 hosts of 1 process each nothing was wrong" in told["redis_script"][1]
    assert "to keep processes apart; in 3 processes nothing was wrong" in told["sqlite"][1]
    place = tmp_path / "runs" / "latest" / "round-1" / "redis_script"
    assert sorted(path.parent.name for path in place.glob("*/service.log")) == ["host-1", "host-2", "host-3"]
    workers = {row.worker for row in load(place / "history.jsonl") if row.worker}
    assert sorted(host_of(worker) for worker in workers) == ["1", "2", "3"]
    page = " ".join((tmp_path / "runs" / "latest" / "report.html").read_text().split())
    assert "came to a service on three hosts of 1 worker process each that had 10,000 tickets" in page


@pytest.mark.parametrize(
    ("fault", "scheme", "mode", "why"),
    [
        (
            "pause",
            "redis",
            "redis_lock",
            "but not through a paused holder; on 3 hosts of 1 process each, with a paused",
        ),
        (
            "kill",
            "postgresql",
            "postgres_row_lock",
            "also through a killed holder; on 3 hosts of 1 process each, with a k",
        ),
    ],
)
def test_the_holder_is_befallen_and_the_mode_held_to_its_claim(
    tmp_path: Path, fault: str, scheme: str, mode: str, why: str
) -> None:
    """A lease without a fence is caught when its holder is paused; a lock of the server survives a killed one."""
    words = f"--modes {mode} --hosts 3 --faults {fault}"
    told = judged(tmp_path, scheme, words)
    assert why in told[mode][1]
    assert ("it was caught: " in told[mode][1]) == (fault == "pause")
    # On a busy machine nobody may be found who holds up the others; then any host is taken, and the verdict says so.
    assert (
        sum(
            each.mishap is not None
            for each in folder.load_slice(tmp_path / "runs" / "latest" / "round-1" / mode).faults
        )
        == 1
    )
