"""What stands in the index of closed journals: which it knows, and where in them orders and keys stand last."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from zlib import crc32

from service.stores import disk
from service.stores.fencing import LINE_BYTES_MAX, START
from service.stores.journal import closed_path
from service.stores.scan import scanned

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

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
        return mark_of(closed_path(directory / f"{event}.jsonl", since)) == mark
    except FileNotFoundError:
        return False


def forget(connection: sqlite3.Connection, directory: Path) -> None:
    """Forget the journals that are gone, of events that were removed, started anew or restored from a copy."""
    with _changing(connection):
        rows = connection.execute("SELECT id, event, since, mark FROM journals").fetchall()  # as it is by now
        gone = [(number,) for number, *each in rows if not is_there(directory, *each)]
        connection.executemany("DELETE FROM journals WHERE id = ?", gone)
        connection.execute("DELETE FROM orders WHERE journal NOT IN (SELECT id FROM journals)")


def add(connection: sqlite3.Connection, journal: tuple[str, int, int], path: Path) -> None:
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
