"""SQLite: one database file, which many may read while one writes.

The write-ahead log lets readers see the last commit meanwhile. ``synchronous`` is FULL: in NORMAL, which many choose
beside that log, a commit does not wait for the disk, and a power loss takes back sales that buyers were told of.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.flock import flock
from service.mode import Busy, NotWritten, Unknown, told
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.stores import disk, queries
from service.stores.replay import Refused
from service.stores.rows import effect, line_in, order_in
from service.stores.sqlite_tables import READ, WRITE, carry_out, page_of, row_of
from service.stores.tickets import runs
from service.values import Event, Order, TicketMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.commands import Command
    from service.rules import Page

EDITION = 1
"""The edition of the schema that this program knows: ``schema_<edition>.sql`` makes it of the one before."""
INCOMPLETE = -1
"""What stands among the editions as long as a copy that is made here has not come to its end."""
SEED = "default", 100
"""The event that is made where there is none."""
BUSY_S = 5.0
"""How long somebody who is no worker of ours, such as a shell, is waited for."""
CHANGES_AT_ONCE = 500


class Sqlite:
    """A store in one file. SQLite keeps its log beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = Path(f"{path}.flock")
        """The file for those who want to wait for their turn to write, rather than try."""
        self._here = threading.local()
        self._connections: list[sqlite3.Connection] = []

    def prepare(self, seeds: Mapping[str, int]) -> None:
        """Make the database, its tables, and the events of ``seeds`` that are not there. Raises ``Refused``."""
        try:
            self._make_private()
            # In line with those who sell: SQLite's own waiting, which is trying again, would find no gap among them.
            with flock(self.lock, wait=True):
                self._prepared(seeds)
        except (OSError, sqlite3.Error) as error:
            raise Refused(f"{self.path} cannot be used as a database ({error}): choose another path") from None
        except NotWritten as error:
            raise Refused(f"{self.path} cannot be used as a database: {told(error)}") from None

    def open(self) -> None:
        """Connect: a connection that was there before the fork would hold its locks for two processes."""
        self._here, self._connections = threading.local(), []
        self._writer = self._connected()

    def close(self) -> None:
        while self._connections:
            self._connections.pop().close()

    def end(self) -> None:
        """Put what is in the log into the file, when nobody sells any more: whoever copies that has all of it then."""
        with suppress(sqlite3.Error):  # another service sells on, or there is no room: the log stays, and belongs to it
            self._connected().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()

    def read(self, command: Command) -> Page:
        try:
            return page_of(self._writer, command)
        except sqlite3.Error as error:
            raise not_written(error) from error

    def write(self, page: Page) -> None:
        """Write into the transaction that was begun: durable when that is. What is raised ends it."""
        try:
            carry_out(self._writer, effect([page]))
        except sqlite3.Error as error:
            raise not_written(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Be the only one who writes. On leaving, what was written is made durable, or all of it is undone.

        Raises ``Busy``, ``NotWritten`` or ``Unknown``.
        """
        database = self._writer
        try:
            database.execute(WRITE["begin"])
        except sqlite3.Error as error:
            raise not_written(error) from error
        try:
            yield
            try:
                database.execute("COMMIT")
            except sqlite3.Error as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
                    # The next start may find the commit in the log, and the disk may have lost it.
                    raise Unknown("the disk failed while the order was written", error) from error
                raise not_written(error) from error
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")

    def look(self, name: str) -> Event | NoSuchEvent:
        found = self._row_of(name)
        return Event(name, *found[1:4]) if found else NoSuchEvent(name)

    def find(self, order: str) -> Order | NoSuchOrder:
        for name, *values in self._asked("find", (order,)):
            return order_in(name, row_of(values))
        return NoSuchOrder(order)

    def tickets(self, name: str, first: int, last: int) -> TicketMap | NoSuchEvent:
        reader = self._reader
        reader.execute("BEGIN")  # so that both see the same
        try:
            found = self._row_of(name)
            if not found:
                return NoSuchEvent(name)
            taken = self._asked("tickets", (found[0], first, last))
        finally:
            reader.execute("COMMIT")
        event = Event(name, *found[1:4])
        return TicketMap(event, *(runs(ticket for ticket, held in taken if held == kind) for kind in (False, True)))

    def names(self, after: str, limit: int) -> list[str]:
        return [name for (name,) in self._asked("names", (after, limit))]

    def create(self, name: str, capacity: int) -> bool:
        try:
            return self._reader.execute(WRITE["create"], (name, capacity)).rowcount == 1
        except sqlite3.Error as error:
            raise not_written(error) from error

    def overdue(self, now: float) -> Iterator[tuple[str, float]]:
        with suppress(sqlite3.Error):  # the next time
            yield from self._reader.execute(READ["overdue"], (now,)).fetchall()

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        found = self._row_of(name)
        return self._changes(found[0], name, after) if found else NoSuchEvent(name)

    def _changes(self, number: int, name: str, after: int) -> Iterator[bytes]:
        while rows := self._asked("changes", (number, after, CHANGES_AT_ONCE)):
            for row in map(row_of, rows):
                yield line_in(name, row)
                after = row["version"]

    def _row_of(self, name: str) -> tuple[int, int, int, int, int] | None:
        return next(iter(self._asked("look", (name,))), None)

    def _asked(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        """Return the rows of a statement that changes nothing. Raises ``Busy`` or ``NotWritten``."""
        try:
            return self._reader.execute(READ[statement], values).fetchall()
        except sqlite3.Error as error:
            raise not_written(error) from error

    @property
    def _reader(self) -> sqlite3.Connection:
        """The connection of this thread, for what is looked at while another may write."""
        if not hasattr(self._here, "reader"):
            self._here.reader = self._connected()
        reader: sqlite3.Connection = self._here.reader
        return reader

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            database.execute(f"PRAGMA {pragma}")
        self._connections.append(database)
        return database

    def _make_private(self) -> None:
        """Let the file be there, for its owner alone: SQLite gives its log the same rights, but would follow a link."""
        if not self.path.parent.exists():
            disk.make_folder(self.path.parent)
        disk.must_be_file(self.path)
        with suppress(FileExistsError):
            os.close(disk.private(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        for path in (self.path, *(Path(f"{self.path}{end}") for end in ("-wal", "-shm"))):
            disk.must_be_file(path)
            # Only where it has to be: to close a file of one's own gives up all of SQLite's locks in this process.
            if path.exists() and path.stat().st_mode & 0o077:
                disk.narrow(path)

    def _prepared(self, seeds: Mapping[str, int]) -> None:
        database = self._connected()
        try:
            database.execute(WRITE["begin"])  # many may start at once
            self._migrate(database)
            database.executemany(WRITE["create"], seeds.items())
            if not database.execute(READ["names"], ("", 1)).fetchall():
                database.execute(WRITE["create"], SEED)
            database.execute("COMMIT")
        finally:
            self.close()

    def _migrate(self, database: sqlite3.Connection) -> None:
        tables = {name for (name,) in database.execute(READ["tables"])}
        if tables and "editions" not in tables:
            raise Refused(f"{self.path} has tables of another program ({min(tables)}): choose another path")
        edition, least = database.execute(READ["edition"]).fetchone() if tables else (0, 0)
        if least == INCOMPLETE:
            raise Refused(f"{self.path} is a copy that has not come to its end: make it again")
        if edition > EDITION:
            raise Refused(f"{self.path} has schema {edition}, and this release knows {EDITION}: use a newer release")
        for step in range(edition + 1, EDITION + 1):
            for statement in queries.load("sqlite", f"schema_{step}").values():
                database.execute(statement)
            database.execute(WRITE["edition"], (step,))


def not_written(error: sqlite3.Error) -> Busy | NotWritten:
    """Return what to raise when SQLite refused, and nothing has changed."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return Busy(BUSY_S)
    return NotWritten("the ticket store cannot be written, so nothing was done", error)
