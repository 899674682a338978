"""What is kept in etcd, under which keys.

Under a prefix of the service's own:

- ``event/NAME``: an event's counters and its free tickets, as the first line of a journal that would begin now. Each
  change of an event changes this key, so the revision at which it was changed last stands for the whole event.
- ``hold/NAME/END/ORDER``: each live hold, in the order in which they end.
- ``order/ORDER``: each order, as the line of its last change.
- ``change/NAME/VERSION``: the lines of each write, as in a journal, under the last version on them.
- ``key/KEY``: what an idempotency key was used for.
- ``line/NAME/PLACE``: who waits in line (``etcd_line.py``); these alone end by themselves.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from service.mode import NotWritten
from service.stores.journal import opening
from service.stores.numbers import Free

if TYPE_CHECKING:
    from service.stores.standing import Standing
    from service.values import Order

FORMAT = b"1"
"""What ``format`` says under a prefix whose keys are as above."""
INCOMPLETE = b"incomplete"
"""What it says as long as a copy that is made there has not come to its end."""
EVENT_BYTES_MAX = 1_000_000
"""The longest value of an event's key; etcd takes no request above 1.5 MiB."""


class Keys:
    """The names of keys under a prefix. A pair of them is a range: from the first to below the second."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def format(self) -> bytes:
        return self._key("format")

    def event(self, name: str) -> bytes:
        return self._key("event", name)

    def events(self, after: str = "") -> tuple[bytes, bytes]:
        """Return the range of all events behind ``after``."""
        return self._key("event", after) + b"\0" * bool(after), self._key("event0")

    def order(self, order: str) -> bytes:
        return self._key("order", order)

    def used(self, key: str) -> bytes:
        return self._key("key", key)

    def all_used(self) -> tuple[bytes, bytes]:
        """Return the range of what all idempotency keys were used for."""
        return self._key("key", ""), self._key("key0")

    def everything(self) -> list[tuple[bytes, bytes]]:
        """Return the ranges of all that there is, but for the format."""
        kinds = ("event", "hold", "order", "change", "key", "line")
        return [(self._key(kind, ""), self._key(f"{kind}0")) for kind in kinds]

    def change(self, name: str, version: int) -> bytes:
        return self._key("change", name, f"{version:016d}")

    def changes(self, name: str, after: int) -> tuple[bytes, bytes]:
        """Return the range of all writes with a version above ``after`` on them."""
        return self.change(name, after + 1), self._key("change", f"{name}0")

    def hold(self, order: Order) -> bytes:
        # The bytes of numbers above zero are in the order of the numbers, to the last bit.
        return self._key("hold", order.event, struct.pack(">d", order.expires_at or 0.0).hex(), order.id)

    def holds(self, name: str) -> tuple[bytes, bytes]:
        """Return the range of an event's live holds."""
        return self._key("hold", name, ""), self._key("hold", f"{name}0")

    def all_holds(self) -> tuple[bytes, bytes]:
        """Return the range of the live holds of all events."""
        return self._key("hold", ""), self._key("hold0")

    def held(self, key: bytes) -> tuple[str, float]:
        """Return of which event a hold is, and when it ends, by its key alone."""
        name, end, _ = key.decode().rsplit("/", 3)[1:]
        return name, struct.unpack(">d", bytes.fromhex(end))[0]

    def place(self, name: str, place: str) -> bytes:
        return self._key("line", name, place)

    def line(self, name: str) -> tuple[bytes, bytes]:
        """Return the range of all places in an event's line."""
        return self._key("line", name, ""), self._key("line", f"{name}0")

    def _key(self, *words: str) -> bytes:
        return "/".join((self._prefix, *words)).encode()


def line_of(standing: Standing) -> bytes:
    """Return what an event's key holds: the first line of a journal that would go on from here.

    Raises ``NotWritten`` if etcd would not take it.
    """
    event, free = standing.event, standing.free
    given, returned = free.given, free.runs()
    while returned and returned[-1][1] == given:  # else tickets that all came back would stay listed one by one
        given = returned.pop()[0] - 1
    line = opening(event, Free(event.capacity, given, returned), event.version)
    if len(line) > EVENT_BYTES_MAX:
        raise NotWritten(
            f"the event's free tickets lie in so many pieces that {len(line)} bytes are needed to list them, and etcd "
            f"is given {EVENT_BYTES_MAX} at most, so nothing was done"
        )
    return line
