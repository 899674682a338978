"""Pipes between workers and the process that serves them, and the door where workers hand theirs in.

A pipe is a pair of sockets, with pickles as messages: a batch of one event's orders, and then their answers. A worker
makes the pair and hands one end in at the door, a socket that everyone inherits. The door outlives who serves, so the
next one finds there whoever has knocked meanwhile. There is no name in the file system, and no lock that a killed
worker would leave locked, as ``multiprocessing.Queue`` has.
"""

from __future__ import annotations

import copyreg
import math
import socket
import struct
import time
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, get_args

from service.commands import Command
from service.outcomes import Reply
from service.values import Event, Order

if TYPE_CHECKING:
    from collections.abc import Iterator

STALL_S = 1.0
"""Longest pause in the middle of a message. Past it the pipe is given up, so that one who is paused stops nobody."""
KNOCKS_MAX = 256
"""Most pipes that are taken from the door at once."""
PIPES_MAX = 8
"""How many new pipes in a row may break before nobody is thought to be there."""
IDLE_MAX = 64
"""Most pipes that a worker keeps."""
GREETING = b"\0"

Noted = dict[str, dict[str, int | None]]
"""What the process that decides notes of each order, for a trace."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A command, and until when it may begin, in seconds of the monotonic clock that all processes share."""

    command: Command
    until: float


@dataclass(frozen=True, slots=True)
class Late:
    """The writer came to it too late, and did not begin it."""


Answer = Reply | Exception | Late


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
            socket.send_fds(self._outside, [GREETING], [theirs.fileno()])
            return _pipe(ours)

    def admitted(self) -> Iterator[Connection]:
        """Take the pipes that lie at the door."""
        for _ in range(KNOCKS_MAX):
            try:
                _, descriptors, _, _ = socket.recv_fds(self.inside, 1, 1)
            except BlockingIOError:
                return
            for each in descriptors:
                with socket.socket(fileno=each) as theirs:
                    yield _pipe(theirs)


class Pipes:
    """A worker's pipes: as many as there are events with a batch on its way. Make it after the fork."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._idle: list[Connection] = []
        self._at_the_door: list[Connection] = []

    def take(self, deadline: float) -> Connection | None:
        """Return a pipe on which somebody has greeted, or ``None`` when nobody has until ``deadline``."""
        while pipe := _popped(self._idle):
            if not pipe.poll(0):  # on an idle pipe there is nothing to read but its end
                return pipe
            pipe.close()
        for _ in range(PIPES_MAX):
            try:
                pipe = _popped(self._at_the_door) or self._door.knock()
            except OSError:  # too many lie there, and nobody takes them
                return None
            try:
                if pipe.poll(None if deadline == math.inf else max(deadline - time.monotonic(), 0)):
                    pipe.recv_bytes()
                    return pipe
            except (EOFError, OSError):
                pipe.close()
            else:
                self._at_the_door.append(pipe)  # for the next one who waits
                return None
        return None

    def give_back(self, pipe: Connection) -> None:
        """Keep a pipe, on which everything has been answered, for the next batch, if there are not many."""
        if len(self._idle) < IDLE_MAX:
            self._idle.append(pipe)
        else:
            pipe.close()


def _popped(pipes: list[Connection]) -> Connection | None:
    try:
        return pipes.pop()
    except IndexError:
        return None


def _pipe(end: socket.socket) -> Connection:
    """Return the pipe at this end. A read or write that stalls raises ``BlockingIOError``, which is an ``OSError``."""
    seconds, micros = divmod(int(STALL_S * 1e6), 1_000_000)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        end.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", seconds, micros))  # struct timeval
    return Connection(end.detach())


def _travels_light(kind: type) -> None:
    """Let values of a frozen dataclass with slots travel as a call with their fields.

    By itself it would ask for the names of its fields each time, which took five times as long.
    """
    names = [field.name for field in fields(kind)]

    def reduced(value: object) -> tuple[type, tuple[object, ...]]:
        return kind, tuple([getattr(value, name) for name in names])

    copyreg.pickle(kind, reduced)


for each in (Asked, Event, Order, *get_args(Command), *get_args(Reply)):
    _travels_light(each)
