"""How gunicorn runs the service: with which worker, and with which bounds. Its master is in ``keeper.py``.

gunicorn has processes of its own for state beside the workers (``gunicorn.dirty``). They are not used: an order would
go alone from the worker through a second arbiter to a process of its pool, in asyncio with a codec of its own at both
hops, so what waits could not be handed over as one batch; and it takes two more processes where one will do.
"""

from __future__ import annotations

import math
import resource
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from service import bounds, logs, turns, watch
from service.access import Access
from service.admission import WAITING_MIN, Door
from service.daemon import END_S
from service.engines import shown
from service.keeper import Keeper
from service.mode import end_of
from service.settings import WrongSetting
from service.worker import Worker

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
UMASK = 0o077
"""All files of the service, also those that SQLite makes, are for its user alone."""
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
        self._settings = settings
        self._options = options(mode, settings, bound, daemons)
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> flask.Flask:
        return self._app

    def run(self) -> None:
        hang_s = self._settings.hang_s or math.inf
        Keeper(self, self._daemons, hang_s, bounds.hung_s(self._settings)).run()


def have_files(settings: Settings) -> None:
    """Let each process have as many files open as it may ask for. Raises ``WrongSetting`` where those are too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    least = FILES_MORE + settings.threads + min(WAITING_MIN, settings.waiting_max)
    if _files_max() < least:
        raise WrongSetting(
            f"a process may have {most} files open here, and a worker needs {least} for its connections and its files: "
            f"raise the limit (ulimit -n, LimitNOFILE= in systemd, ulimits in Docker)"
        )
    turns.ROOM = turns.room()


def options(mode: Mode, settings: Settings, bound: socket.socket, daemons: tuple[Daemon, ...]) -> dict[str, Any]:
    """Return gunicorn's settings."""

    def post_fork(_server: object, _worker: object) -> None:
        mode.open()

    def worker_exit(_server: object, _worker: object) -> None:
        watch.here.flush()
        if settings.tracing:
            from service import tracing  # noqa: PLC0415  # it needs an extra, and half a second

            tracing.end(bounds.SPANS_S)

    host, port = bound.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def when_ready(_server: object) -> None:
        logs.Log.handler.say(
            f"selling on {url} in mode {mode.name}, {settings.workers} worker{'s' * (settings.workers != 1)} of "
            f"{settings.threads} thread{'s' * (settings.threads != 1)}, "
            f"tickets in {shown(settings.url) or settings.data}"
        )

    def on_exit(_server: object) -> None:
        for daemon in daemons:
            if not daemon.end():
                logs.Log.handler.say(f"{daemon.name} did not end within {END_S:g} s, so it was killed")
        watch.here.end()
        end_of(mode)()
        logs.Log.handler.say("stopped")

    class Configured(Worker):
        """What a worker is told of the settings: gunicorn hands it no others than its own."""

        door = Door(settings.threads, settings.waiting_max, settings.wait_s)
        wait_s = settings.wait_s
        inside_s = bounds.inside_s(settings)
        hung_s = bounds.hung_s(settings)

    return {
        "bind": f"fd://{bound.detach()}",  # gunicorn closes it: from here on the socket is its own
        "workers": settings.workers,
        "threads": settings.threads,
        "worker_class": Configured,
        # Connections beyond what may be inside, so that there is somebody to be told that it is full.
        "worker_connections": min(2 * Configured.door.inside_max + CONNECTIONS_MORE, _files_max() - FILES_MORE),
        "keepalive": KEEPALIVE_S,
        "limit_request_line": REQUEST_LINE_BYTES_MAX,
        "limit_request_fields": HEADERS_MAX,
        "limit_request_field_size": HEADER_BYTES_MAX,
        # gunicorn lets clients on this machine, such as a proxy, say another path in SCRIPT_NAME. A proxy that hands on
        # what its clients send would let them choose another route than it has checked, or get a 500.
        "forwarder_headers": "",
        "post_fork": post_fork,
        "when_ready": when_ready,
        "worker_exit": worker_exit,
        "on_exit": on_exit,
        # gunicorn sets it to this for a moment, and leaves it so where no file can be opened in that moment.
        "umask": UMASK,
        "logger_class": Access,
        "loglevel": "warning",
        # One control socket a user is gunicorn's default; a second service would find it taken.
        "control_socket_disable": True,
        # A stopping worker may still wait for the lock; past this it is killed.
        "graceful_timeout": bounds.workers_end_s(settings),
    }


def _files_max() -> int:
    """Return how many files a process may have open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if most != resource.RLIM_INFINITY else sys.maxsize
