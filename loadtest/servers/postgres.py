"""A private PostgreSQL: its own cluster, a port on loopback, a password, and fsync on, as it is by default."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.serve import free_port
from loadtest.servers.process import Missing, NotStarted, Process, as_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian puts the servers, a folder for each version, and not in the path."""
USER = "postgres"
"""Whom the server runs as where we are root, for it refuses to run as root; and the database's superuser."""
CONNECTIONS_MAX = 400
"""Enough for three hosts of 64 threads each and as many again."""
COMMAND_S = 60.0


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server."""

    port: int
    password: str
    binaries: Path
    process: Process

    def url(self, name: str) -> str:
        """Make an empty database of this name, which must be new, and return its address."""
        self.psql("postgres", f'CREATE DATABASE "{name}"')
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{name}"

    def psql(self, database: str, statement: str) -> str:
        """Carry out a statement and return the rows it gives, one a line. Raises ``NotStarted`` if it fails."""
        command = [str(self.binaries / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        command += ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return _carried_out(command, {"PGPASSWORD": self.password})

    @property
    def pids(self) -> tuple[int, ...]:
        """The process that all others of the server descend from."""
        return (self.process.pid,)

    def kill(self) -> None:
        """SIGKILL the server and all its children."""
        self.process.kill()

    def start(self) -> None:
        """Start it again on the same data."""
        self.process.start()

    def pause(self) -> None:
        """SIGSTOP the server and all its children."""
        self.process.pause()

    def resume(self) -> None:
        """Let them go on."""
        self.process.resume()


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """Run a server on a fresh cluster until the end. Raises ``Missing`` or ``NotStarted``."""
    programs = binaries()
    user = USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="turnstile-postgres-") as name:
        folder, port, password = Path(name), free_port(), secrets.token_hex(16)
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user, user)
        data = folder / "data"
        _carried_out([
            str(programs / "initdb"), "--no-sync", "-D", str(data), "-U", USER, "--encoding=UTF8", "--no-locale",
            "--auth=scram-sha-256", "--pwfile", str(folder / "password"),
        ], {}, user, folder)  # fmt: skip
        settings = {
            "recovery_init_sync_method": "syncfs",
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": CONNECTIONS_MAX,
        }
        command = [str(programs / "postgres"), "-D", str(data)]
        for setting, value in settings.items():
            command += ["-c", f"{setting}={value}"]
        # SIGTERM would wait for all clients to leave, SIGINT for a checkpoint, and SIGKILL would leave shared memory.
        process = Process(command, folder, partial(_accepts, programs, port), user, signal.SIGQUIT)
        try:
            process.start()
            yield Postgres(port, password, programs, process)
        finally:
            process.stop()


def binaries() -> Path:
    """Return the folder of the newest server that is installed. Raises ``Missing``."""
    found = [path.parent for path in DEBIAN.glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    if (there := shutil.which("postgres")) and shutil.which("initdb"):
        return Path(there).parent
    raise Missing("there is no PostgreSQL server here: apt install postgresql")


def _accepts(programs: Path, port: int) -> bool:
    command = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603  # PostgreSQL's own


def _carried_out(
    command: Sequence[str], environment: dict[str, str], user: str | None = None, folder: Path | None = None
) -> str:
    """Run one of PostgreSQL's programs and return what it prints. Raises ``NotStarted``."""
    ended = subprocess.run(  # noqa: S603  # PostgreSQL's own
        command, cwd=folder, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=COMMAND_S, check=False, **as_user(user),
    )  # fmt: skip
    if ended.returncode:
        lines = ended.stderr.strip().splitlines()
        raise NotStarted(f"{Path(command[0]).name} failed: {lines[-1] if lines else ended.returncode}")
    return str(ended.stdout)
