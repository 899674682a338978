"""Pipes between workers and the process that serves them, and the door where workers hand theirs in.

A pipe is a pair of sockets, with pickles as messages. A worker makes the pair and hands one end in at the door, a
socket that everyone inherits. The door outlives who serves, so the next one finds there whoever has knocked meanwhile.
There is no name in the file system, and no lock that a killed worker would leave locked, as ``multiprocessing.Queue``
has.
"""

from __future__ import annotations

import copyreg
import socket
import struct
from dataclasses import fields
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STALL_S = 1.0
"""Longest pause in the middle of a message. Past it the pipe is given up, so that one who is paused stops nobody."""
KNOCKS_MAX = 256
"""Most pipes that are taken at once."""
KNOCK = b"\0"


class Door:
    """Where workers hand in their pipes. Make it before the fork: everyone must have the same.

    There is something to read ``inside`` when somebody has knocked.
    """

    def __init__(self) -> None:
        self._outside, self.inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._outside.setblocking(False)  # noqa: FBT003  # as Python has it
        self.inside.setblocking(False)  # noqa: FBT003  # as Python has it

    def __del__(self) -> None:
        """Close both ends, as ``Connection`` does. A service has one door for as long as it runs."""
        self._outside.close()
        self.inside.close()

    def knock(self) -> Connection:
        """Return a new pipe, the other end of which lies at the door now. Raises ``OSError`` where no more fit."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            socket.send_fds(self._outside, [KNOCK], [theirs.fileno()])
            return pipe(ours)

    def admitted(self) -> Iterator[Connection]:
        """Take the pipes that lie at the door."""
        for _ in range(KNOCKS_MAX):
            try:
                _, descriptors, _, _ = socket.recv_fds(self.inside, 1, 1)
            except BlockingIOError:
                return
            for each in descriptors:
                with socket.socket(fileno=each) as theirs:
                    yield pipe(theirs)


def pipe(end: socket.socket) -> Connection:
    """Return the pipe at this end. A read or write that stalls raises ``BlockingIOError``, which is an ``OSError``."""
    seconds, micros = divmod(int(STALL_S * 1e6), 1_000_000)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        end.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", seconds, micros))  # struct timeval
    return Connection(end.detach())


def travels_light(kind: type) -> None:
    """Let values of a frozen dataclass with slots travel as a call with their fields.

    By itself it would ask for the names of its fields each time, which took five times as long.
    """
    names = [field.name for field in fields(kind)]

    def reduced(value: object) -> tuple[type, tuple[object, ...]]:
        return kind, tuple([getattr(value, name) for name in names])

    copyreg.pickle(kind, reduced)
