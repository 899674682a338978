"""Several hosts over one engine, and what befalls one of them: judged as one system, held to the claim both ways."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, cast

import pytest
from click.testing import CliRunner

from loadtest import engines, faults, folder, plan
from loadtest.__main__ import main
from loadtest.drive import Progress
from loadtest.engines import Engines
from loadtest.faults import Schedule, Unfinished
from loadtest.folder import Served
from loadtest.history import Operation, Passage, host_of, load
from loadtest.judge import _claimed
from loadtest.mishaps import RECOVERY_S, Mishap, Stretch, befallen, known
from loadtest.servers.process import Missing
from loadtest.slices import cut
from loadtest.verdict import Claimed, Conditions, verdict
from tests.databases import missing
from tests.processes import alive_in
from tests.test_verdict import BUSY, CAUGHT, CLEAN

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.engines import Server
    from loadtest.findings import Checked
    from loadtest.history import Outcome
    from loadtest.serve import Service

S = 1_000_000_000
PAUSED = Stretch("host 1 paused", 10 * S, 15 * S, "paused holder", met=True)
MET, STUCK, MISSED = (
    Mishap("paused holder", met=met, stuck=stuck) for met, stuck in ((True, False), (True, True), (False, False))
)
FENCED = ("killed holder", "paused holder")


def bought(called_s: float, returned_s: float, outcome: Outcome = "done") -> Operation:
    return Operation("buy", f"at {called_s}", 0, int(called_s * S), int(called_s * S), int(returned_s * S), outcome)


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


@pytest.mark.parametrize(
    ("survives", "mishap", "checked", "word"),
    [
        (FENCED, MET, CLEAN, "as claimed"),
        (FENCED, MISSED, CLEAN, "as claimed"),  # nobody waits in a mode like this: there is no holder to be met
        (FENCED, MET, CAUGHT, "broke its word"),
        (FENCED, STUCK, CLEAN, "broke its word"),
        (FENCED[:1], MET, CAUGHT, "as claimed"),
        (FENCED[:1], STUCK, CLEAN, "as claimed"),
        (FENCED[:1], MET, CLEAN, "broke its word"),
        (FENCED[:1], MISSED, CLEAN, "could not tell"),
        (FENCED[:1], MISSED, CAUGHT, "as claimed"),
    ],
)
def test_a_mode_is_held_to_what_it_survives_both_ways(
    survives: tuple[str, ...], mishap: Mishap, checked: Checked, word: str
) -> None:
    """With nothing lost and nobody stuck; and one that does not claim it must be caught, if anyone was inside."""
    claimed = Claimed("hosts", 2, hosts=3, survives=survives)
    told = verdict(claimed, checked, BUSY, Conditions(mishap=mishap))
    assert told.word == word, told.why
    if mishap is STUCK:
        assert told.why.endswith(
            "3 hosts of 2 processes each, with a paused holder, it was caught: nobody was served any more"
        )
    if word == "could not tell":
        assert told.why == "nobody is known to have been between reading and writing when a host was stopped"


def test_nobody_is_stuck_if_others_are_served_when_they_have_had_time_to_recover() -> None:
    """A lease may hold them up for as long as it lasts, and no longer; a look is no service, nor is an error."""
    begun = 10 + RECOVERY_S
    before, look = bought(9, begun - 0.1), replace(bought(begun, begun + 0.2), kind="look")
    failed, late = bought(begun, begun + 0.5, "unknown"), bought(10, 15.1)
    assert befallen([([PAUSED], [before, look, failed, late])]) == STUCK
    for row in (bought(10, begun + 0.1), bought(10, begun + 0.1, "refused")):
        assert befallen([([PAUSED], [before, row])]) == MET
    assert befallen([([PAUSED], [bought(9, begun + 1)]), ([PAUSED], [])]) == STUCK
    assert befallen([([replace(PAUSED, mishap=None)], [])]) is None


def test_a_holder_that_had_written_was_not_met() -> None:
    """By the trace: one that was stopped between its reading and the end of the pause that the service makes there."""
    inside, waiting = Passage("a", 1, 9 * S, 16 * S, 9 * S, int(9.95 * S), 3), Passage("b", 2, 9 * S, 16 * S)
    written = replace(inside, read=int(9.8 * S))
    assert known(PAUSED, [waiting, inside], 0.1).met
    assert not known(PAUSED, [waiting, written], 0.1).met
    assert not known(PAUSED, [replace(inside, left=14 * S)], 0.1).met  # it was never stopped
    assert known(PAUSED, [waiting], 0.1).met  # a mode without notes, or no trace: nobody knows better
    killed = replace(PAUSED, mishap="killed holder")
    assert known(killed, [written], 0.1) == killed


def test_what_fails_while_a_host_is_out_is_no_error_of_the_mode() -> None:
    """It is checked, and not counted; before and after it is."""
    scene = plan.make("flash-sale", 1, 30.0)
    rows = [bought(9, 9.5, "unknown"), bought(9.9, 12, "not done"), bought(11, 12), bought(14, 16, "unknown")]
    rows.append(bought(15.5, 16, "unknown"))
    measured = cut(replace(scene, warmup_s=0.0), rows, [], None, 2, [PAUSED]).operations
    assert [row.called / S for row in measured] == [9, 11, 15.5]


@dataclass
class Host:
    """A host that notes what is done to it."""

    done: list[str] = field(default_factory=list)
    out: bool = False

    def pause(self) -> None:
        self.done.append("pause")
        self.out = True

    def resume(self) -> None:
        self.out = False

    def kill(self) -> None:
        self.done.append("kill")

    def start(self) -> None:
        self.done.append("start")
        self.out = False


class Watched(Schedule):
    """A schedule that does not wait. Meanwhile others are answered, unless the holder is out."""

    def __init__(self, kind: faults.Kind, holder: int | None, seed: int, *, over_after: int = 1_000_000) -> None:
        self.hosts = [Host() for _ in range(3)]
        super().__init__(kind, cast("list[Service]", self.hosts), plan.make("flash-sale", seed, 20.0))
        self._tell = self.told(lambda _: None)
        self._holder = holder
        self._replies = chain(range(1, over_after), repeat(0))
        self._tell(Progress(next(self._replies), 0))

    def _waited(self, seconds: float) -> bool:
        if self._holder is None or not self.hosts[self._holder].out:
            if not (reply := next(self._replies)):
                self.end()
                return True
            self._tell(Progress(reply, 0))
        return super()._waited(0 * seconds)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "STALL_S", 0.02)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("seed", range(5))
def test_the_host_that_holds_up_the_others_is_found(seed: int) -> None:
    """Others are stopped for a look and go on; the holder is paused, or killed and started again; then all go on."""
    for kind, done in (("pause", ["pause"]), ("kill", ["pause", "kill", "start"])):
        schedule = Watched(cast("faults.Kind", kind), 1, seed)
        schedule.run()
        assert schedule.hosts[1].done == done
        assert all(set(host.done) <= {"pause"} for host in (schedule.hosts[0], schedule.hosts[2]))
        (meant,) = [stretch for stretch in schedule.stretches if stretch.mishap]
        assert (meant.mishap, meant.met) == (faults.MISHAPS[cast("faults.Kind", kind)], True)
        assert meant == schedule.stretches[-1]
        assert [host.out for host in schedule.hosts] == list(schedule.down) == [False] * 3
        assert schedule.failure is None


@pytest.mark.usefixtures("soon")
def test_where_nobody_waits_for_anybody_any_host_will_do() -> None:
    """After so many looks; it is not said that a holder was met."""
    schedule = Watched("pause", None, 1)
    schedule.run()
    assert len(schedule.stretches) == faults.TRIES_MAX
    assert [stretch.mishap for stretch in schedule.stretches[:-1]] == [None] * (faults.TRIES_MAX - 1)
    assert (schedule.stretches[-1].mishap, schedule.stretches[-1].met) == ("paused holder", False)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("over_after", [2, 3, 9])
def test_a_scene_that_ends_first_leaves_all_hosts_running_and_says_so(over_after: int, tmp_path: Path) -> None:
    """What was done is written down, and there is no verdict on it."""
    schedule = Watched("pause", None, 1, over_after=over_after)
    schedule.run()
    assert [host.out for host in schedule.hosts] == [False] * 3
    assert isinstance(schedule.failure, Unfinished)
    hosts = cast("list[Service]", [Host(), Host()])
    with (
        pytest.raises(Unfinished, match="the scene was over before"),
        faults.amid("kill", hosts, plan.make("flash-sale", 1, 20.0), tmp_path),
    ):
        pass
    assert json.loads((tmp_path / "faults.json").read_text()) == []


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
        ("--modes redis_lock --fault pause", "with one host nobody is left to be held up: give --hosts too"),
        ("--modes redis_lock --fault pause --hosts 2", "a fault needs a shape that goes by time: flash-sale, holds"),
        ("--shape holds --fault kill --hosts 2", "to find the holder and to see what follows takes time: expected 16"),
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
    words = f"--modes {mode} --hosts 3 --fault {fault} --shape flash-sale --seconds 16"
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
