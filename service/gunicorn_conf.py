"""How gunicorn runs the service: its workers, and the daemons that a mode needs beside them.

gunicorn has processes of its own for state beside the workers (``gunicorn.dirty``). They are not used: an order would
go alone from the worker through a second arbiter to a process of its pool, in asyncio with a codec of its own at both
hops, so what waits could not be handed over as one batch; and it takes two more processes where one will do.
"""

from __future__ import annotations

import math
import resource
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from service.daemon import END_S
from service.engines import shown
from service.worker import ENDING, Worker

if TYPE_CHECKING:
    import socket

    import flask

    from service.daemon import Daemon
    from service.mode import Mode
    from service.settings import Settings

KEEPALIVE_S = 10
"""How long a connection may be idle between two requests."""
CONNECTIONS_MORE = 1000
FILES_MORE = 256
"""Open files that are no connections: journals, locks, pipes."""
REQUEST_LINE_BYTES_MAX, HEADERS_MAX, HEADER_BYTES_MAX = 2048, 64, 4096


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """A gunicorn that serves ``app`` on a socket that is bound already.

    App and mode are made before it forks: a lock that all workers shall share must exist by then.
    """

    def __init__(
        self, app: flask.Flask, mode: Mode, settings: Settings, bound: socket.socket, daemons: tuple[Daemon, ...]
    ) -> None:
        self._app = app
        self._daemons = daemons
        self._options = options(mode, settings, bound, daemons)
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> flask.Flask:
        return self._app

    def run(self) -> None:
        Keeper(self, self._daemons).run()


class Keeper(Arbiter):  # type: ignore[misc]  # as above
    """gunicorn's master, which also keeps the daemons running: started before the workers, and ended after them."""

    def __init__(self, server: Server, daemons: tuple[Daemon, ...]) -> None:
        self._daemons = daemons
        super().__init__(server)

    def spawn_worker(self) -> int:
        """Start a worker, with the signals that end one held back until it has handlers of its own (``worker.py``).

        Until then it has the master's, which keep a signal for a loop that the worker never comes to: a service that
        was stopped just after its start waited for such a worker, and then killed it.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            pid: int = super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def manage_workers(self) -> None:
        self._keep_daemons()  # at the start, after each signal (that a child has ended is one), and once a second
        super().manage_workers()

    def reap_workers(self) -> None:
        super().reap_workers()
        self._keep_daemons()  # also while the workers end: they may have orders left

    def _keep_daemons(self) -> None:
        for daemon in self._daemons:
            before = daemon.pid
            if daemon.keep(partial(self._let_go, daemon)) and before:
                self.log.error("daemon %s (pid: %s) has died; pid %s follows it", daemon.name, before, daemon.pid)

    def _let_go(self, daemon: Daemon) -> None:
        """Close, in a daemon, what it must not hold: with the port in its hand, no service could follow this one.

        And two daemons that held each other's lifeline would never end.
        """
        for other in self._daemons:
            if other is not daemon:
                other.let_go()
        for listener in self.LISTENERS:
            listener.close()
        for worker in self.WORKERS.values():
            worker.tmp.close()


def options(mode: Mode, settings: Settings, bound: socket.socket, daemons: tuple[Daemon, ...]) -> dict[str, Any]:
    """Return gunicorn's settings."""

    def post_fork(_server: object, _worker: object) -> None:
        mode.open()

    host, port = bound.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def when_ready(_server: object) -> None:
        sys.stderr.write(
            f"turnstile: selling on {url} in mode {mode.name}, {settings.workers} x {settings.threads} "
            f"workers x threads, tickets in {shown(settings.url) or settings.data}\n"
        )

    def on_exit(_server: object) -> None:
        for daemon in daemons:
            if not daemon.end():
                sys.stderr.write(f"turnstile: {daemon.name} did not end within {END_S:g} s, so it was killed\n")
        sys.stderr.write("turnstile: stopped\n")

    class Configured(Worker):
        """What a worker is told of the settings: gunicorn hands it no others than its own."""

        inside_max = settings.threads + settings.waiting_max
        wait_s = settings.wait_s

    return {
        "bind": f"fd://{bound.detach()}",  # gunicorn closes it: from here on the socket is its own
        "workers": settings.workers,
        "threads": settings.threads,
        "worker_class": Configured,
        # Connections beyond what may be inside, so that there is somebody to be told that it is full.
        "worker_connections": min(2 * Configured.inside_max + CONNECTIONS_MORE, _files_max() - FILES_MORE),
        "keepalive": KEEPALIVE_S,
        "limit_request_line": REQUEST_LINE_BYTES_MAX,
        "limit_request_fields": HEADERS_MAX,
        "limit_request_field_size": HEADER_BYTES_MAX,
        # gunicorn lets clients on this machine, such as a proxy, say another path in SCRIPT_NAME. A proxy that hands on
        # what its clients send would let them choose another route than it has checked, or get a 500.
        "forwarder_headers": "",
        "post_fork": post_fork,
        "when_ready": when_ready,
        "on_exit": on_exit,
        "loglevel": "warning",
        # One control socket a user is gunicorn's default; a second service would find it taken.
        "control_socket_disable": True,
        # A stopping worker may still wait for the lock; past this it is killed.
        "graceful_timeout": math.ceil(settings.wait_s + settings.think_s) + 5,
    }


def _files_max() -> int:
    """Return how many files a process may have open, after asking for as many as it may ask for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else sys.maxsize
