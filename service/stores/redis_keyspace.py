"""The ticket store in Redis: some keys for each event (``lua/keyspace.lua``), and two that name the events.

Redis runs one script after the other. ``decide`` lets it carry out whole commands; ``read`` and ``write`` are for who
decides elsewhere, and keep nobody out in between.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.lock import Lock
from redis.retry import Retry

from service.mode import Busy, NotWritten, Unknown, told
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.rules import Page
from service.stores import redis_notes as notes
from service.stores import redis_terms
from service.stores.lines import lines_of
from service.stores.redis_link import CONNECT_S, CONNECTIONS_MAX, REPLY_S, Limits, Link, not_sent
from service.stores.redis_scripts import CREATE, DECIDE, PAGE, TICKETS, WRITE
from service.stores.replay import Refused
from service.values import EVENT_NAME, Event, Order, TicketMap, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from service.commands import Command
    from service.outcomes import Reply

PIECE = 500
"""How many events, or changes, are asked for at once."""
NEW_EVENT, NEW_CAPACITY = "default", 100


@dataclass(slots=True)
class Turn:
    """To have the lock, and whether something was written meanwhile."""

    wrote: bool = False


class Keyspace:
    """All events whose keys begin with one prefix."""

    def __init__(
        self, url: str, wait_s: float, reply_s: float = REPLY_S, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        """``url`` is redis://HOST:PORT/DB?prefix=NAME, or redis:///PATH?prefix=NAME for a socket.

        ``wait_s`` is how long a connection is waited for where all are in use. Raises ``Refused``.
        """
        self._url, self._prefix = redis_terms.parted(url)
        self._limits = Limits(wait_s, reply_s, connections_max)
        self._made: Link | None = None
        self._locks: redis.Redis | None = None
        self._known: set[str] = set()
        self._places: dict[str, list[str]] = {}

    def prepare(self, seeds: Mapping[str, int]) -> None:
        link = self._made = Link(self._url, self._limits)
        try:
            for sentence in redis_terms.held_to(link):
                sys.stderr.write(f"turnstile: {sentence}\n")
            if link.ask(b"EXISTS", self._mark):
                raise Refused("what has this prefix in Redis is a copy that has not come to its end: make it again")
            for name, capacity in seeds.items():
                self.create(name, capacity)
            if not any(isinstance(self.look(name), Event) for name in self.names("", PIECE)):
                self.create(NEW_EVENT, NEW_CAPACITY)
        except (Busy, NotWritten, Unknown) as error:
            raise Refused(f"{told(error)}: see that the Redis server takes writes, or give another --url") from error
        finally:
            self._made = None
            link.close()

    def open(self) -> None:
        self._made = Link(self._url, self._limits)
        self._locks = _client(self._url, self._limits)

    def close(self) -> None:
        if self._made:
            self._made.close()
        if self._locks:
            self._locks.close()

    def has(self, name: str) -> bool:
        """Tell whether there is an event of this name. One that is there stays."""
        if name not in self._known and EVENT_NAME.fullmatch(name) and self._link.ask(b"EXISTS", self._root(name)):
            self._known.add(name)
        return name in self._known

    def decide(self, commands: Sequence[Command], now: float) -> list[Reply]:
        """Let Redis carry out commands of one event one after the other, with nobody else in between."""
        asked = [repr(now).encode(), *[notes.asked(command, now) for command in commands]]
        texts = self._link.run(DECIDE, self._root(commands[0].event), asked)
        return [notes.reply_of(text, command) for text, command in zip(texts, commands, strict=True)]

    def read(self, command: Command) -> Page:
        text = self._link.run(PAGE, self._root(command.event), [notes.asked(command, 0)])
        return notes.page_of(text, command)

    def write(self, page: Page) -> None:
        if page.event:
            self._link.run(WRITE, self._root(page.event.name), [notes.changes(page), *notes.used(page)])

    @contextlib.contextmanager
    def locked(self, name: str, lease_s: float, poll_s: float, wait_s: float) -> Iterator[Turn]:
        """Have redis-py's lock on an event, for ``lease_s`` seconds at most.

        Raises ``Busy``, ``NotWritten``, or, when the lease was over before what was done inside, ``Unknown``.
        """
        lock = Lock(self._locks, f"{self._root(name).decode()}:lock", lease_s, sleep=poll_s, thread_local=False)
        try:
            if not lock.acquire(blocking_timeout=wait_s):
                raise Busy(wait_s)
        except exceptions.RedisError as error:  # if it was taken all the same, it is free again when the lease ends
            raise not_sent(error) from error
        turn = Turn()
        try:
            yield turn
        except BaseException:
            with contextlib.suppress(exceptions.RedisError):
                lock.release()
            raise
        try:
            lock.release()
        except exceptions.LockNotOwnedError as error:
            if turn.wrote:  # a refusal was true when the page was read
                raise Unknown("the lease ended too early, and somebody else may have sold the same tickets") from error
        except exceptions.RedisError:
            pass  # what was done is done, and the lease ends by itself

    def look(self, name: str) -> Event | NoSuchEvent:
        said = self._link.ask(b"HMGET", self._root(name), b"capacity", b"count", b"version")
        return NoSuchEvent(name) if said[0] is None else Event(name, *map(int, said))

    def find(self, order: str) -> Order | NoSuchOrder:
        place = order[:8]
        names = self._places.get(place, [])
        found = self._found(order, names)
        if found is None:  # events may have been made since, by others
            members = self._link.ask(b"SMEMBERS", self._place(place))
            found = self._found(
                order, [name for name in sorted(each.decode() for each in members) if name not in names]
            )
            if found:
                self._places.setdefault(place, []).append(found.event)
        return found or NoSuchOrder(order)

    def tickets(self, name: str, first: int, last: int) -> TicketMap | NoSuchEvent:
        said = self._link.run(TICKETS, self._root(name), [b"%d" % first, b"%d" % last])
        if not said:
            return NoSuchEvent(name)
        letters = said[3].decode()
        return TicketMap(Event(name, *said[:3]), _runs(letters, "s", first), _runs(letters, "h", first))

    def names(self, after: str, limit: int) -> list[str]:
        start = b"(" + after.encode() if after else b"-"
        found = self._link.ask(b"ZRANGE", self._names, start, b"+", b"BYLEX", b"LIMIT", b"0", b"%d" % limit)
        return [name.decode() for name in found]

    def create(self, name: str, capacity: int) -> bool:
        # Named first: of one who dies in between there is a name of no event, and no event that nobody finds.
        self._link.ask(b"SADD", self._place(place_of(name)), name.encode())
        self._link.ask(b"ZADD", self._names, b"0", name.encode())
        return bool(self._link.run(CREATE, self._root(name), [b"%d" % capacity]))

    def overdue(self, now: float) -> Iterator[tuple[str, float]]:
        with contextlib.suppress(Busy, NotWritten):  # Redis is gone: the next time
            names = self.names("", PIECE)
            while names:
                asked = [(b"ZRANGE", self._root(name) + b":holds", b"0", b"0", b"WITHSCORES") for name in names]
                for name, first in zip(names, self._link.ask_all(asked), strict=True):
                    if first and float(first[1]) <= now:
                        yield name, float(first[1])
                names = self.names(names[-1], PIECE)

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        return self._changes(name, after) if self.has(name) else NoSuchEvent(name)

    def _changes(self, name: str, after: int) -> Iterator[bytes]:
        start = after  # no change stands before as many others as its version says
        while texts := self._link.ask(
            b"LRANGE", self._root(name) + b":changes", b"%d" % start, b"%d" % (start + PIECE - 1)
        ):
            found = (notes.change_of(text, name) for text in texts)
            yield from (lines_of(Page(None, changes=(change,))) for change in found if change.version > after)
            start += PIECE

    def _found(self, order: str, names: Sequence[str]) -> Order | None:
        for name in names:
            text = self._link.ask(b"HGET", self._root(name) + b":orders", order.encode())
            if text is not None:
                return notes.order_of(json.loads(text), name)
        return None

    @property
    def _link(self) -> Link:
        if self._made is None:  # in a process that was not told to open: the sweeper's
            self.open()
        assert self._made is not None  # noqa: S101  # it has just been made
        return self._made

    def _root(self, name: str) -> bytes:
        return f"{{{self._prefix}:{name}}}".encode()

    def _place(self, place: str) -> bytes:
        return f"{self._prefix}:place:{place}".encode()

    @property
    def _mark(self) -> bytes:
        """The key that is there as long as a copy that is made here has not come to its end."""
        return f"{self._prefix}:incomplete".encode()

    @property
    def _names(self) -> bytes:
        return f"{self._prefix}:events".encode()


def _client(url: str, limits: Limits) -> redis.Redis:
    """Return a client for redis-py's locks, which is not connected yet, and sends nothing a second time."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=limits.connections_max,
        timeout=limits.wait_s,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_S,
        socket_timeout=limits.reply_s,
    )
    return redis.Redis(connection_pool=pool, retry=Retry(NoBackoff(), 0))


def _runs(letters: str, wanted: str, first: int) -> tuple[tuple[int, int], ...]:
    """Return where a letter stands, as runs, counted from ``first``."""
    return tuple((first + run.start(), first + run.end() - 1) for run in re.finditer(f"{wanted}+", letters))
