"""Fresh databases for tests: one private server for each engine, started when it is first asked for."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from loadtest.servers import etcd, postgres, redis
from loadtest.servers.process import Missing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    Server = postgres.Postgres | redis.Redis | etcd.Etcd

RUNNING: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "postgresql": postgres.running,
    "redis": redis.running,
    "etcd": etcd.running,
}


class Databases:
    """What gives addresses. Servers run until ``close``; SQLite needs none, but a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, Server] = {}
        self._number = itertools.count(1)

    def fresh(self, scheme: str) -> str:
        """Return the address of a fresh, empty database. Without its server, skip at home, and fail where CI is set."""
        name = f"tickets-{next(self._number)}"
        if scheme == "sqlite":
            return f"sqlite:///{self._folder}/{name}.db"
        if scheme not in self._servers:
            try:
                self._servers[scheme] = self._stack.enter_context(RUNNING[scheme]())
            except Missing as error:
                missing(error)
        return self._servers[scheme].url(name)

    def close(self) -> None:
        """End all servers."""
        self._stack.close()


def missing(error: Missing) -> None:
    """Skip at home, and fail where CI is set."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))
