"""Where an order, or an idempotency key, stands in which journal: found in a time and a memory that do not grow.

An order's identifier begins with eight digits that stand for its event, so only that event is looked through. The
orders of the journal that grows are kept in memory, in each worker, and caught up when somebody asks; those of closed
journals stand in a SQLite file that all workers share. Both can be made again from the journals, and are.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from zlib import crc32

from service.mode import Damaged
from service.stores import fencing, journal
from service.stores.document import private
from service.stores.fencing import CANCEL, FENCE, LINE_BYTES_MAX, START, Place
from service.values import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ORDER_ID = re.compile(r"[0-9a-f]{32}")
LINE = re.compile(rb'^\{"version":\d+(?:,"order":"([0-9a-f]{32})")?(?:,"key":"([0-9a-f]{32})")?', re.MULTILINE)
"""How a line begins. A line break in a buyer's name is escaped in JSON, so it is nowhere else."""
VERSION = re.compile(rb'^\{"version":(\d+)')
PIECE_BYTES = 1 << 20
ORDERS_MAX = 250_000
"""Most orders that a worker keeps in memory, of all events together: some 50 MB. The least asked for go first."""
BUSY_S = 60.0
TRIES_MAX, TRY_S = 200, 0.01
SCHEMA = """
CREATE TABLE IF NOT EXISTS journals (id INTEGER PRIMARY KEY, event TEXT, since INTEGER, mark INTEGER,
    UNIQUE (event, since));
CREATE TABLE IF NOT EXISTS orders (id BLOB PRIMARY KEY, journal INTEGER, start INTEGER) WITHOUT ROWID;
"""


@dataclass(slots=True)
class _Growing:
    """What is known of the journal that grows."""

    file: tuple[int, int]
    read: int = 0
    last: bytes = b""
    place: Place = START
    starts: dict[bytes, int] = field(default_factory=dict)
    earlier: bool = False
    """The closed journals before it are all in the SQLite file."""


