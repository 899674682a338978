"""Those who come while the service ends: refused before they are connected, or told so. None is left with a reset.

A socket that stops listening resets every connection that waits to be accepted, and its client cannot know whether its
request was carried out. So the socket first stops to take part in new handshakes: the kernel drops their first packet,
which a client sends again after a second, to a port that is closed by then. Who was connected before is accepted in the
meantime, and hears that nothing was done.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
import time
from typing import TYPE_CHECKING

from service.admission import ENDS, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTLE_S = 0.5
"""How long handshakes that have begun may take to end, if the workers take as long."""
HEARD_S = 1.0
"""How long one who was told may take to read it, and to end the connection."""
LOOK_S = 0.02
ACCEPTED_MAX = 4096
"""Most connections that are told at once: more than can wait to be accepted."""
RECEIVE_BYTES = 16 << 10
SO_ATTACH_FILTER = 26
FLAGS_BYTE, SYN, SYN_OR_ACK = 13, 0x02, 0x12
LOAD_BYTE, AND, JUMP_IF_EQUAL, RETURN = 0x30, 0x54, 0x15, 0x06
NO_HANDSHAKE = [
    (LOAD_BYTE, 0, 0, FLAGS_BYTE),
    (AND, 0, 0, SYN_OR_ACK),
    (JUMP_IF_EQUAL, 0, 1, SYN),
    (RETURN, 0, 0, 0),
    (RETURN, 0, 0, 0xFFFFFFFF),
]
"""A program for the kernel's packet filter (bpf(4)), on what begins with a TCP header: drop a SYN without an ACK."""


class Latecomers:
    """Whoever still comes to sockets that nobody else accepts from. For one thread.

    The sockets are its own from then on, and no copies: where no more files can be opened, the service must end too.
    """

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners = list(listeners)
        self._told: list[tuple[float, socket.socket]] = []
        self._closes_at = time.monotonic() + SETTLE_S
        for listener in self._listeners:
            listener.setblocking(False)  # noqa: FBT003  # as Python has it
            _drop_handshakes(listener)

    def turn_away(self) -> None:
        """Tell those who are there, and stop to listen when it is time. Call it again and again."""
        now = time.monotonic()
        for listener in self._listeners:
            self._accept(listener, now)
        told, self._told = self._told, []
        for since, client in told:
            if now - since >= HEARD_S or _ended(client):
                client.close()
            else:
                self._told.append((since, client))
        if now >= self._closes_at:
            self._stop_listening()

    def close(self) -> None:
        """Tell those who are there, stop to listen, and give them the time to hear it."""
        self.turn_away()
        self._stop_listening()
        while self._told:
            time.sleep(LOOK_S)
            self.turn_away()

    def let_go(self) -> None:
        """Hold nothing of them any longer, in a process that was forked from the one that tells them."""
        self._stop_listening()
        for _, client in self._told:
            client.close()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _accept(self, listener: socket.socket, now: float) -> None:
        while len(self._told) < ACCEPTED_MAX:
            try:
                client, _ = listener.accept()
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    return
                continue
            with contextlib.suppress(OSError):  # it may have gone
                client.setblocking(False)  # noqa: FBT003  # as Python has it
                client.send(refusal(ENDS))
                client.shutdown(socket.SHUT_WR)
            self._told.append((now, client))


def _ended(client: socket.socket) -> bool:
    """Read what was sent, for a connection that is closed with something unread is reset, and the answer may be lost.

    Tell whether the client has ended it.
    """
    try:
        while client.recv(RECEIVE_BYTES):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _drop_handshakes(listener: socket.socket) -> None:
    """Where the kernel cannot do so, one who connects in the very last moment is reset."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in NO_HANDSHAKE))
    with contextlib.suppress(OSError):
        place = struct.pack("HL", len(NO_HANDSHAKE), ctypes.addressof(program))  # struct sock_fprog
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, place)
