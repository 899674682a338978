"""Start the service the way a stranger would: a subprocess, its command line, and a look at /readyz."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_S = 30.0
STOP_S = 60.0
"""Above gunicorn's own patience with what is inside, so that a slow stop is still a graceful one."""
POLL_S = 0.05
PORTS = range(20_000, 32_000)
"""Below the ports that the kernel hands out by itself, so that no passing connection takes one."""
PORT_TRIES = 50


class NotServed(Exception):
    """The service did not start or did not answer. The message says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    url: str
    token: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def service(folder: Path, flags: dict[str, object], program: str = "service") -> Iterator[Service]:
    """Run a service with its tickets and its log in ``folder``; nothing of it is left running after.

    ``program`` is the module to run, for a benchmark that serves with something added.
    """
    port, token = free_port(), secrets.token_hex(16)
    words = {"data": folder / "data", "harness": "true", **flags, "bind": f"127.0.0.1:{port}"}
    command = [sys.executable, "-m", program]
    for name, value in words.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTILE_")}
    environment["TURNSTILE_ADMIN_TOKEN"] = token
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own service, by its command line
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            started = Service(f"http://127.0.0.1:{port}", token, process)
            _wait_until_ready(started, log)
            yield started
        finally:
            _stop(process)


def refusal(mode: str) -> str:
    """Return why the service does not start in ``mode``, in its own words; nothing if it does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with service(Path(folder), {"mode": mode, "workers": 1}):
                return ""
        except NotServed as error:
            return str(error)


def _wait_until_ready(started: Service, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < deadline:
            if started.process.poll() is not None:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise NotServed(f"the service did not start: {lines[-1] if lines else 'it said nothing'}")
            with contextlib.suppress(requests.RequestException):
                if session.get(f"{started.url}/readyz", timeout=1).ok:
                    return
            time.sleep(POLL_S)
    raise NotServed(f"the service was not ready within {READY_S:g} s; its log is {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the service gracefully, then whatever is left of its process group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return a port that no program listens on. Raises ``NotServed``."""
    for port in random.sample(PORTS, PORT_TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NotServed(f"none of {PORT_TRIES} ports tried between {PORTS.start} and {PORTS.stop} is free")
