"""Waiting until something is so, within bounds; and how many have taken a number."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from service.turns import COUNTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S = 20.0


def taken(path: Path) -> int:
    """Return how many numbers have been taken."""
    return int.from_bytes(path.read_bytes()[:COUNTER_BYTES], "big") if path.exists() else 0


def until(true: Callable[[], bool]) -> None:
    """Wait until it is true; fail when that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)
