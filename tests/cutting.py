"""A wire between a client and a server that a test can cut: at once, or when the next reply is on its way."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

PIECE_BYTES = 1 << 16
HOST = "127.0.0.1"


class Wire:
    """Passes on what comes to its ``port``, in both directions, to the port of a server on this machine."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._swallowing = False
        self.swallowed = threading.Event()
        """The server has replied, and nobody will hear of it."""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        """Be the wire until the block ends."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        """End all connections and all threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """End all connections."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Let what is sent arrive, and cut when the first reply is there."""
        self._swallowing = True

    def heal(self) -> None:
        """Pass on everything again, for new connections."""
        self._swallowing = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._server))
                self._pairs.append((client, server))
                for source, sink, replies in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._pass_on, args=(source, sink, replies))
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:  # noqa: FBT001  # a thread's
        with source, contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                if replies and self._swallowing:
                    self.swallowed.set()
                    self.cut()
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
