"""A wire that can be cut: a proxy between a client and a server, which loses what a test wants lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
BYTES = 65_536
State = Literal["open", "cut before", "cut after", "silent"]
"""``cut before``: what is sent is lost with the connection; ``cut after``: its reply is; ``silent``: the reply is, and
the connection stays."""


class Proxy:
    """It forwards to the port ``target``, on this machine. Change ``state``, or ``target`` for those who come then."""

    def __init__(self, target: int, path: Path | None = None) -> None:
        self.target = target
        self.state: State = "open"
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0)) if path is None else socket.socket(socket.AF_UNIX)
        if path is not None:
            self._listener.bind(str(path))
            self._listener.listen()
        self.port = self._listener.getsockname()[1] if path is None else 0
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Cut all connections that there are."""
        while self._ends:
            _shut(self._ends.pop())

    def close(self) -> None:
        """Cut all connections, and let nobody in any more."""
        _shut(self._listener)
        self.drop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((HOST, self.target))
                except OSError:
                    client.close()
                    continue
                self._ends += [client, server]
                for source, sink, replies in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pump, args=(source, sink, replies), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:  # noqa: FBT001  # which way
        with contextlib.suppress(OSError):
            while data := source.recv(BYTES):
                if self.state == ("cut after" if replies else "cut before"):
                    break
                if not (replies and self.state == "silent"):
                    sink.sendall(data)
        for end in (source, sink):
            _shut(end)


@contextlib.contextmanager
def proxied(target: int, path: Path | None = None) -> Iterator[Proxy]:
    """Have a proxy, at a port of its own or at a path."""
    proxy = Proxy(target, path)
    try:
        yield proxy
    finally:
        proxy.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