class OrderIndex:
    """The index of a directory. Make it in each worker, after the fork."""

    def __init__(self, directory: Path, journals: Mapping[str, Path]) -> None:
        self._directory = directory
        self._journals: dict[str, list[Path]] = {}
        for name, path in journals.items():
            self._journals.setdefault(place_of(name), []).append(path)
        self._one, self._making = threading.Lock(), threading.Lock()
        self._growing: OrderedDict[Path, _Growing] = OrderedDict()
        self._closed: sqlite3.Connection | None = None

    def find(self, order: str) -> bytes:
        """Return the line of an order, or nothing if there is none. Raises ``Damaged``."""
        if ORDER_ID.fullmatch(order):
            for path in self._journals.get(order[:8], ()):
                with self._one:
                    if line := self._found(path, order.encode()):
                        return line
        return b""

    def find_key(self, path: Path, key: str) -> bytes:
        """Return the line that answers for an idempotency key of the event with this journal, or nothing."""
        with self._one:
            return self._found(path, key.encode())

    def knows(self, order: str) -> bool:
        """Tell whether there is an event whose orders begin like this one."""
        return order[:8] in self._journals

    def add(self, name: str, path: Path) -> None:
        """Know one more event."""
        with self._one:
            self._journals.setdefault(place_of(name), []).append(path)

    def catch_up_beside(self) -> None:
        """Index the closed journals in a thread of its own, before anybody asks for their orders."""
        if not journal.closed(self._directory):
            return

        def catch_up() -> None:
            with contextlib.suppress(Damaged, OSError, sqlite3.Error):  # whoever asks for an order will be told
                self._catch_up()

        threading.Thread(target=catch_up, name="order index", daemon=True).start()

    def _found(self, path: Path, order: bytes) -> bytes:
        descriptor = private(path, os.O_RDONLY)
        try:
            growing = self._caught_up(path, descriptor)
            start = growing.starts.get(order)
            if start is not None:
                return _line(descriptor, start, order)
        finally:
            os.close(descriptor)
        if not growing.earlier:
            self._catch_up()
            growing.earlier = True
        return self._found_closed(path, order)

    def _caught_up(self, path: Path, descriptor: int) -> _Growing:
        status = os.fstat(descriptor)
        file = status.st_dev, status.st_ino
        growing = self._growing.get(path)
        # A batch that did not fit may have been seen here before it was taken back, and others stand there since.
        if growing is None or growing.file != file or not _still_there(descriptor, growing):
            growing = self._growing[path] = _Growing(file)
        self._growing.move_to_end(path)
        while growing.read < status.st_size:
            piece = os.pread(descriptor, PIECE_BYTES, growing.read)
            end = piece.rfind(b"\n") + 1
            if not end:
                break
            orders, growing.place = _orders(piece[:end], growing.place)
            growing.starts |= {order: growing.read + start for order, start in orders}
            growing.last = piece[piece.rfind(b"\n", 0, end - 1) + 1 : end]
            growing.read += end
        while len(self._growing) > 1 and sum(len(each.starts) for each in self._growing.values()) > ORDERS_MAX:
            self._growing.popitem(last=False)
        return growing

    def _found_closed(self, path: Path, order: bytes) -> bytes:
        if self._closed is None:
            if not self._file.exists():
                return b""
            self._closed = self._connected()
        try:
            row = self._closed.execute(
                "SELECT event, since, start FROM orders JOIN journals ON journals.id = journal WHERE orders.id = ?",
                (bytes.fromhex(order.decode()),),
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        if row is None or row[0] != path.stem:
            return b""
        descriptor = private(journal.closed_path(path, row[1]), os.O_RDONLY)
        try:
            return _line(descriptor, row[2], order)
        finally:
            os.close(descriptor)

    def _catch_up(self) -> None:
        """Index the closed journals that are not in the SQLite file yet. Others may be at it too: one does it."""
        closed = journal.closed(self._directory)
        if not closed:
            return
        connection = self._connected()
        try:
            known = set(connection.execute("SELECT event, since, mark FROM journals"))
            for name, journals in closed.items():
                for since, path in journals:
                    each = name, since, _mark(path)
                    # One that has its second name only, and still grows, is none of them yet.
                    if each not in known and not path.samefile(self._directory / f"{name}.jsonl"):
                        _add(connection, each, path)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        finally:
            connection.close()

    @property
    def _file(self) -> Path:
        return self._directory / "orders.sqlite"

    def _connected(self) -> sqlite3.Connection:
        with self._making, contextlib.suppress(FileExistsError):
            # Only ever before SQLite opens it: to close a file of one's own gives up all its locks in this process.
            os.close(private(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        connection = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for left in reversed(range(TRIES_MAX)):
            try:
                # It can be made again, but must never be half made: WAL with fsync at its checkpoints holds that.
                connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {SCHEMA}")
                break
            except sqlite3.DatabaseError as error:
                # While another one switches a new file to WAL, SQLite does not wait by itself.
                if not left or not isinstance(error, sqlite3.OperationalError):
                    raise self._unusable(error) from error
                time.sleep(TRY_S)
        return connection

    def _unusable(self, error: sqlite3.DatabaseError) -> Damaged:
        return Damaged(f"{self._file.name} cannot be used ({error}): stop the service and remove it, it is made again")


def _mark(path: Path) -> int:
    """Return what tells a journal from one of the same name: the CRC-32 of how it begins, which says when that was."""
    descriptor = private(path, os.O_RDONLY)
    try:
        return crc32(os.pread(descriptor, LINE_BYTES_MAX, 0))
    finally:
        os.close(descriptor)


def _add(connection: sqlite3.Connection, journal: tuple[str, int, int], path: Path) -> None:
    """Add the orders of one closed journal, all or none, and forget those of another one of its name."""
    text = path.read_bytes()
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM journals WHERE (event, since, mark) = (?, ?, ?)", journal).fetchone():
            old = "(SELECT id FROM journals WHERE (event, since) = (?, ?))"
            connection.execute(f"DELETE FROM orders WHERE journal = {old}", journal[:2])  # noqa: S608  # ours alone
            added = connection.execute("INSERT OR REPLACE INTO journals (event, since, mark) VALUES (?, ?, ?)", journal)
            orders, _ = _orders(text, START)
            rows = ((bytes.fromhex(order.decode()), added.lastrowid, start) for order, start in orders)
            connection.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _orders(lines: bytes, place: Place) -> tuple[list[tuple[bytes, int]], Place]:
    """Return the orders and keys on whole lines that count, each with where its line begins, and the place after them.

    Raises ``Damaged``.
    """
    if CANCEL not in lines and not FENCE.search(lines):  # all count; not to open them takes a tenth of the time
        versions = VERSION.findall(lines[lines.rfind(b"\n", 0, -1) + 1 :])
        place = replace(place, version=int(versions[-1])) if versions else place
        found = ((name, match.start()) for match in LINE.finditer(lines) for name in match.groups() if name)
        return list(found), place
    orders: list[tuple[bytes, int]] = []
    start = 0
    for line in lines.splitlines(keepends=True):
        place, change = fencing.after(place, line)
        names = [change[name].encode() for name in ("order", "key") if name in change] if change else []
        orders += [(name, start) for name in names]
        start += len(line)
    return orders, place


def _still_there(descriptor: int, growing: _Growing) -> bool:
    """Tell whether the last line that was read is there still."""
    return os.pread(descriptor, len(growing.last), growing.read - len(growing.last)) == growing.last


def _line(descriptor: int, start: int, order: bytes) -> bytes:
    line, end, _ = os.pread(descriptor, LINE_BYTES_MAX, start).partition(b"\n")
    if order not in line:
        raise Damaged("the index of orders does not fit the journals: stop the service and remove orders.sqlite")
    return line + end
