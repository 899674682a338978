"""What is sent to a client: no thread waits until it has been read.

``sendall`` of a plain socket waits for room, at each part of a reply anew, so a few who read nothing would keep all
threads. Here the rest is kept until there is room, which the main thread hears of as it hears of requests.
"""

from __future__ import annotations

import errno
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

KEPT_BYTES_MAX = 1 << 20
"""More than any reply has that is made as a whole. One that is made while it is sent waits for its client from here."""
STALL_S = 10.0
"""How long a client may take to read what is kept of a reply, or for the next part of one that waits for it."""


class Outgoing(socket.socket):
    """A client's connection, which keeps what there is no room for."""

    def __init__(self, accepted: socket.socket) -> None:
        """Take over a connection from ``accepted``, which has none any more."""
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.unsent = bytearray()

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send what there is room for, and keep the rest. Raises ``OSError`` when the client has gone."""
        self.unsent += data
        while not self.send_more(flags) and len(self.unsent) > KEPT_BYTES_MAX:
            poll = select.poll()
            poll.register(self, select.POLLOUT)
            if not poll.poll(1000 * STALL_S):
                self.unsent.clear()
                raise ConnectionResetError(errno.ECONNRESET, "the client reads nothing")

    def send_more(self, flags: int = 0) -> bool:
        """Send what there is room for, and tell whether that was all. Raises ``OSError`` when the client has gone."""
        with suppress(BlockingIOError):
            del self.unsent[: self.send(self.unsent, flags | socket.MSG_DONTWAIT)]
        return not self.unsent
