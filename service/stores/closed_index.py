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

from service.mode import Busy, Damaged, NotWritten
from service.stores import disk, journal
from service.stores.closed_rows import SCHEMA, THIS, add, forget, mark_of

FILE = "orders.sqlite"
CACHE_KIB = 512
"""How much of the file a thread that looks keeps in memory."""
BUSY_S = 60.0
"""How long who fills it waits for others at it: beside those who sell, never inside."""
LOOK_S = 0.05
"""How long who looks waits for one who keeps the whole file to himself. Who only fills it is in nobody's way."""
AGAIN_S = 1.0
"""How soon it is tried again to fill it, when somebody misses what is not in there."""
TRIES_MAX, TRY_S = 200, 0.01
PRAGMAS = f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{CACHE_KIB};"
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
"""What SQLite says when others are at it, who will end."""
Closed = tuple[int, Path]
"""A closed journal: the version that it begins after, and its path."""


class ClosedIndex:
    """The index of the closed journals of a directory. Make it in each worker, after the fork."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._making = threading.Lock()
        self._here = threading.local()
        self._starting = threading.Lock()
        self._wanted = self._filling = False
        self._begun = float("-inf")
        self._known: set[tuple[str, int]] = set()
        """Closed journals that were found in it."""

    def left(self, event: str, journals: list[Closed]) -> list[Closed]:
        """Return the first of these closed journals of an event that is not in the index, and all behind it.

        Raises ``Damaged``, and ``Busy`` where somebody keeps the file to himself.
        """
        try:
            connection = self._mine()
            if connection is None:
                return journals
            for place, (since, path) in enumerate(journals):
                if (event, since) not in self._known:  # a closed journal never changes
                    if not connection.execute(f"SELECT 1 {THIS}", (event, since, mark_of(path))).fetchone():
                        return journals[place:]
                    self._known.add((event, since))
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:  # it has no tables yet
                return journals
            raise self._unusable(error) from error
        return []

    def place(self, event: str, name: bytes) -> tuple[int, int] | None:
        """Return in which journal an order or a key of an event stands last, by its ``since``, and where it begins.

        It may be one that is gone: ask ``left`` before which there are. Raises as that.
        """
        try:
            connection = self._mine()
            if connection is None:
                return None
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
        with self._starting:
            self._wanted, self._begun = True, time.monotonic()
            if not self._filling:
                self._filling = True
                try:
                    threading.Thread(target=self._fill, name="order index", daemon=True).start()
                except RuntimeError:  # the machine has no room for one more: whoever misses an order tries again
                    self._filling = False

    def is_due(self) -> bool:
        """Tell whether that is to be tried once more: it was some time ago, and did not come to its end."""
        return not self._filling and time.monotonic() - self._begun >= AGAIN_S

    def _fill(self) -> None:
        while True:
            with self._starting:
                if not self._wanted:
                    self._filling = False
                    return
                self._wanted = False
            # Whoever asks for an order looks into the journals, and will be told where the index is damaged.
            with contextlib.suppress(Busy, Damaged, NotWritten, OSError, sqlite3.Error):
                self.catch_up()

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
                forget(connection, self._directory)
            for each, path in there.items():
                if each not in known:
                    add(connection, each, path)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        finally:
            connection.close()

    @property
    def _file(self) -> Path:
        return self._directory / FILE

    def _connected(self) -> sqlite3.Connection:
        """Make the file where there is none, and connect to fill it."""
        with self._making, contextlib.suppress(FileExistsError):
            # Only ever before SQLite opens it: to close a file of one's own gives up all its locks in this process.
            os.close(disk.private(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        connection = self._opened(BUSY_S)
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

    def _opened(self, busy_s: float) -> sqlite3.Connection:
        try:
            disk.must_be_file(self._file)  # SQLite itself refuses links in the place of the files beside it
        except OSError as error:
            raise Damaged(f"{self._file.name} cannot be used ({error.strerror})") from None
        return sqlite3.connect(self._file, timeout=busy_s, isolation_level=None, check_same_thread=False)

    def _unusable(self, error: sqlite3.DatabaseError) -> Busy | Damaged | NotWritten:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # what is above says more of it
        if code in LOCKED:
            return Busy(0)
        if code == sqlite3.SQLITE_FULL:  # it is whole, and goes on when there is room
            return NotWritten(f"{self._file.name} cannot be written (no room on the disk), so nothing was done")
        return Damaged(f"{self._file.name} cannot be used ({error}): stop the service and remove it, it is made again")

    def _mine(self) -> sqlite3.Connection | None:
        """Return this thread's connection to look: threads that shared one would wait for each other."""
        mine: sqlite3.Connection | None = getattr(self._here, "connection", None)
        if mine is None and os.path.lexists(self._file):
            mine = self._opened(LOOK_S)
            mine.execute(f"PRAGMA cache_size = -{CACHE_KIB}")  # and nothing that would wait for those who fill it
            self._here.connection = mine
        return mine


def _same(path: Path, growing: Path) -> bool:
    return growing.exists() and path.samefile(growing)
