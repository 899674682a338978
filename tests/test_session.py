"""A run at the terminal: requirements, a service that is running already, two runs compared, and every way to end."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from urllib3.util import Retry

from loadtest import compare, serve
from loadtest.plan import make
from loadtest.progress import progress
from tests.processes import alive_in, connected
from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.serve import Service

EXAMPLE = Path(__file__).parent.parent / "examples" / "any_service" / "tickets.py"
QUICK = ("--shape", "flash-sale", "--seconds", "1", "--workers", "2", "--clients", "8", "--processes", "2")


TRIES_MAX = 3


def loadtest(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the load test's command line until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *words],
        cwd=here,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
    )


def judged(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it; again where it could not tell, for on a busy machine one worker may answer nearly all."""
    for _ in range(TRIES_MAX):
        ended = loadtest(here, *words)
        if ended.returncode != 2:
            break
    return ended


def verdict(here: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((here / "runs" / "latest" / "verdict.json").read_text())
    return values


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two rounds of one mode and its ceiling, with a requirement that is met and one that is missed."""
    here = tmp_path_factory.mktemp("rounds")
    required = ("--require", "file_lock:requests_per_s>1", "--require", "p99_ms<0.001")
    return here, judged(here, "compare", "--modes", "file_lock", "--repeat", "2", *QUICK, *required)


def test_a_missed_requirement_is_exit_code_3(rounds: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The mode kept its word, and was slower than was asked: each requirement is told."""
    here, ended = rounds
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "required file_lock:requests_per_s>1: met by file_lock" in ended.stdout
    assert "required p99_ms<0.001: missed by file_lock" in ended.stdout
    assert [each["met"] for each in verdict(here)["requirements"]] == [True, False]
    assert verdict(here)["exit_code"] == 3


def test_rounds_are_paired_with_their_ceiling(rounds: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """A no-op's rate in each round, a ratio from both; two rounds are too few for an interval."""
    here, ended = rounds
    (mode,) = verdict(here)["modes"]
    assert verdict(here)["ceiling"]["requests_per_s"] > mode["measured"]["requests_per_s"]
    assert 0 < mode["ratio"]["median"] < 1
    assert (mode["ratio"]["pairs"], mode["ratio"]["low"]) == (2, None)
    assert [each["slice"] for each in mode["rounds"]] == ["round-1/file_lock", "round-2/file_lock"]
    assert "of the ceiling, over 2 rounds" in ended.stdout


def test_progress_says_how_far_each_slice_came(rounds: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """However short it was."""
    _, ended = rounds
    for name in ("file_lock (1/2)", "file_lock (2/2)", "ceiling (1/2)", "ceiling (2/2)"):
        assert re.search(rf"^{re.escape(name)}: [1-9]\d* replies, 0 errors$", ended.stdout, re.MULTILINE)


def test_a_run_says_what_it_ran_on_and_where_time_went(rounds: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Commit, versions, processors; wait, hold and queue; processor time; fairness; and the files for other tools."""
    here, _ = rounds
    values = verdict(here)
    assert values["run"]["cpus"] == os.cpu_count()
    assert set(values["run"]["packages"]) == {"flask", "gunicorn", "filelock", "requests"}
    measured = values["modes"][0]["measured"]
    assert measured["inside"]["hold_ms"] > 0
    assert 0 <= measured["inside"]["idle_share"] <= 1
    assert measured["cost"]["cpu_ms_per_sale"] > 0
    assert 0 < measured["cost"]["client_share"] < 1
    assert 0 < measured["by_client"]["jain"] <= 1
    run = here / "runs" / "latest"
    assert (run / "verdict.csv").read_text().startswith("mode,verdict,ratio,")
    assert (run / "round-1" / "file_lock" / "latency.hgrm").read_text().split()[:2] == ["Value", "Percentile"]


def test_warm_up_is_checked_but_not_measured(rounds: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The first tenth of the time is left out of the figures, not out of the history."""
    here, _ = rounds
    (mode,) = verdict(here)["modes"]
    lines = sum(
        len(path.read_text().splitlines())
        for path in (here / "runs" / "latest").glob("round-*/file_lock/history.jsonl")
    )
    assert 0 < mode["measured"]["decided"] < lines


def test_two_runs_are_compared(rounds: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """With two rounds each nobody can tell, and that is what is said."""
    here, _ = rounds
    ended = loadtest(here, "diff", "runs/latest", "runs/latest")
    assert ended.returncode == 0
    assert "file_lock        rate to ceiling  1.00 times: cannot tell: fewer than 5 rounds" in ended.stdout


def test_an_open_loop_sends_what_was_planned(tmp_path: Path) -> None:
    """100 purchases a second for a second, in random gaps, whatever the replies."""
    flags = (*QUICK, "--rate", "100", "--arrivals", "poisson", "--seed", "3", "--quiet")
    ended = loadtest(tmp_path, "compare", "--modes", "process_lock", *flags)
    assert ended.returncode in {0, 2}, ended.stdout + ended.stderr
    assert "started" not in ended.stdout
    rows = (tmp_path / "runs" / "latest" / "round-1" / "process_lock" / "history.jsonl").read_text().splitlines()
    assert 70 <= len(rows) <= 130
    assert verdict(tmp_path)["modes"][0]["checked"]["findings"] == []
    assert loadtest(tmp_path, "compare", "--rate", "5").returncode == 2


def test_a_running_service_is_judged_through_http_alone(served: Callable[..., Service], tmp_path: Path) -> None:
    """From wherever its event stands; with its journal for who has the token, and without."""
    service = served("file_lock", tickets=5000, workers=2)
    requests.post(f"{service.url}/buy", json={"quantity": 3}, timeout=10).raise_for_status()
    for token in ("", service.token):
        words = ("--shape", "flash-sale", "--seconds", "1", "--clients", "8", "--processes", "2", "--token", token)
        ended = judged(tmp_path, "run", service.url, *words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        slice_ = tmp_path / "runs" / "latest" / "round-1" / "service"
        assert (slice_ / "journal.jsonl").exists() == bool(token)
        assert json.loads((slice_ / "start.json").read_text())["version"] > 0
        assert service.token not in (tmp_path / "runs" / "latest" / "run.json").read_text()
        assert "service: as claimed (its mode is file_lock: promises to keep processes apart" in ended.stdout
    assert service.process.poll() is None


@pytest.mark.parametrize(("mode", "shape"), [("keyless", "retries"), ("lenient", "holds")])
def test_a_service_that_is_careless_about_holds_and_retries_is_caught(tmp_path: Path, mode: str, shape: str) -> None:
    """It keeps processes apart, and breaks its word all the same: one wish has two effects, a hold has no end."""
    (tmp_path / "data").mkdir()
    # So many that nobody needs the tickets of a hold that has ended, and ends it thereby.
    (tmp_path / "data" / "default.json").write_text('{"count": 5000}')
    flags: dict[str, object] = {"mode": mode, "workers": 2, "threads": 16}
    with serve.service(tmp_path, flags, "tests.careless_program") as service:
        words = ("--shape", shape, "--seconds", "4", "--processes", "2", "--token", service.token)
        ended = judged(tmp_path, "run", service.url, *words)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (said,) = verdict(tmp_path)["modes"]
    assert "double effect" in {finding["anomaly"] for finding in said["checked"]["findings"]}


def test_two_runs_of_one_plan_against_one_service_do_not_share_their_keys(
    served: Callable[..., Service], tmp_path: Path
) -> None:
    """The service remembers the keys of the first for a day. Neither do two rounds of one run, which ``diff`` needs."""
    service = served("group_commit", tickets=3000, threads=16)
    for rounds in (1, 2):
        words = ("--shape", "retries", "--seconds", "1", "--processes", "2", "--repeat", str(rounds))
        ended = judged(tmp_path, "run", service.url, *words, "--token", service.token)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert len(list((tmp_path / "runs" / "latest").glob("round-*"))) == rounds


@pytest.mark.parametrize("words", [("run", "http://127.0.0.1:9"), ("run", "http://127.0.0.1:9", "--event", "x")])
def test_a_target_that_does_not_answer_could_not_be_told(tmp_path: Path, words: tuple[str, ...]) -> None:
    """One sentence, exit 2, before anything is recorded."""
    ended = loadtest(tmp_path, *words)
    assert ended.returncode == 2
    assert "nobody answers at http://127.0.0.1:9 ([Errno 111] Connection refused)" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not (tmp_path / "runs").exists()


GOOD_MODE = '{"mode":"m","claim":{"reach":"processes"},"workers":2}'
GOOD_EVENT = '{"capacity":10,"count":9,"version":1}'


@pytest.mark.parametrize(
    ("mode", "event"),
    [
        ("<html>", GOOD_EVENT),
        ("[]", GOOD_EVENT),
        ("{}", GOOD_EVENT),
        ('{"claim":{"reach":"everywhere"},"workers":2}', GOOD_EVENT),
        ('{"claim":{"reach":"hosts"},"workers":"2"}', GOOD_EVENT),
        (GOOD_MODE, "null"),
        (GOOD_MODE, '{"capacity":10,"count":9}'),
        (GOOD_MODE, '{"capacity":10,"count":9,"version":"1"}'),
        (GOOD_MODE, '{"capacity":10,"count":true,"version":1}'),
    ],
)
def test_what_is_no_turnstile_is_told_before_anything_is_bought(mode: str, event: str) -> None:
    """One sentence; and what is one is understood."""
    with pytest.raises(compare.NoTurnstile, match="what answers at http://x is no Turnstile"):
        compare._understood("http://x", mode, event)  # noqa: SLF001  # the rule itself
    start = compare._understood("http://x", GOOD_MODE, GOOD_EVENT)  # noqa: SLF001
    assert (start.capacity, start.count, start.version) == (10, 9, 1)


@pytest.mark.parametrize(
    ("words", "what", "told"),
    [
        (
            ("--token", "not-the-token-of-it"),
            "Invalid value for '--token' (TURNSTILE_ADMIN_TOKEN): ",
            "was answered 401: expected the header Authorization: Bearer",
        ),
        (("--event", "nosuch"), "Invalid value for 'URL': ", 'was answered 404: there is no event "nosuch"'),
    ],
)
def test_what_a_service_refuses_is_told_before_anything_is_bought(
    served: Callable[..., Service], tmp_path: Path, words: tuple[str, ...], what: str, told: str
) -> None:
    """A wrong token or event, by its name and in the service's own words."""
    ended = loadtest(tmp_path, "run", served("file_lock", workers=1).url, *words)
    assert ended.returncode == 2
    assert what in " ".join(ended.stderr.split())
    assert told in " ".join(ended.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_a_line_says_that_a_slice_begins() -> None:
    """Not that a service has started, which it may not."""
    said = io.StringIO()
    with progress(Console(file=said), make("flash-sale", 1, 1.0), quiet=False) as follow:
        follow("file_lock")
    assert said.getvalue() == "file_lock: begins\n"


def test_the_replies_of_the_example_end_their_line() -> None:
    """Else a terminal's next prompt stands behind them."""
    port = serve.free_port()
    with subprocess.Popen([sys.executable, str(EXAMPLE), str(port)]) as process, requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(connect=20, backoff_factor=0.1)))
        try:
            assert session.get(f"http://127.0.0.1:{port}/mode").text.endswith("}\n")
        finally:
            process.terminate()


def test_a_service_started_by_hand_says_what_it_lacks(tmp_path: Path) -> None:
    """Without ``--harness true`` nobody knows how many workers answered; with one worker that does not matter."""
    for workers, word, run in (("2", "--harness true", loadtest), ("1", "as claimed", judged)):
        (tmp_path / workers).mkdir()
        flags: dict[str, object] = {"mode": "file_lock", "workers": workers, "harness": "false"}
        with serve.service(tmp_path / workers, flags) as service:
            ended = run(tmp_path, "run", service.url, *QUICK[:4], *QUICK[6:])
        assert word in ended.stdout, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "--modes", "../x"),
        ("compare", "--modes", ""),
        ("compare", "--require", "fast"),
        ("compare", "--require", "p98_ms<5"),
        ("compare", "--modes", "ceiling"),
        ("compare", "--modes", "no_lock", "--require", "file_lock:p99_ms<5"),
        ("run", "http://127.0.0.1:9", "--require", "file_lock:p99_ms<5"),
        ("run", "127.0.0.1:9"),
        ("diff", ".", "."),
        ("diff", "here", "there"),
        ("compare", "--shape", "nothing"),
        ("compare", "--modes", "file_lock,nosuch"),
        ("compare", "--arrivals", "poisson", "--shape", "flash-sale"),
        ("compare", "--seconds", "5"),
        ("compare", "--shape", "holds", "--seconds", "1"),
        ("run", "http://127.0.0.1:9", "--shape", "holds"),
        ("check",),
        ("check", "somewhere"),
    ],
)
def test_a_wrong_word_is_told_before_anything_runs(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit 2, no folder, no traceback."""
    ended = loadtest(tmp_path, *words)
    assert ended.returncode == 2
    assert not (tmp_path / "runs").exists()
    assert "Traceback" not in ended.stdout + ended.stderr


def hear() -> None:
    """Undo that whoever started the tests may have these signals ignored, as in the background of a script."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_stops_its_service_and_keeps_what_it_recorded(tmp_path: Path, number: int) -> None:
    """Ctrl-C, ``kill`` or a closed terminal, even twice: exit 2, nothing left running, and the rest can be judged."""
    flags = ("--modes", "process_lock,file_lock", *QUICK[:2], "--seconds", "6", "--workers", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest", "compare", *flags],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear,  # noqa: PLW1509  # no thread of the tests runs meanwhile
    )
    second = tmp_path / "runs" / "latest" / "round-1" / "file_lock"
    deadline = time.monotonic() + PROGRAM_S
    while not any(path.stat().st_size for path in second.glob("history-*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)
    told, _ = process.communicate(timeout=PROGRAM_S)
    assert process.returncode == 2, told
    assert "interrupted: the service was stopped; what was recorded is in runs/2" in told
    assert "Traceback" not in told
    assert alive_in(tmp_path) == []
    assert (second / "history.jsonl").read_text()
    ended = loadtest(tmp_path, "check")
    assert ended.returncode == 2
    modes = {mode["mode"]: mode["verdict"] for mode in verdict(tmp_path)["modes"]}
    assert ended.stdout.splitlines()[-1].startswith("report: ")
    assert modes["process_lock"]["word"] == "as claimed"
    assert modes["file_lock"]["why"] == "round-1/file_lock: interrupted before it was over"


def test_who_stops_listening_is_no_verdict(tmp_path: Path) -> None:
    """``| head`` must not look like a broken word."""
    command = f"{sys.executable} -m loadtest compare --modes file_lock,no_lock | head -n 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["/bin/bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=PROGRAM_S, check=False
    )
    assert ended.returncode in {0, 2}, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_service_that_dies_amid_a_run_is_told_with_what_was_seen(tmp_path: Path) -> None:
    """One sentence, exit 2, a report; and the other mode is judged all the same."""
    flags = ("--modes", "file_lock,process_lock", "--shape", "flash-sale", "--seconds", "6", "--workers", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest", "compare", *flags],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    first = tmp_path / "runs" / "latest" / "round-1" / "file_lock"
    deadline = time.monotonic() + PROGRAM_S
    while not any(path.stat().st_size for path in first.glob("history-*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    service = [int(each.split()[0]) for each in alive_in(tmp_path) if " -m service " in each]
    os.killpg(os.getpgid(service[0]), signal.SIGKILL)
    told, _ = process.communicate(timeout=PROGRAM_S)
    assert process.returncode == 2, told
    assert "could not tell (round-1/file_lock: the service ended with -9 in the middle; its log is " in told
    assert told.splitlines()[-1].startswith("report: ")
    assert "Traceback" not in told
    modes = {mode["mode"]: mode["verdict"]["word"] for mode in verdict(tmp_path)["modes"]}
    assert modes == {"file_lock": "could not tell", "process_lock": "as claimed"}
    assert alive_in(tmp_path) == []


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    """Its own last line is the reason."""
    (tmp_path / "data").write_text("no directory")
    with (
        pytest.raises(serve.NotServed, match="the service did not start: turnstile: data directory"),
        serve.service(tmp_path, {"mode": "file_lock"}),
    ):
        pass
    assert alive_in(tmp_path) == []


def test_who_waits_until_a_service_is_ready_leaves_no_connection_open(tmp_path: Path) -> None:
    """However often it tried before: the service would wait for it when it stops."""
    (tmp_path / "data").mkdir()
    gc.disable()  # else it might end by chance what a failed try has kept
    try:
        with serve.service(tmp_path, {"mode": "file_lock", "workers": 1}) as started:
            assert connected(int(started.url.rpartition(":")[2])) == 0
    finally:
        gc.enable()
