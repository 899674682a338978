"""Fresh databases for tests: one private server for each engine, started when it is first asked for.

Processes that test side by side share the servers: twelve nodes of etcd would beat their hearts through the whole run.
So these belong to a process of their own, ``python -m tests.databases FOLDER``, which gives out addresses over a socket
in that folder, and ends with the last of those that ask.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtest.servers import etcd, postgres, redis
from loadtest.servers.process import Missing, NotStarted
from service.flock import flock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Server = postgres.Postgres | redis.Redis | etcd.Etcd

RUNNING: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "postgresql": postgres.running,
    "redis": redis.running,
    "etcd": etcd.running,
}
ROOT = Path(__file__).parent.parent
ANSWER_S = 100.0
"""How long an address may take: a cluster is started for the first one."""
READY = b"ready\n"
FILES = itertools.count(1)


class Databases:
    """What gives addresses to one process that tests. Servers run until all such have called ``close``, or ended."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the same for all who shall share the servers."""
        self._folder = folder
        self._line: Connection | None = None

    def fresh(self, scheme: str) -> str:
        """Return the address of a fresh, empty database. Without its server, skip at home, and fail where CI is set."""
        if scheme == "sqlite":
            return f"sqlite:///{self._folder}/tickets-{os.getpid()}-{next(FILES)}.db"
        if self._line is None:
            self._line = _line(self._folder)
        self._line.send(scheme)
        assert self._line.poll(ANSWER_S)
        told = self._line.recv()
        if isinstance(told, Missing):
            missing(told)
        if isinstance(told, NotStarted):
            raise told
        return str(told)

    def close(self) -> None:
        """Need no server any more."""
        if self._line is not None:
            self._line.close()


def missing(error: Missing) -> None:
    """Skip at home, and fail where CI is set."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))


def _line(folder: Path) -> Connection:
    """Return a line to the process that has the servers, which is started if there is none."""
    with flock(folder / "databases.lock", wait=True):
        try:
            return _called(folder)
        except OSError:  # nobody has started it, or it has ended
            command = [sys.executable, "-m", "tests.databases", str(folder)]
            with (folder / "databases.log").open("ab") as log:
                process = subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                    start_new_session=True,  # else Ctrl-C would end it before those who need it
                )  # fmt: skip
            assert process.stdout is not None
            with process.stdout:
                assert process.stdout.readline() == READY, (folder / "databases.log").read_text()
            process.returncode = 0  # it outlives us where others need it, so nobody waits for it here
            return _called(folder)


def _called(folder: Path) -> Connection:
    caller = socket.socket(socket.AF_UNIX)
    try:
        caller.connect(str(folder / "databases"))
    except OSError:
        caller.close()
        raise
    return Connection(caller.detach())


def serve(folder: Path) -> None:
    """Give out addresses, until nobody who may ask is left."""
    with contextlib.ExitStack() as stack, socket.socket(socket.AF_UNIX) as door:
        servers: dict[str, Server] = {}
        name = folder / "databases"
        name.unlink(missing_ok=True)
        door.bind(str(name))
        door.listen()
        os.write(sys.stdout.fileno(), READY)
        lines: list[Connection] = []
        numbers = itertools.count(1)
        while True:
            for ready in wait([door, *lines], None if lines else ANSWER_S):
                if ready is door:
                    lines.append(Connection(door.accept()[0].detach()))
                    continue
                assert isinstance(ready, Connection)
                try:
                    ready.send(_address(stack, servers, ready.recv(), f"tickets-{next(numbers)}"))
                except (EOFError, OSError):
                    lines.remove(ready)
                    ready.close()
            if not lines:
                with flock(folder / "databases.lock", wait=True):  # whoever calls meanwhile is heard, or starts another
                    if not wait([door], 0):
                        name.unlink()
                        break


def _address(
    stack: contextlib.ExitStack, servers: dict[str, Server], scheme: str, name: str
) -> str | Missing | NotStarted:
    try:
        if scheme not in servers:
            servers[scheme] = stack.enter_context(RUNNING[scheme]())
        return servers[scheme].url(name)
    except (Missing, NotStarted) as error:
        return error


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
