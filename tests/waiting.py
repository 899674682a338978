"""Waiting until something is so, within bounds; how many have taken a number, and how many wait in a queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from promises.apart import PATIENCE_S, until
from service.turns import COUNTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.producer import Producer

__all__ = ["PATIENCE_S", "PROGRAM_S", "taken", "until", "until_within", "waiting"]
PROGRAM_S = 250.0
"""How long a program may take, beside three other tests: a load test alone takes half a minute."""


def taken(path: Path) -> int:
    """Return how many numbers have been taken."""
    return int.from_bytes(path.read_bytes()[:COUNTER_BYTES], "big") if path.exists() else 0


def until_within(patience_s: float, true: Callable[[], bool]) -> None:
    """Wait until it is true; fail when that takes longer than ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def waiting(producer: Producer) -> tuple[int, int]:
    """Return how many orders are in the hand of the queue's thread, which waits to go inside, and in the queue."""
    committer = producer._committer  # noqa: SLF001  # nothing else tells
    queued = committer._waiting.qsize()  # noqa: SLF001  # as above
    return (0, queued) if committer._thread is None else (1, queued)  # noqa: SLF001  # as above
