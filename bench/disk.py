"""What the disk takes."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import TYPE_CHECKING

from service.stores.sealed import seal

if TYPE_CHECKING:
    from pathlib import Path

FSYNCS = 200
LINE = seal({"version": 1, "order": "0" * 32, "event": "default", "status": "sold", "tickets": [1], "at": 1.8e9})


def fsync_ms(place: Path) -> float:
    """Return the median time to append a line to a file in ``place`` and to fsync it, in milliseconds."""
    took = []
    path = place / f"{os.getpid()}.fsync"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(FSYNCS):
            began = time.perf_counter_ns()
            os.write(descriptor, LINE)
            os.fsync(descriptor)
            took.append((time.perf_counter_ns() - began) / 1e6)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(took)
