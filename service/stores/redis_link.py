"""A link to a Redis server, which says of every call that fails what became of it.

A command that was not sent whole is certainly not done: Redis runs whole commands only. So is one that Redis refuses by
name, before it begins. Once it is sent, a reply that does not come means that nobody knows, unless the command only
reads. redis-py would send it again by itself, and make one order two: that is switched off here.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.retry import Retry

from service.mode import Busy, NotWritten, Unknown
from service.stores.redis_scripts import packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.stores.redis_scripts import Script

CONNECT_S = 2.0
REPLY_S = 5.0
"""How long a reply may take: longer than a disk that is busy, shorter than a buyer's patience."""
CONNECTIONS_MAX = 32
"""Most connections of a worker. Whoever finds none free waits for one, and has sent nothing so far."""
PING = packed(b"PING")
NOT_BEGUN = {
    *("ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOPERM", "NOREPLICAS"),
    *("NOSCRIPT", "OOM", "READONLY", "TRYAGAIN", "WRONGPASS"),
}
"""What a refusal begins with that comes before the command is begun. (A script that has written is not stopped by
these.)"""


class Line(Protocol):
    """What is used of redis-py's connections, which have no types of their own."""

    @property
    def is_connected(self) -> bool: ...

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def can_read(self) -> bool: ...

    def send_packed_command(self, command: list[bytes]) -> None: ...

    def read_response(self, disable_decoding: bool = False) -> Any: ...  # noqa: ANN401, FBT001, FBT002  # as it is there


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a connection is waited for, how long a reply, and how many connections there are at most."""

    wait_s: float
    reply_s: float = REPLY_S
    connections_max: int = CONNECTIONS_MAX


class Link:
    """Connections to one server. Make it in each process, after the fork."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url, self._limits = url, limits
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(limits.connections_max):
            self._turns.put(None)
        # The one that was used last is used next, so that there are no more than are needed at once.
        self._free: list[Line] = []

    def run(self, script: Script, root: bytes, values: Sequence[bytes] = ()) -> Any:  # noqa: ANN401  # what the script returns
        """Run a script on an event, and return what it returns. Raises ``Busy``, ``NotWritten`` or ``Unknown``."""
        command = script.call(root, values)
        try:
            return self._exchange(command, reads=not script.writes)
        except exceptions.NoScriptError:  # the server was started again, or is another one
            self._exchange(script.load, reads=True)
        try:
            return self._exchange(command, reads=not script.writes)
        except exceptions.NoScriptError as error:
            raise NotWritten("redis forgets the scripts that it is given, so nothing was done") from error

    def ask(self, *words: bytes) -> Any:  # noqa: ANN401  # what the command returns
        """Return what Redis answers to a command that only reads, or that may be done twice. Raises ``NotWritten``."""
        return self._exchange(packed(*words), reads=True)

    def ask_all(self, commands: Sequence[Sequence[bytes]]) -> list[Any]:
        """Ask many such commands in one round trip."""
        wanted = len(commands)
        if not wanted:
            return []
        replies: list[Any] = self._exchange(b"".join(packed(*each) for each in commands), reads=True, wanted=wanted)
        return replies

    def close(self) -> None:
        """Close what is open."""
        while self._free:
            self._free.pop().disconnect()

    def _exchange(self, command: bytes, *, reads: bool, wanted: int = 0) -> Any:  # noqa: ANN401  # as above
        try:
            self._turns.get(timeout=self._limits.wait_s)
        except queue.Empty:
            raise Busy(self._limits.wait_s) from None
        line = self._taken()
        try:
            _send(line, command)
            try:
                if not wanted:
                    return line.read_response(disable_decoding=True)
                return [line.read_response(disable_decoding=True) for _ in range(wanted)]
            except exceptions.NoScriptError:
                raise
            except exceptions.RedisError as error:
                line.disconnect()  # also of a refusal: a server that became a replica is to be looked up again
                raise failed(error, reads=reads) from error
        finally:
            self._free.append(line)
            self._turns.put(None)

    def _taken(self) -> Line:
        try:
            return self._free.pop()
        except IndexError:
            return connection(self._url, self._limits.reply_s)


def connection(url: str, reply_s: float) -> Line:
    """Return a connection that is not open yet, and that sends nothing a second time."""
    said = dict(parse_url(url))  # type: ignore[no-untyped-call]  # redis-py has no types here
    kind = said.pop("connection_class", Connection)
    made: Line = kind(
        **said,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_S,
        socket_timeout=reply_s,
        driver_info=None,
        protocol=2,
    )
    return made


def failed(error: exceptions.RedisError, *, reads: bool) -> NotWritten | Unknown:
    """Return what to raise when a command was sent, and this came instead of its reply."""
    if _code(error) in NOT_BEGUN or "max number of clients" in str(error):
        return NotWritten("redis refused the order, so nothing was done", _said(error))
    if reads:
        return NotWritten("redis did not answer, so nothing was done", _said(error))
    return Unknown("redis did not answer, and may have done it", _said(error))


def not_sent(error: exceptions.RedisError) -> NotWritten:
    """Return what to raise when no whole command was sent, or none but such that sell nothing."""
    if error.status_code or _code(error) in NOT_BEGUN:
        return NotWritten("redis refused the order, so nothing was done", _said(error))
    return NotWritten("redis cannot be reached, so nothing was done", _said(error))


def _code(error: exceptions.RedisError) -> str:
    return error.status_code or str(error).partition(" ")[0]


def _said(error: exceptions.RedisError) -> str:
    return f"{error.status_code} {error}" if error.status_code else str(error).rstrip(".")


def _send(line: Line, command: bytes) -> None:
    """Send a whole command, over a connection that is open at this moment. Raises ``NotWritten``."""
    try:
        if line.is_connected:
            _must_be_quiet(line)
        if not line.is_connected:
            line.connect()
            line.send_packed_command([PING])  # what the server has against us is said now, before an order is sent
            line.read_response()
        line.send_packed_command([command])
    except exceptions.RedisError as error:
        line.disconnect()
        raise not_sent(error) from error


def _must_be_quiet(line: Line) -> None:
    """Close a connection that the server has closed meanwhile: an order sent there would be lost, and nobody know."""
    try:
        if line.can_read():
            line.disconnect()  # a reply that nobody waits for would be taken for that of the next command
    except exceptions.ConnectionError:
        line.disconnect()
