"""Several services on one directory, as containers on one volume: of one mode, whose lock is a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from loadtest.history import host_of, worker_of
from service import catalogue, settings
from service.settings import WrongSetting
from service.stores import claim, recovery
from service.stores.replay import Refused
from tests.counter import ON_FILES, Counter, buying, sell
from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.serve import Service
    from service.stores.claim import Claimed

OURS = "services in mode file_lock that share it"


def shared(directory: Path, owner: str = OURS) -> Claimed:
    return recovery.prepare(directory, owner, shared=True)


@pytest.fixture
def two(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Service, ...]]:
    """Two services that share one directory."""
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "default.json").write_text('{"count": 100000}')
    flags = {"mode": request.param, "workers": 2, "threads": 4, "data": tmp_path / "data", "shared": "true"}
    with serve.services(homes, flags) as services:
        yield services


@pytest.mark.parametrize("two", catalogue.SHARED, indirect=True)
def test_services_that_share_sell_each_ticket_once(two: tuple[Service, ...], tmp_path: Path) -> None:
    """Each load test sees the other's sales as a stranger's; the journal has all, each version and each ticket once."""
    first, second = two
    tests = [
        subprocess.Popen(
            [sys.executable, "-m", "loadtest", "run", each.url, "--shape", "flash-sale", "--seconds", "1.5", "--runs",
             str(tmp_path / "runs" / str(number)), "--quiet", "--clients", "4", "--processes", "1"],
            stdout=subprocess.PIPE,
        )
        for number, each in enumerate(two)
    ]  # fmt: skip
    for test in tests:
        test.communicate(timeout=PROGRAM_S)
    with requests.Session() as http:
        http.headers["Connection"] = "close"
        seen = [http.get(f"{each.url}/tickets", timeout=PROGRAM_S).json() for each in (first, second)]
        assert seen[0] == seen[1]
        token = {"Authorization": f"Bearer {first.token}"}
        lines = http.get(f"{second.url}/events/default/journal", headers=token, timeout=PROGRAM_S).text.splitlines()
    assert [int(line.partition('"version":')[2].partition(",")[0]) for line in lines] == list(range(1, len(lines) + 1))
    ended = subprocess.run(
        [sys.executable, "-m", "service", "verify", str(tmp_path / "data")], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "1 event, nothing is wrong\n")
    assert seen[0]["version"] == len(lines) > 20


@pytest.mark.parametrize("two", ["group_commit"], indirect=True)
def test_one_that_is_killed_holds_up_nobody_and_joins_again(two: tuple[Service, ...]) -> None:
    """The kernel frees what it held; started again, it finds the other's sales, and recovers nothing."""
    first, second = two
    with requests.Session() as http:
        http.headers["Connection"] = "close"
        for quantity in (1, 2):
            assert http.post(f"{first.url}/buy", json={"quantity": quantity}, timeout=PROGRAM_S).status_code == 201
        first.kill()
        assert http.post(f"{second.url}/buy", json={"quantity": 3}, timeout=PROGRAM_S).json()["tickets"] == [4, 5, 6]
        first.start()
        assert http.post(f"{first.url}/buy", json={"quantity": 1}, timeout=PROGRAM_S).json()["tickets"] == [7]


@pytest.mark.parametrize("mode", [name for name in ON_FILES if name not in catalogue.SHARED])
def test_a_mode_whose_lock_is_no_file_cannot_share(mode: str) -> None:
    """It would keep its own workers apart, and not those of the others."""
    given = settings.load({"TURNSTILE_SHARED": "true", "TURNSTILE_MODE": mode}, {})
    with pytest.raises(
        WrongSetting, match=rf"--shared .* expected false in the mode {mode}; on files, one of file_lock"
    ):
        catalogue.chosen(given)


def test_what_makes_no_sense_with_sharing_is_refused() -> None:
    """An engine is shared anyway; who joins cannot read strictly what others are writing."""
    with pytest.raises(WrongSetting, match=r"false with an address, for engines are shared anyway"):
        catalogue.chosen(settings.load({"TURNSTILE_SHARED": "true", "TURNSTILE_URL": "sqlite:///t.db"}, {}))
    with pytest.raises(WrongSetting, match=r"--verify .* false with --shared true: python -m service verify reads"):
        catalogue.chosen(settings.load({"TURNSTILE_SHARED": "true", "TURNSTILE_VERIFY": "true"}, {}))


def test_who_shares_and_who_does_not_keep_each_other_out(counter: Counter) -> None:
    """Also those of another mode: its lock would be another file, or another way to take it."""
    alone = recovery.prepare(counter.directory, "a service in mode file_lock (process 7)")
    with pytest.raises(Refused, match=r"is in use by a service in mode file_lock \(process 7\): stop it"):
        shared(counter.directory)
    alone.free()
    first, second = shared(counter.directory), shared(counter.directory)
    for owner, together in (("another", False), (OURS.replace("file_lock", "lease"), True)):
        with pytest.raises(Refused, match="is in use by services in mode file_lock that share it: stop it"):
            recovery.prepare(counter.directory, owner, shared=together)
    first.free()
    with pytest.raises(Refused, match="in use by services"):
        recovery.prepare(counter.directory, "another")
    second.free()
    recovery.prepare(counter.directory, "another").free()


def test_only_the_first_makes_whole_what_a_crash_left(counter: Counter) -> None:
    """Half a line may be one that somebody is writing: who joins leaves it, and who is alone again cuts it off."""
    sell(counter.opened("file_lock"))
    counter.close()
    journal = counter.directory / "default.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"version":2,"ord')
    first = shared(counter.directory)
    assert (first.first, journal.read_bytes()) == (True, whole)
    journal.write_bytes(whole + b'{"version":2,"ord')
    second = shared(counter.directory)
    assert (second.first, second.mended, journal.read_bytes()) == (False, [], whole + b'{"version":2,"ord')
    first.free()
    second.free()
    third = shared(counter.directory)
    assert (third.first, journal.read_bytes()) == (True, whole)
    third.free()


def test_who_joins_holds_the_journal_to_its_document(counter: Counter) -> None:
    """As a start does that believes a document: a line that is damaged since is no line that was never written."""
    mode = counter.opened("file_lock")
    for _ in range(3):
        sell(mode)
    counter.close()
    first = shared(counter.directory)
    journal = counter.directory / "default.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))
    second = shared(counter.directory)
    mode = counter.joined("file_lock")
    mode.store.believed = second.believed  # type: ignore[attr-defined]  # as catalogue.build does
    with pytest.raises(Exception, match="do not give what its document says"):
        mode.execute(buying())
    first.free()
    second.free()


def test_a_start_waits_at_the_door_and_not_for_ever(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """One who starts may be in the middle of recovery, and nobody joins that."""
    monkeypatch.setattr(claim, "DOOR_S", 0.0)
    shared(counter.directory).free()
    descriptor = os.open(counter.directory / "service.door", os.O_RDWR)
    with contextlib.closing(os.fdopen(descriptor)):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(Refused, match=r"another service has been starting on data directory .* for 0 s: look what"):
            shared(counter.directory)
    shared(counter.directory).free()


def test_who_answered_is_known_by_its_host_too() -> None:
    """In two containers, processes have the same numbers."""
    assert worker_of({"Turnstile-Host": "web-1", "Turnstile-Worker": "7"}) == "web-1/7"
    assert host_of("web-1/7") == "web-1"
    assert (worker_of({"Turnstile-Worker": "7"}), host_of("7"), worker_of({})) == ("7", "", "")
