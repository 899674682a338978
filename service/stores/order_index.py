"""Where an order, or an idempotency key, stands in which journal: found in a time and a memory that do not grow.

An order's identifier begins with eight digits that stand for its event, so only that event is looked through. The
orders of the journal that grows are kept in memory, in each worker, and caught up when somebody asks; those of closed
journals stand in a SQLite file that all workers share. Both can be made again from the journals, and are.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.mode import Busy
from service.stores import disk, journal
from service.stores.closed_index import ClosedIndex
from service.stores.fencing import START, Place
from service.stores.scan import line_at, scanned
from service.values import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from service.stores.closed_index import Closed

ORDER_ID = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{8})?")
"""Orders of releases before this one have eight digits less."""
PIECE_BYTES = 1 << 20
SCANNED_BYTES_MAX = 16 << 20
"""As much of closed journals as is looked through without the index, which takes a quarter of a second, and is known
from then on. Else who asks for an order or a key hears that it is busy, until the index is made."""
ORDERS_MAX = 250_000
"""Most orders that a worker keeps in memory, of all events together: some 50 MB. The least asked for go first."""


@dataclass(slots=True)
class _Growing:
    """What is known of the journal that grows."""

    file: tuple[int, int]
    read: int = 0
    last: bytes = b""
    place: Place = START
    starts: dict[bytes, int] = field(default_factory=dict)
    closed: list[Closed] | None = None
    """The closed journals before it, oldest first, once somebody has asked for one of their orders."""
    left: list[Closed] = field(default_factory=list)
    """The last of these, from the first on that was not in the SQLite file when somebody asked."""


class OrderIndex:
    """The index of a directory. Make it in each worker, after the fork."""

    def __init__(self, directory: Path, journals: Mapping[str, Path]) -> None:
        self._journals: dict[str, list[Path]] = {}
        for name, path in journals.items():
            self._journals.setdefault(place_of(name), []).append(path)
        self._one = threading.Lock()
        self._growing: OrderedDict[Path, _Growing] = OrderedDict()
        self._closed = ClosedIndex(directory)

    def find(self, order: str) -> bytes:
        """Return the line of an order, or nothing if there is none. Raises ``Damaged``."""
        if ORDER_ID.fullmatch(order):
            for path in self._journals.get(order[:8], ()):
                if line := self._found(path, order.encode()):
                    return line
        return b""

    def find_key(self, path: Path, key: str) -> bytes:
        """Return the line that answers for an idempotency key of the event with this journal, or nothing."""
        return self._found(path, key.encode())

    def catch_up_beside(self) -> None:
        """Index what was closed before anybody asks for it."""
        self._closed.catch_up_beside()

    def knows(self, order: str) -> bool:
        """Tell whether there is an event whose orders begin like this one."""
        return order[:8] in self._journals

    def add(self, name: str, path: Path) -> None:
        """Know one more event."""
        with self._one:
            self._journals.setdefault(place_of(name), []).append(path)

    def _found(self, path: Path, name: bytes) -> bytes:
        with _reading(path) as descriptor:
            with self._one:
                growing = self._caught_up(path, descriptor)
                start = growing.starts.get(name)
            if start is not None:
                return line_at(descriptor, start, name)
        if growing.closed is None:
            growing.closed = growing.left = _closed_before(path, growing)
        return self._found_closed(path.stem, growing, growing.closed, name) if growing.closed else b""

    def _found_closed(self, event: str, growing: _Growing, closed: list[Closed], name: bytes) -> bytes:
        """Look through closed journals: by the index, and those that are not in there yet by themselves.

        Somebody may be inside meanwhile, and all others wait for him. So he never waits for those who fill the index.
        """
        try:
            before = growing.left
            left = growing.left = self._closed.left(event, before)
            self._let_go_of(before[: len(before) - len(left)])
            if left and self._closed.is_due():
                self.catch_up_beside()
            line = self._scanned(left, name)
            return line or (self._indexed(event, closed, name) if len(left) < len(closed) else b"")
        except Busy:
            return self._scanned(closed, name)

    def _scanned(self, journals: list[Closed], name: bytes) -> bytes:
        """Look through journals themselves, from the last one on. Raises ``Busy`` where that would take long."""
        if sum(path.stat().st_size for _, path in journals) > SCANNED_BYTES_MAX:
            raise Busy(0)
        for _, path in reversed(journals):
            with _reading(path) as descriptor:
                with self._one:
                    start = self._caught_up(path, descriptor).starts.get(name)
                if start is not None:
                    return line_at(descriptor, start, name)
        return b""

    def _let_go_of(self, journals: list[Closed]) -> None:
        """Keep no orders in memory that are in the index by now."""
        with self._one:
            for _, path in journals:
                self._growing.pop(path, None)

    def _indexed(self, event: str, closed: list[Closed], name: bytes) -> bytes:
        place = self._closed.place(event, name)
        path = dict(closed).get(place[0]) if place else None
        if place is None or path is None:  # it is of a journal that is gone
            return b""
        with _reading(path) as descriptor:
            return line_at(descriptor, place[1], name)

    def _caught_up(self, path: Path, descriptor: int) -> _Growing:
        status = os.fstat(descriptor)
        file = _file(status)
        growing = self._growing.get(path)
        # A batch that did not fit may have been seen here before it was taken back, and others stand there since.
        if growing is None or growing.file != file or not _still_there(descriptor, growing):
            growing = self._growing[path] = _Growing(file)
        self._growing.move_to_end(path)
        size = PIECE_BYTES
        while growing.read < status.st_size:
            piece = os.pread(descriptor, size, growing.read)
            end = piece.rfind(b"\n") + 1
            if not end:
                if len(piece) < size:  # half a line
                    break
                size *= 2  # the first line of a journal can be of any length: it names all tickets that came back
                continue
            orders, growing.place = scanned(piece[:end], growing.place)
            growing.starts |= {order: growing.read + start for order, start in orders}
            growing.last = piece[piece.rfind(b"\n", 0, end - 1) + 1 : end]
            growing.read += end
        while len(self._growing) > 1 and sum(len(each.starts) for each in self._growing.values()) > ORDERS_MAX:
            self._growing.popitem(last=False)
        return growing


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[int]:
    """Have a journal open to read it."""
    descriptor = disk.private(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _closed_before(path: Path, growing: _Growing) -> list[Closed]:
    """Return the closed journals of an event, but for one that grows, and has its second name already."""
    return [each for each in journal.closed(path.parent).get(path.stem, []) if _file(each[1].stat()) != growing.file]


def _file(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _still_there(descriptor: int, growing: _Growing) -> bool:
    """Tell whether the last line that was read is there still."""
    return os.pread(descriptor, len(growing.last), growing.read - len(growing.last)) == growing.last
