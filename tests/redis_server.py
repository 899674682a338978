"""A private Redis server for tests: on a port of its own, in a directory of its own, with every change on disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
import redis

from loadtest import serve
from service.stores.keyspace import Keyspace
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOST = "127.0.0.1"
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


class RedisServer:
    """A server that can be killed, paused, and started again on the same data."""

    def __init__(self, folder: Path, **settings: object) -> None:
        """``settings`` are lines of its configuration, with ``_`` for ``-``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.port = serve.free_port()
        named = {"port": self.port, "bind": HOST, "dir": folder, "save": '""', **DURABLE, **settings}
        self._config = "".join(f"{name.replace('_', '-')} {value}\n" for name, value in named.items())
        self._process: subprocess.Popen[bytes] | None = None
        self.serial = itertools.count(1)
        self.client = redis.Redis(HOST, self.port)
        self.start()

    def url(self, prefix: str = "turnstile") -> str:
        """Return what the service takes as its URL."""
        return f"redis://{HOST}:{self.port}/0?prefix={prefix}"

    @property
    def pid(self) -> int:
        """The process of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [shutil.which("redis-server") or "redis-server", "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        assert self._process.stdin
        self._process.stdin.write(self._config.encode())
        self._process.stdin.close()
        until(self.answers)

    def keyspace(self, prefix: str = "turnstile", seeds: Mapping[str, int] | None = None) -> Keyspace:
        """Return a store on it that is prepared and open."""
        store = Keyspace(self.url(prefix), connections_max=1)
        store.prepare(seeds or {})
        store.open()
        return store

    def answers(self) -> bool:
        """Tell whether it has loaded its data and answers."""
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it where it stands."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def running(folder: Path, **settings: object) -> Iterator[RedisServer]:
    """Have a server. Without Redis the test is skipped at home, and fails where ``CI`` is set."""
    if shutil.which("redis-server") is None:
        why = "there is no Redis to sell from: apt install redis-server"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    server = RedisServer(folder, **settings)
    try:
        yield server
    finally:
        server.client.close()
        server.kill()
