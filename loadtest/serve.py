"""Start the service the way a stranger would, on one host or on several: its command line, and a look at /readyz."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from loadtest.servers.process import family, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

READY_S = 30.0
STOP_S = 60.0
"""Above gunicorn's own patience with what is inside, so that a slow stop is still a graceful one."""
POLL_S = 0.05
PORTS = range(20_000, 32_000)
"""Below the ports that the kernel hands out by itself, so that no passing connection takes one."""
PORT_TRIES = 50


class NotServed(Exception):
    """The service did not start or did not answer. The message says why, in one sentence."""


@dataclass(slots=True, eq=False)
class Service:
    """A service that was started; ``process`` is the one that was started last. Its children are in its group."""

    url: str
    token: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def launch(self) -> None:
        """Start it, or start it again with the data that it had, without waiting."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603  # our own service, by its command line
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def start(self) -> None:
        """Start it again, and wait until it is ready. Raises ``NotServed``."""
        self.launch()
        _wait_until_ready(self)

    def pause(self) -> None:
        """SIGSTOP all its processes."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL all its processes, and wait until they are gone: what a child still holds, nobody can start with."""
        doomed = family(self.process.pid)
        self._send(signal.SIGKILL)
        self.process.wait()
        wait_until_gone(doomed)

    def end(self) -> None:
        """Tell it to end gracefully."""
        self.resume()
        self.process.terminate()

    def stop(self) -> str:
        """Wait until one that was told has ended, and end whatever is left of its process group.

        Return what was wrong with its end, in a sentence; nothing if nothing was.
        """
        try:
            code = self.process.wait(STOP_S)
            wrong = f"told to end, it ended with {code}" if code else ""
        except subprocess.TimeoutExpired:
            wrong = f"told to end, it had not ended after {STOP_S:g} s"
        self.kill()
        return wrong

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@contextlib.contextmanager
def service(folder: Path, flags: Mapping[str, object], program: str = "service") -> Iterator[Service]:
    """Run a service with its tickets and its log in ``folder``; nothing of it is left running after.

    ``program`` is the module to run, for a benchmark that serves with something added.
    """
    with services([folder], flags, program) as (only,):
        yield only


@contextlib.contextmanager
def services(
    folders: Sequence[Path], flags: Mapping[str, object], program: str = "service", into: Sequence[str] = ()
) -> Iterator[tuple[Service, ...]]:
    """Run a service in each of ``folders``, as hosts that start at one moment. They have one admin token.

    ``into`` are words before its command, that lead into a file system of its own.
    """
    token = secrets.token_hex(16)
    hosts = tuple(_service(folder, flags, [*into, sys.executable, "-m", program], token) for folder in folders)
    launched: list[Service] = []
    try:
        for host in hosts:
            host.launch()
            launched.append(host)
        for host in hosts:
            _wait_until_ready(host)
        yield hosts
    finally:
        for host in launched:
            host.end()
        for host in launched:
            host.stop()


def _service(folder: Path, flags: Mapping[str, object], command: list[str], token: str) -> Service:
    words = {"data": folder / "data", "harness": "true", **flags}
    url = f"http://127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTILE_")}
    environment["TURNSTILE_ADMIN_TOKEN"] = token
    if engine := words.pop("url", ""):
        environment["TURNSTILE_URL"] = str(engine)  # it may have a password in it, and a command line is seen by all
    for name, value in (words | {"bind": url.removeprefix("http://")}).items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return Service(url, token, command, environment, folder / "service.log")


def refusal(mode: str) -> str:
    """Return why the service does not start in ``mode``, in its own words; nothing if it does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with service(Path(folder), {"mode": mode, "workers": 1}):
                return ""
        except NotServed as error:
            return str(error)


def _wait_until_ready(started: Service) -> None:
    deadline = time.monotonic() + READY_S
    with requests.Session() as session:
        session.trust_env = False
        # Else it stays open after the session too, while an error of an earlier try refers to it, and a stop waits 2 s.
        session.headers["Connection"] = "close"
        while time.monotonic() < deadline:
            if started.process.poll() is not None:
                lines = started.log.read_text(errors="replace").strip().splitlines()
                raise NotServed(f"the service did not start: {lines[-1] if lines else 'it said nothing'}")
            with contextlib.suppress(requests.RequestException):
                if session.get(f"{started.url}/readyz", timeout=1).ok:
                    return
            time.sleep(POLL_S)
    raise NotServed(f"the service was not ready within {READY_S:g} s; its log is {started.log}")


def free_port() -> int:
    """Return a port that no program listens on. Raises ``NotServed``."""
    for port in random.sample(PORTS, PORT_TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NotServed(f"none of {PORT_TRIES} ports tried between {PORTS.start} and {PORTS.stop} is free")


def free_ports(count: int) -> list[int]:
    """Return as many such ports, no two the same, in order. Raises ``NotServed``."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)
