"""Stores to measure on: fresh ones, and ones from which much has been sold, written by the store's own code."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING
from unittest import mock

from service.batch import commit
from service.commands import Buy
from service.rules import decide
from service.stores import recovery
from service.stores.json_file import JsonFile
from service.values import order_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TICKETS = 10_000_000
"""More than any slice can sell, so that nothing is sold out."""
EVENT = "default"
BATCH_ORDERS = 256
AT = 1.8e9
"""When the orders were placed that were there before."""


def fresh(directory: Path) -> None:
    """Fill an empty directory with one event, in the article's own form."""
    several(directory, [EVENT])


def several(directory: Path, events: Iterable[str]) -> None:
    """Fill an empty directory with several events, from which nothing has been sold."""
    directory.mkdir(mode=0o700, parents=True)
    for event in events:
        (directory / f"{event}.json").write_text(f'{{"count": {TICKETS}}}')


def sold(directory: Path, orders: int) -> None:
    """Fill an empty directory with an event from which ``orders`` orders have been sold; all of it is on disk then."""
    fresh(directory)
    claimed = recovery.prepare(directory, "the benchmark")
    try:
        store = JsonFile(directory)
        store.open()
        # An fsync for each batch would take minutes and change nothing about what is measured afterwards.
        with mock.patch("os.fsync"), mock.patch("os.fdatasync"):
            for first in range(0, orders, BATCH_ORDERS):
                _sell(store, range(first, min(first + BATCH_ORDERS, orders)))
    finally:
        os.close(claimed.descriptor)
    os.sync()


def identifier(number: int) -> str:
    """Return the identifier of an order that ``sold`` placed: the same in each run, and without order, as real ones."""
    return order_id(EVENT, hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).hexdigest())


def _sell(store: JsonFile, numbers: Sequence[int]) -> None:
    """Sell one ticket to each of ``numbers`` and write them as one batch."""
    orders = (Buy(identifier(number), EVENT, 1, buyer=f"buyer {number}") for number in numbers)
    commit(store, partial(decide, now=AT), orders)
