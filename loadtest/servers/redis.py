"""A private Redis that is on disk before it answers (``appendfsync always``), with a replica where one is wanted."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.serve import free_port
from loadtest.servers.process import Missing, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("redis-server", "valkey-server")
REPLY_S = 5.0
REPLY_BYTES = 65_536
"""The longest reply that is read: those that are asked for here are short."""


@dataclass(frozen=True, slots=True)
class Redis:
    """A running server."""

    port: int
    process: Process

    def url(self, name: str) -> str:
        """Return the address of an empty database of this name, which must be new: a prefix of all its keys."""
        return f"redis://127.0.0.1:{self.port}/0?prefix={name}"

    def ask(self, command: str) -> str:
        """Send one command of plain words and return its reply as it comes. Raises ``OSError``."""
        with socket.create_connection(("127.0.0.1", self.port), REPLY_S) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(REPLY_BYTES).decode(errors="replace")

    def promote(self) -> None:
        """Make a replica a primary of its own, with what has reached it."""
        self.ask("REPLICAOF NO ONE")

    @property
    def pids(self) -> tuple[int, ...]:
        """The server's process."""
        return (self.process.pid,)

    def kill(self) -> None:
        """SIGKILL the server."""
        self.process.kill()

    def start(self) -> None:
        """Start it again on the same data."""
        self.process.start()

    def pause(self) -> None:
        """SIGSTOP the server."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.process.resume()


@contextlib.contextmanager
def running(primary: Redis | None = None) -> Iterator[Redis]:
    """Run a server without data until the end, or a replica of ``primary`` that has caught up. Raises ``Missing``."""
    found = program()
    with tempfile.TemporaryDirectory(prefix="turnstile-redis-") as name:
        folder, port = Path(name), free_port()
        command = [found, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        if primary:
            # Without a delay the primary would wait five seconds for other replicas before it sends the first its data.
            command += ["--replicaof", "127.0.0.1", str(primary.port)]
            primary.ask("CONFIG SET repl-diskless-sync-delay 0")
        # SIGKILL, for SIGTERM is refused, and forgotten, while it writes its first file.
        process = Process(command, folder, partial(_serves, port, replica=primary is not None), ending=signal.SIGKILL)
        try:
            process.start()
            yield Redis(port, process)
        finally:
            process.stop()


def program() -> str:
    """Return the server that is installed. Raises ``Missing``."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise Missing("there is no Redis server here: apt install redis-server")
    return found


def _serves(port: int, *, replica: bool) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), REPLY_S) as connection:
            connection.sendall(b"INFO replication\r\n" if replica else b"PING\r\n")
            reply = connection.recv(REPLY_BYTES)
    except OSError:
        return False
    return b"master_link_status:up" in reply if replica else reply == b"+PONG\r\n"
