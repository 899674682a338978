"""A server as a process of ours: started until it is ready, killed, paused, and ended with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READY_S = 30.0
STOP_S = 10.0
"""How long a server may take to end by itself; past it, it is killed."""
GONE_S = 5.0
POLL_S = 0.02


class Missing(Exception):
    """The server is not installed. The message is one sentence that says how to get it."""


class NotStarted(Exception):
    """The server did not start, or not in time. The message says so in one sentence."""


@dataclass(slots=True, eq=False)
class Process:
    """A server process. ``ready`` tells whether it serves; ``user`` is whom it runs as, if that is not we.

    Its children may have process groups of their own (PostgreSQL's do), so what is done to it is done to its family.
    """

    command: Sequence[str]
    folder: Path
    ready: Callable[[], bool]
    user: str | None = None
    ending: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The process that was started last."""
        return self._started().pid

    def start(self) -> None:
        """Start it, or start it again on what it left, and wait until it is ready. Raises ``NotStarted``."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it without waiting, for servers that become ready together."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  # a server of ours, by its command line
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, **as_user(self.user),
            )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Wait until it serves. Raises ``NotStarted``."""
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if (code := self._started().poll()) is not None:
                raise NotStarted(f"{self._name} ended with {code} instead of starting: {self._last_words()}")
            if time.monotonic() > deadline:
                raise NotStarted(f"{self._name} was not ready within {READY_S:g} s: {self._last_words()}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL it and its children, as a loss of power would, and wait until they are gone."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGSTOP)  # so that it makes no more children while they are counted
        doomed = family(self._process.pid)
        for pid in doomed:
            _send(pid, signal.SIGKILL)
        self._process.wait()
        # A child that is still about to die has the shared memory, and PostgreSQL would not start beside it.
        wait_until_gone(doomed)

    def pause(self) -> None:
        """SIGSTOP it and its children."""
        for pid in family(self.pid):
            _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT them."""
        for pid in family(self.pid):
            _send(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it in order; kill what has not ended by then."""
        if self._process is None or self._process.poll() is not None:
            return
        self.resume()
        self._process.send_signal(self.ending)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self.kill()

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @property
    def _name(self) -> str:
        return Path(self.command[0]).name

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise NotStarted(f"{self._name} was never started")
        return self._process

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def as_user(user: str | None) -> dict[str, Any]:
    """Return what lets ``subprocess`` run as ``user``."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def family(parent: int) -> list[int]:
    """Return a process and all who descend from it, the process first."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            children.setdefault(_fields(path)[1], []).append(int(path.parent.name))
    found = [parent]
    for pid in found:
        found += children.get(pid, [])
    return found


def wait_until_gone(doomed: Sequence[int]) -> None:
    """Return when none of these processes is alive any more, or after ``GONE_S``."""
    deadline = time.monotonic() + GONE_S
    while any(map(_is_alive, doomed)) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _is_alive(pid: int) -> bool:
    try:
        state, _ = _fields(Path(f"/proc/{pid}/stat"))
    except OSError:
        return False
    return state not in {"Z", "X"}


def _fields(path: Path) -> tuple[str, int]:
    """Return a process's state and its parent (proc(5); the name before may have blanks and brackets)."""
    state, parent = path.read_text().rpartition(")")[2].split()[:2]
    return state, int(parent)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
