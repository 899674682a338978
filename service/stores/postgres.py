"""PostgreSQL: one server that any number of hosts share. All of ours stands in the schema ``turnstile``."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from service.mode import Busy, Conflict, NotWritten
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.rules import Page
from service.stores import postgres_link, queries
from service.stores.postgres_inside import Inside, LockedRow, not_sent, refused, unknown
from service.stores.postgres_link import Bounds, Lost, Refusal, connected
from service.stores.postgres_pool import Pool
from service.stores.postgres_values import asked, kept, known, numbers, recorded, row
from service.stores.replay import Refused
from service.stores.rows import line_in, order_in
from service.stores.tickets import runs
from service.values import EVENT_NAME, Event, Order, TicketMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from service.commands import Command
    from service.stores.postgres_link import Rows, Value

EDITION = 1
"""The edition of the schema that this program knows: ``schema_<edition>.sql`` makes it of the one before."""
INCOMPLETE = -1
"""What stands among the editions as long as a copy that is made here has not come to its end."""
SEED = "default", 100
"""The event that is made where there is none."""
STATEMENTS = queries.load("postgres", "statements")
PREPARING = queries.load("postgres", "preparing")
CHANGES_AT_ONCE = 500
READERS_MAX = 1
"""Connections of a worker for those who look, beside those for who buys."""
KNOWN_MAX = 100_000
"""Most names of events that a worker remembers to be there."""


class Postgres:
    """A store in one database."""

    def __init__(self, url: str, wait_s: float, think_s: float = 0.0) -> None:
        """``wait_s`` is how long is waited for a connection, and then for a lock; ``think_s``, before a decision."""
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # it would quote the part that has the password in it
            sentence = "--url is no address that PostgreSQL's client understands: expected postgresql://user:password@host/name"
            raise Refused(f"{sentence}, with what is special in a password as %25 stands for %") from None
        self._url = url
        self._wait_s = wait_s
        self._bounds = Bounds(wait_s, postgres_link.PAUSED_S + think_s)
        self._pool, self._readers = self._pools()
        self._there: set[str] = set()

    def prepare(self, seeds: Mapping[str, int]) -> None:
        try:
            with connected(self._url, self._bounds) as connection, connection.transaction():
                connection.execute("SET LOCAL lock_timeout = 0")  # another host prepares: it ends, or dies
                connection.execute("SET LOCAL statement_timeout = 0")
                connection.execute(PREPARING["alone"])
                self._migrate(connection)
                for name, capacity in seeds.items():
                    connection.execute(PREPARING["create"], {"name": name, "capacity": capacity})
                if not connection.execute(PREPARING["any"]).fetchall():
                    connection.execute(PREPARING["create"], dict(zip(("name", "capacity"), SEED, strict=True)))
        except psycopg.Error as error:
            why = str(error).strip().partition("\n")[0]
            remedy = "start the server, or correct --url (TURNSTILE_URL)"
            raise Refused(f"PostgreSQL cannot be used ({why}): {remedy}") from None

    def open(self) -> None:
        """Have connections made when they are needed."""
        self.close()
        self._pool, self._readers = self._pools()

    def close(self) -> None:
        self._pool.close()
        self._readers.close()

    def _pools(self) -> tuple[Pool, Pool]:
        """Who looks has a connection apart: all others may be waiting for a lock."""
        return Pool(self._url, self._bounds, STATEMENTS), Pool(self._url, self._bounds, STATEMENTS, READERS_MAX)

    @contextmanager
    def transaction(self, begin: str = "begin", lock: str = "", *, wait: bool = True) -> Iterator[Inside]:
        """Be inside a transaction, with a lock; ``begin`` and ``lock`` name statements in ``statements.sql``.

        What was not committed on leaving is undone. Raises ``Busy``, ``NotWritten``. ``wait``: for a connection.
        """
        with self._pool.link(wait=wait) as link:
            inside = Inside(link, self._wait_s, begin, lock)
            try:
                yield inside
            finally:
                inside.end()

    def row(self, event: str) -> LockedRow:
        """Return what locks an event's row for many commands at a time."""
        return LockedRow(self.transaction, event)

    def read(self, command: Command) -> Page:
        """Return the page as of this moment, keeping nobody out."""
        found = known([command], self._looked(b"page", asked([command]), self._pool)[-1])
        return found.page(command) if found else Page(None)

    def write(self, page: Page) -> None:
        """Write a page that was read so. Raises ``Conflict`` if another wrote meanwhile, else as the protocol says."""
        self._done(*recorded([page]))

    def sell(self, order: Order) -> Order:
        """Sell as many tickets as ``order`` has, if so many are left; return it with those that it got.

        Raises ``Conflict`` if there are fewer, else as ``write``.
        """
        buyer = None if order.buyer is None else kept(order.buyer)
        values = [order.event, order.id, order.quantity, buyer, order.at]
        sold = self._done(b"sell", [None if value is None else str(value).encode() for value in values])
        if not sold:
            raise Conflict
        tickets, count, version = sold[0]
        return replace(order, tickets=tuple(numbers(tickets)), count=int(count or 0), version=int(version or 0))

    def look(self, name: str) -> Event | NoSuchEvent:
        # A name with a character of number 0 in it would be read as another one.
        found = self._looked(b"look", [name.encode()]) if EVENT_NAME.fullmatch(name) else []
        return _event(name, found[0]) if found else NoSuchEvent(name)

    def has(self, name: str) -> bool:
        """Tell whether there is an event of this name; that there is one, it is asked only once."""
        if name not in self._there:
            if isinstance(self.look(name), NoSuchEvent):
                return False
            if len(self._there) < KNOWN_MAX:
                self._there.add(name)
        return True

    def find(self, order: str) -> Order | NoSuchOrder:
        found = self._looked(b"find", [order.encode()]) if "\0" not in order else []  # as with a name
        if not found:
            return NoSuchOrder(order)
        name, line = found[0]
        return order_in((name or b"").decode(), row(json.loads(line or b"")))

    def tickets(self, name: str, first: int, last: int) -> TicketMap | NoSuchEvent:
        if not self.has(name):
            return NoSuchEvent(name)
        found = self._looked(b"tickets", [name.encode(), b"%d" % first, b"%d" % last])
        if not found:  # it was there, and the database has been replaced since
            return NoSuchEvent(name)
        *standing, taken, held = found[0]
        kept_back = set(numbers(held))
        return TicketMap(
            _event(name, standing),
            runs(ticket for ticket in numbers(taken) if ticket not in kept_back),
            runs(numbers(held)),
        )

    def names(self, after: str, limit: int) -> list[str]:
        behind = after.partition("\0")[0].encode()  # no name has that character, so none is between the two
        return [(name or b"").decode() for (name,) in self._looked(b"names", [behind, b"%d" % limit])]

    def create(self, name: str, capacity: int) -> bool:
        return bool(self._done(b"create", [name.encode(), b"%d" % capacity]))

    def overdue(self, now: float) -> Iterator[tuple[str, float]]:
        with suppress(Busy, NotWritten):  # it is away: the next time
            for name, ends in self._looked(b"overdue", [repr(now).encode()]):
                yield (name or b"").decode(), float(ends or 0)

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        found = self._looked(b"look", [name.encode()]) if self.has(name) else []
        return self._changes(found[0][3], name, after) if found else NoSuchEvent(name)

    def _changes(self, number: Value, name: str, after: int) -> Iterator[bytes]:
        while found := self._looked(b"changes", [number, b"%d" % after, b"%d" % CHANGES_AT_ONCE]):
            for (line,) in found:
                change = row(json.loads(line or b""))
                yield line_in(name, change)
                after = change["version"]

    def _looked(self, statement: bytes, values: list[Value], pool: Pool | None = None) -> Rows:
        """Carry out a statement that changes nothing. Raises ``Busy`` or ``NotWritten``."""
        with (pool or self._readers).link() as link:
            try:
                return link.exchange((statement, values))
            except Refusal as refusal:
                raise refused(refusal, self._wait_s) from None
            except Lost as lost:
                raise not_sent(lost) from lost

    def _done(self, statement: bytes, values: list[Value]) -> Rows:
        """Carry out a statement as a transaction of its own. Raises also ``Conflict`` or ``Unknown``."""
        with self._pool.link() as link:
            try:
                return link.exchange((statement, values))
            except Refusal as refusal:
                raise refused(refusal, self._wait_s) from None
            except Lost as lost:
                raise unknown(lost) from lost

    def _migrate(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        there = connection.execute(PREPARING["there"]).fetchall()[0][0]
        if not there:  # who may sell need not be one who may make schemas
            connection.execute(PREPARING["schema"])
        edition, least = map(int, map(str, connection.execute(PREPARING["edition"]).fetchall()[0])) if there else (0, 0)
        if least == INCOMPLETE:
            raise Refused("the database is a copy that has not come to its end: make it again")
        if edition > EDITION:
            raise Refused(f"the database has schema {edition}, and this release knows {EDITION}: use a newer release")
        for step in range(edition + 1, EDITION + 1):
            for statement in queries.load("postgres", f"schema_{step}").values():
                connection.execute(statement.encode())
            connection.execute(PREPARING["remember"], (step,))


def _event(name: str, standing: Sequence[Value]) -> Event:
    capacity, count, version = (int(value or 0) for value in standing[:3])
    return Event(name, capacity, count, version)
