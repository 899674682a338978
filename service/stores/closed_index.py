"""The orders and keys of closed journals: in a SQLite file that all workers share, and that can be made again.

What SQLite does to its file does not go through ``disk.py``: whatever a power loss leaves of it, nothing is lost.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from service.mode import Damaged, NotWritten
from service.stores import disk, journal
from service.stores.fencing import LINE_BYTES_MAX, START
from service.stores.scan import scanned

if TYPE_CHECKING:
    from collections.abc import Iterator

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

THIS = "FROM journals WHERE (event, since, mark) = (?, ?, ?)"
ADD = """
INSERT INTO orders VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET journal = ?2, start = ?3
    WHERE ifnull((SELECT since FROM journals WHERE id = orders.journal), -1) <= ?4
"""
"""A journal that was lost and is restored does not come before those that were closed after it."""
Closed = tuple[int, Path]
"""A closed journal: the version that it begins after, and its path."""


class ClosedIndex:
    """The index of the closed journals of a directory. Make it in each worker, after the fork."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._making = threading.Lock()
        self._here = threading.local()
        self._known: set[tuple[str, int]] = set()
        """Closed journals that were found in it."""

    def left(self, event: str, journals: list[Closed]) -> list[Closed]:
        """Return the first of these closed journals of an event that is not in the index, and all behind it.

        Raises ``Damaged``.
        """
        connection = self._mine()
        if connection is None:
            return journals
        try:
            for place, (since, path) in enumerate(journals):
                if (event, since) not in self._known:  # a closed journal never changes
                    if not connection.execute(f"SELECT 1 {THIS}", (event, since, mark_of(path))).fetchone():
                        return journals[place:]
                    self._known.add((event, since))
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        return []

    def place(self, event: str, name: bytes) -> tuple[int, int] | None:
        """Return in which journal an order or a key of an event stands last, by its ``since``, and where it begins.

        It may be one that is gone: ask ``left`` before which there are. Raises ``Damaged``.
        """
        connection = self._mine()
        if connection is None:
            return None
        try:
            row = connection.execute(
                "SELECT event, since, start FROM orders JOIN journals ON journals.id = journal WHERE orders.id = ?",
                (bytes.fromhex(name.decode()),),
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        return None if row is None or row[0] != event else row[1:]

    def catch_up_beside(self) -> None:
        """Index the closed journals in a thread of its own, before anybody asks for their orders."""
        if not journal.closed(self._directory) and not self._file.exists():
            return

        def catch_up() -> None:
            with contextlib.suppress(
                Damaged, NotWritten, OSError, sqlite3.Error
            ):  # whoever asks for an order will be told
                self.catch_up()

        threading.Thread(target=catch_up, name="order index", daemon=True).start()

    def catch_up(self) -> None:
        """Index the closed journals that are not in the SQLite file yet, and forget those that are not there any more.

        Others may be at it too: one does it.
        """
        closed = journal.closed(self._directory)
        if not closed and not self._file.exists():
            return
        there = {
            (name, since, mark_of(path)): path
            for name, journals in closed.items()
            for since, path in journals
            # One that has its second name only, and still grows, is none of them yet.
            if not _same(path, self._directory / f"{name}.jsonl")
        }
        connection = self._connected()
        try:
            known = set(connection.execute("SELECT event, since, mark FROM journals"))
            if known - there.keys():
                _forget(connection, self._directory)
            for each, path in there.items():
                if each not in known:
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


def is_there(directory: Path, event: str, since: int, mark: int) -> bool:
    """Tell whether there is the closed journal that the index knows."""
    try:
        return mark_of(journal.closed_path(directory / f"{event}.jsonl", since)) == mark
    except FileNotFoundError:
        return False


def _same(path: Path, growing: Path) -> bool:
    return growing.exists() and path.samefile(growing)


def _forget(connection: sqlite3.Connection, directory: Path) -> None:
    """Forget the journals that are gone, of events that were removed, started anew or restored from a copy."""
    with _changing(connection):
        rows = connection.execute("SELECT id, event, since, mark FROM journals").fetchall()  # as it is by now
        gone = [(number,) for number, *each in rows if not is_there(directory, *each)]
        connection.executemany("DELETE FROM journals WHERE id = ?", gone)
        connection.execute("DELETE FROM orders WHERE journal NOT IN (SELECT id FROM journals)")


def _add(connection: sqlite3.Connection, journal: tuple[str, int, int], path: Path) -> None:
    """Add the orders of one closed journal, all or none."""
    text = disk.whole(path)
    with _changing(connection):
        if not connection.execute(f"SELECT 1 {THIS}", journal).fetchone():
            added = connection.execute("INSERT INTO journals (event, since, mark) VALUES (?, ?, ?)", journal)
            orders, _ = scanned(text, START)
            rows = ((bytes.fromhex(order.decode()), added.lastrowid, start, journal[1]) for order, start in orders)
            connection.executemany(ADD, rows)


@contextlib.contextmanager
def _changing(connection: sqlite3.Connection) -> Iterator[None]:
    """Be the one who changes the index, and do all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
