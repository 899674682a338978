"""How gunicorn runs the service."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

if TYPE_CHECKING:
    import socket

    import flask

    from service.mode import Mode
    from service.settings import Settings


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """A gunicorn that serves ``app`` on a socket that is bound already.

    App and mode are made before it forks: a lock that all workers shall share must exist by then.
    """

    def __init__(self, app: flask.Flask, mode: Mode, settings: Settings, bound: socket.socket) -> None:
        self._app = app
        self._options = options(mode, settings, bound)
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> flask.Flask:
        return self._app


def options(mode: Mode, settings: Settings, bound: socket.socket) -> dict[str, Any]:
    """Return gunicorn's settings."""

    def post_fork(_server: object, _worker: object) -> None:
        mode.open()

    host, port = bound.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def when_ready(_server: object) -> None:
        sys.stderr.write(
            f"turnstile: selling on {url} in mode {mode.name}, {settings.workers} x {settings.threads} "
            f"workers x threads, tickets in {settings.data}\n"
        )

    def on_exit(_server: object) -> None:
        sys.stderr.write("turnstile: stopped\n")

    return {
        "bind": f"fd://{bound.detach()}",  # gunicorn closes it: from here on the socket is its own
        "workers": settings.workers,
        "threads": settings.threads,
        "worker_class": "gthread",
        "post_fork": post_fork,
        "when_ready": when_ready,
        "on_exit": on_exit,
        "loglevel": "warning",
        # One control socket a user is gunicorn's default; a second service would find it taken.
        "control_socket_disable": True,
        # A stopping worker may still wait for the lock; past this it is killed.
        "graceful_timeout": math.ceil(settings.wait_s + settings.think_s) + 5,
    }
