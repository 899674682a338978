"""Hold the index of closed journals to these journals: an order that is missing there would be one that nobody finds.

SQLite's pages have no checksums, so a bit that flips in a key hides an order without an error.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from service.mode import Damaged
from service.stores import closed_index, disk
from service.stores.closed_index import FILE
from service.stores.closed_rows import is_there
from service.stores.fencing import START
from service.stores.journal import closed_path
from service.stores.scan import scanned

if TYPE_CHECKING:
    from pathlib import Path

WHAT_TO_DO = "stop the service and remove it, it is made again"


def index_looked_at(directory: Path) -> tuple[list[str], list[str]]:
    """Return what is wrong with the index of a directory, a sentence each; and what the next start puts right."""
    file = directory / FILE
    try:
        disk.must_be_file(file)
    except OSError as error:
        return [f"{file} cannot be read ({error.strerror})"], []
    if not file.exists():
        return [], []
    missing, gone = 0, ""
    for left in reversed(range(closed_index.TRIES_MAX)):
        try:
            with closing(_looking(file)) as connection:
                missing, gone = _missing(directory, connection)
            break
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            if not left or not isinstance(error, sqlite3.OperationalError):
                return [f"{file} cannot be used ({error}): {WHAT_TO_DO}"], []
            time.sleep(closed_index.TRY_S)  # the log went while it was opened: a service's last look at it has ended
    return (
        [f"{file} leads to {missing} orders and keys wrongly, or not at all: {WHAT_TO_DO}"] if missing else [],
        [f"{FILE}: it knows a journal that is gone ({gone}), which the next start forgets"] if gone else [],
    )


def _looking(file: Path) -> sqlite3.Connection:
    """Open it without changing a file: with the log of a service that runs or was killed, if there is one.

    Two who end at the same time may leave an empty log without the file beside it, which nobody can read.
    """
    log, beside = (file.with_name(f"{FILE}-{end}") for end in ("wal", "shm"))
    how = "mode=ro&readonly_shm=1" if beside.exists() or (log.exists() and log.stat().st_size) else "immutable=1"
    return sqlite3.connect(
        f"file:{quote(str(file))}?{how}", uri=True, timeout=closed_index.BUSY_S, isolation_level=None
    )


def _missing(directory: Path, connection: sqlite3.Connection) -> tuple[int, str]:
    """Return how many orders and keys are not where the index says, and the last journal that it knows and is gone."""
    connection.execute("BEGIN")  # one moment, while others may add to it
    (sound,) = connection.execute("PRAGMA quick_check").fetchone()
    if sound != "ok":
        raise sqlite3.DatabaseError(sound)
    places: dict[bytes, tuple[int, int]] = {}
    gone = ""
    for number, event, since, mark in connection.execute("SELECT id, event, since, mark FROM journals ORDER BY since"):
        path = closed_path(directory / f"{event}.jsonl", since)
        try:
            if not is_there(directory, event, since, mark):  # of an event that was started anew
                gone = path.name
                continue
            orders, _ = scanned(disk.whole(path), START)
        except (OSError, Damaged):  # of the journal, which is looked at by itself
            continue
        places |= {bytes.fromhex(order.decode()): (number, start) for order, start in orders}
    for name, number, start in connection.execute("SELECT id, journal, start FROM orders"):
        if places.get(name) == (number, start):
            del places[name]
    return len(places), gone
