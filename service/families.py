"""The metrics that there are, as values: the client's objects and the table in docs/observe.md are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

EVENTS_MAX = 100
"""Of so many events it is told what is left."""
TIMES_S = (10e-6, 30e-6, 100e-6, 300e-6, 1e-3, 3e-3, 10e-3, 30e-3, 100e-3, 300e-3, 1.0, 3.0, 10.0, 30.0)
"""Bounds of the buckets for times: what an fsync takes, and the longest that anybody waits."""
ORDERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A metric: its name, with its unit and ``_total`` as Prometheus wants them, its labels, and what it counts."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = field(default=())


REQUESTS = Family(
    "turnstile_requests_total", "counter", ("route", "method", "status", "outcome"),
    "replies to requests; outcome is done, or the slug of the problem",
)  # fmt: skip
REQUEST_S = Family(
    "turnstile_request_seconds", "histogram", ("route", "method"),
    "from when a request had arrived whole to when its reply was made", TIMES_S,
)  # fmt: skip
REFUSALS = Family(
    "turnstile_refusals_total", "counter", ("reason",),
    "requests refused at the door, before they had a route; reason is the slug of the problem",
)  # fmt: skip
WAIT_S = Family("turnstile_lock_wait_seconds", "histogram", (), "the wait for a turn inside the lock", TIMES_S)
VAIN = Family("turnstile_lock_timeouts_total", "counter", (), "waits for a turn that ended without one")
HOLD_S = Family("turnstile_hold_seconds", "histogram", (), "how long a turn took: read, decide, write", TIMES_S)
BATCH = Family("turnstile_batch_orders", "histogram", (), "orders that went inside together in one turn", ORDERS)
FSYNC_S = Family("turnstile_fsync_seconds", "histogram", (), "how long an fsync of the store's files took", TIMES_S)
RETRIES = Family("turnstile_retries_total", "counter", (), "orders that came second, and were decided again")
LOST = Family("turnstile_log_lines_lost_total", "counter", (), "lines of the log that found no room")
DEATHS = Family("turnstile_worker_deaths_total", "counter", (), "workers that ended without having been told to")
QUEUE = Family("turnstile_queue_length", "gauge", (), "orders that wait in the queues of the workers")
INSIDE = Family("turnstile_requests_inside", "gauge", (), "requests in the workers: at work, or waiting")
WORKERS = Family("turnstile_workers", "gauge", (), "worker processes that are alive")
LEFT = Family(
    "turnstile_tickets_left", "gauge", ("event",),
    f"tickets that are left, of the first {EVENTS_MAX} events by name",
)  # fmt: skip
CAPACITY = Family("turnstile_tickets_capacity", "gauge", ("event",), "tickets that there are, of the same events")
STORE = Family("turnstile_store_up", "gauge", (), "1 if the store could be looked at when this was read, else 0")
BUILD = Family("turnstile_build_info", "gauge", ("version", "mode"), "1, for what runs here")

COUNTED = (
    *(REQUESTS, REQUEST_S, REFUSALS, WAIT_S, VAIN, HOLD_S, BATCH, FSYNC_S, RETRIES, LOST, DEATHS),
    *(QUEUE, INSIDE, WORKERS),
)
"""What processes count, each for itself."""
LOOKED_AT = (LEFT, CAPACITY, STORE, BUILD)
"""What is looked up when it is asked for."""
