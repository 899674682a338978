"""What is lacking for a moment, a process or a file, ends no service that sells; one that cannot start says why."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtest import serve
from service import turns
from service.gunicorn_conf import FILES_MORE, have_files
from service.settings import Settings
from tests.connections import Client, look
from tests.metrics import total
from tests.processes import alive_of, children_of, comm
from tests.waiting import PROGRAM_S, until_within

if TYPE_CHECKING:
    from loadtest.serve import Service

ROOT = Path(__file__).parent.parent
WORKERS = 2
DAEMONS = {"ticket-writer", "hold-sweeper"}
NO_MORE = 3
"""A limit of open files that leaves no room for one more; those that are open stay open."""


def workers_of(service: Service) -> set[int]:
    return {pid for pid in children_of(service.process.pid) if comm(pid) not in DAEMONS}


def whole(service: Service, workers: int = WORKERS) -> bool:
    return total(service.url, "turnstile_workers") == workers


def seeded(place: Path) -> Path:
    data = place / "data"
    data.mkdir()
    (data / "default.json").write_text('{"count": 10}')
    return data


def said(place: Path, words: str) -> bool:
    return words in (place / "service.log").read_text()


@pytest.mark.parametrize("killed", [1, WORKERS])
def test_a_worker_that_cannot_start_ends_no_service_that_has_sold(tmp_path: Path, killed: int) -> None:
    """The others sell on; where none is left, whoever comes waits until one can start again."""
    data = seeded(tmp_path)
    with serve.service(tmp_path, {"mode": "file_lock", "workers": WORKERS}, "tests.unable_program") as started:
        until_within(PROGRAM_S, lambda: whole(started))
        (data / "unable").touch()
        for pid in sorted(workers_of(started))[:killed]:
            os.kill(pid, signal.SIGKILL)
        left = f"so the others stay ({WORKERS - killed} of {WORKERS}), and no other is started for 2 s"
        until_within(PROGRAM_S, lambda: said(tmp_path, left))  # the second time that none could
        assert started.process.poll() is None
        with Client(started.url) as client:
            client.send()
            if killed == WORKERS:
                (data / "unable").unlink()
            assert client.reply()[0] == 201
        (data / "unable").unlink(missing_ok=True)
        until_within(PROGRAM_S, lambda: whole(started))
        assert total(started.url, "turnstile_worker_deaths_total") > killed


def test_those_who_sell_stay_when_one_cannot_start_nor_be_followed(tmp_path: Path) -> None:
    """Of four that are three, also when they are to be followed by others; when others can start, they are."""
    data = seeded(tmp_path)
    with serve.service(tmp_path, {"mode": "file_lock", "workers": 4}, "tests.unable_program") as started:
        until_within(PROGRAM_S, lambda: whole(started, 4))
        (data / "unable").touch()
        killed, *others = sorted(workers_of(started))
        os.kill(killed, signal.SIGKILL)
        for pause_s in (2, 4):
            words = f"so the others stay (3 of 4), and no other is started for {pause_s} s"
            until_within(PROGRAM_S, partial(said, tmp_path, words))
            assert set(others) <= workers_of(started)
            started.process.send_signal(signal.SIGHUP)
            look(started.url)
        (data / "unable").unlink()
        until_within(PROGRAM_S, lambda: said(tmp_path, "all workers have been replaced"))
        until_within(PROGRAM_S, lambda: not set(others) & workers_of(started))
        until_within(PROGRAM_S, lambda: whole(started, 4))


def test_a_service_of_which_no_worker_can_start_says_why_and_ends(tmp_path: Path) -> None:
    """With an error, at its first start: there is nobody to sell on."""
    (seeded(tmp_path) / "unable").touch()
    words = ["--data", str(tmp_path / "data"), "--mode", "file_lock", "--bind", f"127.0.0.1:{serve.free_port()}"]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.unable_program", *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert "OSError: the store cannot be opened" in ended.stderr
    assert "Reason: Worker failed to boot." in ended.stderr


def test_a_master_that_can_open_no_file_goes_on_with_what_it_has(tmp_path: Path) -> None:
    """No worker and no writer can be started then; when they can, there are as many as before, and one writer."""
    seeded(tmp_path)
    with serve.service(tmp_path, {"mode": "single_writer", "workers": WORKERS}) as started:
        until_within(PROGRAM_S, lambda: whole(started))
        before = resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE, (NO_MORE, before[1]))
        writer = next(pid for pid in children_of(started.process.pid) if comm(pid) == "ticket-writer")
        for pid in (min(workers_of(started)), writer):
            os.kill(pid, signal.SIGKILL)
        until_within(PROGRAM_S, lambda: said(tmp_path, "a worker could not start ([Errno 24] Too many open files"))
        until_within(PROGRAM_S, lambda: said(tmp_path, "daemon ticket-writer could not start ([Errno 24]"))
        assert look(started.url)["count"] == 10
        resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE, before)
        until_within(PROGRAM_S, lambda: whole(started))
        with Client(started.url) as client:
            client.send()
            assert client.reply()[0] == 201
        assert sorted(comm(pid) for pid in children_of(started.process.pid) if comm(pid) in DAEMONS) == sorted(DAEMONS)
    assert not said(tmp_path, "Unhandled exception")


def test_a_service_that_can_open_no_file_ends_when_it_is_told(tmp_path: Path) -> None:
    """With 0, and all its processes; who waits for a connection just then may be left without an answer."""
    seeded(tmp_path)
    with serve.service(tmp_path, {"mode": "single_writer", "workers": WORKERS}) as started:
        until_within(PROGRAM_S, lambda: whole(started))
        resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE, (NO_MORE, NO_MORE))
        started.process.terminate()
        assert started.process.wait(PROGRAM_S) == 0
        assert alive_of(started.process.pid) == []
    assert said(tmp_path, "turnstile: stopped")
    assert not said(tmp_path, "Traceback")


@pytest.mark.parametrize("files", [200, FILES_MORE])
def test_a_start_with_too_few_files_says_how_many_it_needs(tmp_path: Path, files: int) -> None:
    """One sentence; it would sell to nobody."""
    ended = subprocess.run(
        [
            *("/bin/sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"),
            *(sys.executable, "-m", "service", "--data", str(tmp_path), "--bind", "127.0.0.1:0"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    needed = f"turnstile: a process may have {files} files open here, and a worker needs 328 "
    assert ended.stderr.startswith(needed)
    assert "raise the limit (ulimit -n, LimitNOFILE= in systemd, ulimits in Docker)" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_there_is_room_in_queues_for_all_who_may_be_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the limit that the service has when it sells, not by the lower one that it was started with."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    inside = Settings().threads + Settings().waiting_max
    if 0 <= hard < 4 * inside:
        pytest.skip(f"no more than {hard} files can be opened here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        monkeypatch.setattr(turns, "ROOM", turns.room())
        have_files(Settings())
        assert all(turns.ROOM.acquire(blocking=False) for _ in range(inside))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("program", ["service", "loadtest"])
def test_a_python_without_the_packages_says_what_to_do(program: str) -> None:
    """In one sentence, and not with the exit code of a verdict: -S leaves out what is installed."""
    words = [sys.executable, "-S", "-m", program]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert f"its packages are not here: make setup, then .venv/bin/python -m {program}" in ended.stderr
