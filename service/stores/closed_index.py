"""The orders and keys of closed journals: in a SQLite file that all workers share, and that can be made again.

What SQLite does to its file does not go through ``disk.py``: whatever a power loss leaves of it, nothing is lost.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING
from zlib import crc32

from service.mode import Damaged, NotWritten
from service.stores import disk, journal
from service.stores.fencing import LINE_BYTES_MAX, START
from service.stores.scan import line_at, scanned

if TYPE_CHECKING:
    from pathlib import Path

FILE = "orders.sqlite"
CACHE_KIB = 512
"""How much of the file a thread that looks keeps in memory."""
BUSY_S = 60.0
TRIES_MAX, TRY_S = 200, 0.01
PRAGMAS = f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{CACHE_KIB};"
SCHEMA = """
CREATE TABLE IF NOT EXISTS journals (id INTEGER PRIMARY KEY, event TEXT, since INTEGER, mark INTEGER,
    UNIQUE (event, since));
CREATE TABLE IF NOT EXISTS orders (id BLOB PRIMARY KEY, journal INTEGER, start INTEGER) WITHOUT ROWID;
"""


class ClosedIndex:
    """The index of the closed journals of a directory. Make it in each worker, after the fork."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._making = threading.Lock()
        self._here = threading.local()

    def find(self, path: Path, name: bytes) -> bytes:
        """Return the last line of an order or a key of the event with this journal, or nothing. Raises ``Damaged``."""
        connection = self._mine()
        if connection is None:
            return b""
        try:
            row = connection.execute(
                "SELECT event, since, start FROM orders JOIN journals ON journals.id = journal WHERE orders.id = ?",
                (bytes.fromhex(name.decode()),),
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        if row is None or row[0] != path.stem:
            return b""
        descriptor = disk.private(journal.closed_path(path, row[1]), os.O_RDONLY)
        try:
            return line_at(descriptor, row[2], name)
        finally:
            os.close(descriptor)

    def catch_up_beside(self) -> None:
        """Index the closed journals in a thread of its own, before anybody asks for their orders."""
        if not journal.closed(self._directory):
            return

        def catch_up() -> None:
            with contextlib.suppress(
                Damaged, NotWritten, OSError, sqlite3.Error
            ):  # whoever asks for an order will be told
                self.catch_up()

        threading.Thread(target=catch_up, name="order index", daemon=True).start()

    def catch_up(self) -> None:
        """Index the closed journals that are not in the SQLite file yet. Others may be at it too: one does it."""
        closed = journal.closed(self._directory)
        if not closed:
            return
        connection = self._connected()
        try:
            known = set(connection.execute("SELECT event, since, mark FROM journals"))
            for name, journals in closed.items():
                for since, path in journals:
                    each = name, since, mark_of(path)
                    # One that has its second name only, and still grows, is none of them yet.
                    if each not in known and not path.samefile(self._directory / f"{name}.jsonl"):
                        _add(connection, each, path)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        finally:
            connection.close()

    @property
    def _file(self) -> Path:
        return self._directory / FILE

    def _connected(self) -> sqlite3.Connection:
        with self._making, contextlib.suppress(FileExistsError):
            # Only ever before SQLite opens it: to close a file of one's own gives up all its locks in this process.
            os.close(disk.private(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        try:
            disk.must_be_file(self._file)  # SQLite itself refuses links in the place of the files beside it
        except OSError as error:
            raise Damaged(f"{self._file.name} cannot be used ({error.strerror})") from None
        connection = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for left in reversed(range(TRIES_MAX)):
            try:
                # It can be made again, but must never be half made: WAL with fsync at its checkpoints holds that.
                connection.executescript(f"{PRAGMAS} {SCHEMA}")
                break
            except sqlite3.DatabaseError as error:
                # While another one switches a new file to WAL, SQLite does not wait by itself.
                if not left or not isinstance(error, sqlite3.OperationalError):
                    raise self._unusable(error) from error
                time.sleep(TRY_S)
        return connection

    def _unusable(self, error: sqlite3.DatabaseError) -> Damaged | NotWritten:
        if (
            getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        ):  # it is whole, and goes on when there is room
            return NotWritten(f"{self._file.name} cannot be written (no room on the disk), so nothing was done")
        return Damaged(f"{self._file.name} cannot be used ({error}): stop the service and remove it, it is made again")

    def _mine(self) -> sqlite3.Connection | None:
        """Return this thread's connection: threads that shared one would wait for each other."""
        mine: sqlite3.Connection | None = getattr(self._here, "connection", None)
        if mine is None and self._file.exists():
            mine = self._here.connection = self._connected()
        return mine


def mark_of(path: Path) -> int:
    """Return what tells a journal from one of the same name: the CRC-32 of how it begins, which says when that was."""
    descriptor = disk.private(path, os.O_RDONLY)
    try:
        return crc32(os.pread(descriptor, LINE_BYTES_MAX, 0))
    finally:
        os.close(descriptor)


def _add(connection: sqlite3.Connection, journal: tuple[str, int, int], path: Path) -> None:
    """Add the orders of one closed journal, all or none, and forget those of another one of its name."""
    text = disk.whole(path)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM journals WHERE (event, since, mark) = (?, ?, ?)", journal).fetchone():
            old = "(SELECT id FROM journals WHERE (event, since) = (?, ?))"
            connection.execute(f"DELETE FROM orders WHERE journal = {old}", journal[:2])  # noqa: S608  # ours alone
            added = connection.execute("INSERT OR REPLACE INTO journals (event, since, mark) VALUES (?, ?, ?)", journal)
            orders, _ = scanned(text, START)
            rows = ((bytes.fromhex(order.decode()), added.lastrowid, start) for order, start in orders)
            connection.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
