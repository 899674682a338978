"""The process beside the workers: begun once, begun again when it has died, and ended with those it serves."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import pytest

from service import daemon
from service.daemon import FOR_THE_MASTER, STARTS_MAX, Daemon
from tests.processes import comm, state
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator


class Told:
    """A pipe on which a daemon says what it does; at its end when no daemon is left."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def say(self, word: str) -> None:
        os.write(self.writer, f"{word}\n".encode())

    def heard(self) -> str:
        """Return the next word, or nothing at the end."""
        assert wait([self.reader], PATIENCE_S)
        word = b""
        while not word.endswith(b"\n") and (read := os.read(self.reader, 1)):
            word += read
        return word.decode().strip()


def ended(pid: int) -> None:
    """Wait until a process has ended with all its threads. Its first one may have before the others."""
    with contextlib.suppress(ProcessLookupError):  # somebody else has reaped it
        process = os.pidfd_open(pid)
        assert wait([process], PATIENCE_S)
        os.close(process)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    os.close(made.reader)
    os.close(made.writer)


def test_it_is_started_once_and_again_when_it_has_died(told: Told) -> None:
    """However it died, and whether or not somebody else has reaped it, as gunicorn does."""

    def run(lifeline: int) -> None:
        told.say(str(os.getpid()))
        wait([lifeline])

    beside = Daemon("a-daemon", run)
    assert beside.pid == 0
    pids = []
    for reaped in (False, True, False):
        assert beside.keep()
        assert not beside.keep()
        pids.append(beside.pid)
        assert told.heard() == str(beside.pid)
        assert comm(beside.pid) == "a-daemon"
        os.kill(beside.pid, signal.SIGKILL)
        if reaped:
            os.waitpid(beside.pid, 0)
        ended(beside.pid)
    assert len(set(pids)) == 3
    assert beside.end()


def test_one_that_dies_again_and_again_is_not_started_without_end() -> None:
    """``STARTS_MAX`` times in ``STARTS_S`` seconds, and then not, until the first of them is so long ago."""
    starts = 0

    def run(_lifeline: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    beside = Daemon("dies", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemon, "STARTS_S", 3600.0)
        for _ in range(STARTS_MAX):
            assert beside.keep()
            ended(beside.pid)
            starts += 1
        assert not beside.keep()
        patch.setattr(daemon, "STARTS_S", 0.0)
        assert beside.keep()
    assert starts == STARTS_MAX
    beside.end()


def test_it_says_since_when_it_has_been_at_what_it_is_at(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is at nothing moves again and again; one that is stopped does not, and can be killed."""
    monkeypatch.setattr(daemon, "KILL_S", PATIENCE_S)

    def run(lifeline: int) -> None:
        told.say("begun")
        wait([lifeline])

    beside = Daemon("moves", run)
    assert not beside.kill()
    assert beside.keep()
    assert told.heard() == "begun"
    begun = beside.moved_at()
    deadline = time.monotonic() + PATIENCE_S
    while beside.moved_at() <= begun + daemon.BEAT_S:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(beside.pid, signal.SIGSTOP)
    assert beside.kill()
    assert beside.keep()
    assert beside.moved_at() > begun
    assert beside.end()


def test_the_sentinel_ends_it_after_what_it_was_doing(told: Told) -> None:
    """It is told, not torn away: what it does last is still done. What the master had to clean up is not."""

    def run(lifeline: int) -> None:
        told.say("begun")
        wait([lifeline])
        told.say("done")

    beside = Daemon("ends", run)
    try:
        assert beside.keep()
        assert told.heard() == "begun"
        assert beside.end()
    finally:
        told.say(f"cleaned up in {os.getpid()}")
    assert told.heard() == "done"
    assert told.heard() == f"cleaned up in {os.getpid()}"


def test_one_that_does_not_end_is_killed(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is paused."""
    monkeypatch.setattr(daemon, "END_S", 0.1)

    def run(lifeline: int) -> None:
        wait([lifeline])
        told.say("paused")
        os.kill(os.getpid(), signal.SIGSTOP)

    beside = Daemon("stays", run)
    assert beside.keep()
    pid = beside.pid
    assert not beside.end()
    ended(pid)
    assert state(pid) in {"", "Z"}  # on a busy machine it ends later than it is waited for


def test_it_outlives_the_signals_that_are_sent_to_all(told: Told) -> None:
    """SIGTERM and SIGINT end the workers first; the daemon still has their orders to do."""

    def run(lifeline: int) -> None:
        told.say("ready")
        wait([lifeline])
        told.say("sentinel")

    beside = Daemon("outlives", run)
    assert beside.keep()
    assert told.heard() == "ready"
    for number in FOR_THE_MASTER:
        os.kill(beside.pid, number)
    assert beside.end()
    assert told.heard() == "sentinel"


def test_the_handlers_of_the_master_do_not_run_in_it(told: Told) -> None:
    """They would put a signal into gunicorn's queue, which nobody reads here."""
    before = signal.signal(signal.SIGALRM, lambda *_: told.say("the master's handler"))

    def run(lifeline: int) -> None:
        told.say("default" if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL else "inherited")
        wait([lifeline])

    beside = Daemon("handles", run)
    try:
        assert beside.keep()
        assert told.heard() == "default"
        assert beside.end()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_it_ends_when_all_it_serves_are_gone_and_not_before(told: Told) -> None:
    """SIGKILL of the master: nobody sends a sentinel. The daemon goes on while a worker lives, and ends after it."""

    def run(lifeline: int) -> None:
        told.say("begun")
        wait([lifeline])
        told.say("gone")

    reader, writer = os.pipe()
    master = os.fork()
    if master == 0:
        beside = Daemon("left", run)
        beside.keep()
        worker = os.fork()
        if worker == 0:
            signal.pause()
        os.write(writer, f"{worker} {beside.pid}\n".encode())
        signal.pause()
    worker, left = (os.pidfd_open(int(pid)) for pid in os.read(reader, 100).split())
    try:
        assert told.heard() == "begun"
        os.kill(master, signal.SIGKILL)
        os.waitpid(master, 0)
        assert not wait([told.reader], 0.2)
        signal.pidfd_send_signal(worker, signal.SIGKILL)
        assert told.heard() == "gone"
    finally:
        for process in (worker, left):
            with contextlib.suppress(ProcessLookupError):  # it has ended, as it should
                signal.pidfd_send_signal(process, signal.SIGKILL)
        for descriptor in (worker, left, reader, writer):
            os.close(descriptor)


def test_it_does_not_run_what_the_master_must_let_go_of_after_it_has_begun(told: Told) -> None:
    """``let_go`` comes first, in the daemon and not in the master; one that fails shows, and does not run."""

    def run(lifeline: int) -> None:
        told.say("ran")
        wait([lifeline])

    def fail() -> None:
        told.say("let go")
        raise OSError("cannot let go")

    beside = Daemon("lets-go", run)
    assert beside.keep(fail)
    assert told.heard() == "let go"
    ended(beside.pid)
    assert beside.keep(lambda: told.say("let go"))
    assert [told.heard(), told.heard()] == ["let go", "ran"]
    assert beside.end()
