"""The engines of a run: which one a mode needs, by the service's own word, and a fresh database of it for each slice.

A private server of each engine that is needed is started once. Where the address of a running one is given, it is used
as it is: each slice then sells from an event of its own, for there may be others there.
"""

from __future__ import annotations

import itertools
import json
import secrets
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.serve import NotServed
from loadtest.servers import etcd, postgres, redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    Server = postgres.Postgres | redis.Redis | etcd.Etcd

RUNNING: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "postgresql": postgres.running,
    "redis": redis.running,
    "etcd": etcd.running,
}
FOUND: dict[str, Callable[[], object]] = {
    "postgresql": postgres.binaries,
    "redis": redis.program,
    "etcd": etcd.program,
}
"""What raises ``Missing`` where there is no server to start."""
LIST_S = 60.0
EVENT = "default"
EVENT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Database:
    """Where the tickets of a slice are kept: the address for the service (none: its own files), and the event's name.

    ``servers`` are the processes of a private server, whose processor time is nobody else's.
    """

    engine: str = ""
    url: str = ""
    event: str = EVENT
    servers: tuple[int, ...] = ()


FILES = Database()


def listed() -> dict[str, str]:
    """Return the engine that each mode needs (none: files), as the service says. Raises ``NotServed``."""
    command = [sys.executable, "-m", "service", "--list"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIST_S, check=False)  # noqa: S603  # our own service
    try:
        rows = [json.loads(line) for line in ended.stdout.splitlines()]
        return {row["mode"]: row["engine"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise NotServed(f"the service does not say which modes it has: {said[-1] if said else 'nothing'}") from error


def check(schemes: Iterable[str]) -> None:
    """Raise ``Missing`` if a private server is needed that is not installed."""
    for scheme in schemes:
        if scheme in FOUND:
            FOUND[scheme]()


class Engines:
    """What gives each slice its database."""

    def __init__(self, needed: Mapping[str, str], servers: Mapping[str, Server], given: str) -> None:
        self._needed = needed
        self._servers = servers
        self._given = given
        self._number = itertools.count(1)

    def fresh(self, mode: str, place: Path) -> Database:
        """Return a fresh database for ``mode``, whose slice is left in ``place``. Raises ``NotStarted``."""
        engine = self._needed.get(mode, "")
        name = f"slice-{next(self._number)}"
        if not engine:
            return FILES
        if self._given:
            return Database(engine, self._given, f"loadtest-{secrets.token_hex(EVENT_BYTES)}")
        if engine not in self._servers:
            return Database(engine, f"{engine}:///{place.resolve()}/tickets.db")
        server = self._servers[engine]
        return Database(engine, server.url(name), EVENT, server.pids)


@contextmanager
def running(needed: Mapping[str, str], given: str = "") -> Iterator[Engines]:
    """Run private servers of the engines that modes need (by their names), unless an address is given.

    Raises ``Missing`` or ``NotStarted``.
    """
    with ExitStack() as stack:
        wanted = [scheme for scheme in RUNNING if scheme in needed.values() and not given]
        servers = {scheme: stack.enter_context(RUNNING[scheme]()) for scheme in wanted}
        yield Engines(needed, servers, given)
