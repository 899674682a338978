"""Which orders and idempotency keys stand on the lines of a journal, and where: without opening what need not be."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from service.mode import Damaged
from service.stores import fencing
from service.stores.fencing import CANCEL, FENCE, LINE_BYTES_MAX, Place

LINE = re.compile(
    rb'^\{"version":\d+(?:,"order":"([0-9a-f]{32}(?:[0-9a-f]{8})?)")?(?:,"key":"([0-9a-f]{32})")?', re.MULTILINE
)
"""How a line begins. A line break in a buyer's name is escaped in JSON, so it is nowhere else."""
VERSION = re.compile(rb'^\{"version":(\d+)')


def scanned(lines: bytes, place: Place) -> tuple[list[tuple[bytes, int]], Place]:
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


def line_at(descriptor: int, start: int, name: bytes) -> bytes:
    """Return the line that begins there, on which an order or a key is to be. Raises ``Damaged``."""
    line, end, _ = os.pread(descriptor, LINE_BYTES_MAX, start).partition(b"\n")
    if name not in line:
        raise Damaged("the index of orders does not fit the journals: stop the service and remove orders.sqlite")
    return line + end
