"""The real service, forked from a server that has imported it already: one that is killed again and again must start
fast. From there on it is ``python -m service``: the same command line, the same gunicorn, a session of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import secrets
import signal
import socket
import sys
from typing import TYPE_CHECKING

from loadtest import serve
from service.__main__ import main
from tests.processes import alive_of, children_of, comm, holds, listening
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["tests.forked_service", "gunicorn.arbiter", "gunicorn.workers.gthread"])
HOST = "127.0.0.1"
WORKERS = 2
WRITER = "ticket-writer"
WRITERS = {"single_writer": 1}
"""How many processes that write a mode has beside its workers; all others have none."""


def be_service(words: list[str], token: str, log: Path, plant: Callable[[], None] | None) -> None:
    """Become the service; ``plant`` may break something in it first."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    for name in [name for name in os.environ if name.startswith("TURNSTILE_")]:
        del os.environ[name]
    os.environ["TURNSTILE_ADMIN_TOKEN"] = token
    sys.argv = ["service", *words]
    if plant is not None:
        plant()
    main()


class Forked:
    """A service that can be started again on the same data, at the same address."""

    def __init__(
        self, folder: Path, mode: str, tickets: int, plant: Callable[[], None] | None, **flags: object
    ) -> None:
        self.data, self.log = folder / "data", folder / "service.log"
        self.data.mkdir(mode=0o700, parents=True)
        (self.data / "default.json").write_text(f'{{"count": {tickets}}}')
        self._port = serve.free_port()
        self.url, self.token = f"http://{HOST}:{self._port}", secrets.token_hex(16)
        named = {"mode": mode, "data": self.data, "bind": f"{HOST}:{self._port}", "workers": WORKERS, "threads": 4}
        named |= {"harness": "true", **flags}
        self.on_files = "url" not in named
        self._words = [f"--{name.replace('_', '-')}={value}" for name, value in named.items()]
        self._beside = named["workers"], WRITERS.get(mode, 0)
        self._plant = plant
        self._process: ForkServerProcess | None = None

    @property
    def master(self) -> int:
        """The process of gunicorn's master, and the group of all of them."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def begin(self) -> ForkServerProcess:
        """Start it, and return its master, which may not have come far yet."""
        self._process = FORK_SERVER.Process(target=be_service, args=(self._words, self.token, self.log, self._plant))
        self._process.start()
        return self._process

    def start(self) -> None:
        """Start it, and wait until it listens. Raises ``NotServed`` when it ends instead."""
        master = self.begin()
        until(lambda: self._answers() or master.exitcode is not None)
        if master.exitcode is not None:
            raise serve.NotServed(f"it ended with {master.exitcode}: {self.log.read_text().splitlines()[-1:]}")
        self._socket = listening(self._port)

    def whole(self) -> tuple[list[int], list[int]]:
        """Return its workers and its writers, once there are as many of them as there shall be."""
        found: tuple[list[int], list[int]] = ([], [])

        def complete() -> bool:
            nonlocal found
            children = children_of(self.master)
            workers = [pid for pid in children if holds(pid, self._socket)]
            found = workers, [pid for pid in children if comm(pid) == WRITER]
            return (len(found[0]), len(found[1])) == self._beside

        until(complete)
        return found

    def gone(self) -> None:
        """Wait until no process of it is left, and its data are free for the next one."""
        until(lambda: not alive_of(self.master) and self._free() and not self._answers())

    def stop(self) -> int | None:
        """End it gracefully, and return the exit code; ``None``: it had to be killed."""
        assert self._process is not None
        os.kill(self.master, signal.SIGTERM)
        self._process.join(serve.STOP_S)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill all of it, also when it has just been started and leads no group yet."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.master, signal.SIGKILL)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._port)) == 0

    def _free(self) -> bool:
        if not self.on_files:
            return True
        with (self.data / "service.lock").open("rb") as claim:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True
