"""How long things may take at most, from what is set: by these figures they are waited for, and ended."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from service.arrivals import THREAD_S
from service.committer import BATCH_ORDERS_MAX
from service.daemon import END_S
from service.ending import PATIENCE_S
from service.latecomers import HEARD_S
from service.producer import ANSWER_S, WAY_S

if TYPE_CHECKING:
    from service.settings import Settings

WRITER_S = WAY_S + ANSWER_S
"""What a decision and a write may take, and the way to where it is done."""
SPARE_S = 1.0
"""What a worker has of time to end by itself before the master kills it."""
SPANS_S = 1.0
"""How long a worker tries to send the last spans, where there is tracing."""
QUICK_S = 2
"""How long workers have when the service is told to end at once."""


def inside_s(settings: Settings) -> float:
    """Return how long a request may be inside: for a thread, its turn, the writer's turn, its batch, and its write."""
    waits_s = max(settings.wait_s, THREAD_S) + 2 * settings.wait_s
    return waits_s + BATCH_ORDERS_MAX * settings.think_s + WRITER_S


def hung_s(settings: Settings) -> float:
    """Return after how long a request without an outcome is one that hangs; infinity: never."""
    return inside_s(settings) + settings.hang_s if settings.hang_s else math.inf


def workers_end_s(settings: Settings) -> int:
    """Return after how long the workers have ended when the service is told to end: gunicorn takes whole seconds."""
    return math.ceil(2 * PATIENCE_S + inside_s(settings) + SPARE_S + SPANS_S * bool(settings.tracing))


def service_ends_s(settings: Settings, daemons: int) -> float:
    """Return after how long the whole service has ended, with so many daemons, when all who came late have heard it."""
    return workers_end_s(settings) + HEARD_S + daemons * END_S
