"""Metrics: what happens inside, counted for Prometheus by its own client, in a file a process (``counts.py``).

Import it when the folder of the files is there: the client asks for it when it is imported. What is told is put in a
queue and no more, and counted five times a second: one count costs the client ten times as much as all the rest of it.
So a process that is killed takes a fifth of a second of its counts along. Whatever is the matter with the folder or the
client, nothing is raised: counts are lost, that is said once, and selling goes on.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import threading
import time
from bisect import bisect_left
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service import families
from service.families import COUNTED, Family
from service.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.counts import Folder

FLUSH_S = 0.2
"""How often what was told is counted."""
TOLD_MAX = 10_000
"""When so much was told and is not counted, whoever tells more counts it."""

LOG = logging.getLogger("turnstile")

Told = tuple[Family, tuple[str, ...], float]


class Metrics(Watch):
    """One who counts. Make it before the fork, when ``folder`` is where the client keeps its files."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._said = mmap.mmap(-1, 1)  # shared by all processes: what one has said, the others need not say
        registry = CollectorRegistry()
        self._metrics = {each: _made(each, registry) for each in COUNTED if each.kind != "gauge"}
        self._gauges = {each: _gauge(each, registry) for each in COUNTED if each.kind == "gauge"}
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin in this process: what its parent was told is the parent's to count."""
        self._told: deque[Told] = deque()
        self._counting = threading.Lock()
        self._starting = threading.Lock()
        self._flusher: threading.Thread | None = None
        self._queues: list[Callable[[], int]] = []
        self._inside: Callable[[], int] = int
        self._is_worker = False
        self._has_room = False

    def turn(self, wait_s: float, hold_s: float, *, done: bool) -> None:
        super().turn(wait_s, hold_s, done=done)
        self._tell(families.WAIT_S, wait_s)
        self._tell(families.HOLD_S, hold_s)

    def in_vain(self, wait_s: float) -> None:
        self._tell(families.WAIT_S, wait_s)
        self._tell(families.VAIN, 1)

    def batch(self, orders: int) -> None:
        self._tell(families.BATCH, orders)

    def synced(self, took_s: float) -> None:
        self._tell(families.FSYNC_S, took_s)

    def tried_again(self) -> None:
        self._tell(families.RETRIES, 1)

    def lost_line(self) -> None:
        self._tell(families.LOST, 1)

    def refused(self, reason: str) -> None:
        self._tell(families.REFUSALS, 1, (reason,))

    def answered(self, route: str, method: str, status: int, outcome: str, took_s: float) -> None:
        self._tell(families.REQUESTS, 1, (route, method, str(status), outcome))
        self._tell(families.REQUEST_S, took_s, (route, method))

    def queue(self, length: Callable[[], int]) -> None:
        self._queues.append(length)

    def worker(self, inside: Callable[[], int]) -> None:
        self._inside, self._is_worker = inside, True
        self._run_beside()

    def alive(self, processes: set[int]) -> None:
        try:
            self.folder.fold(processes)
        except OSError as error:
            if not self.folder.path.is_dir():  # else it is for want of a file, and done in a second
                self._miss(error)
        except Exception as error:  # noqa: BLE001  # it would end the master, and all workers with it
            self._miss(error)

    def died(self, workers: int) -> None:
        """Count it at once: workers are forked from the master, so it has no thread beside."""
        self._told.append((families.DEATHS, (), workers))
        self._set_aside()
        self.flush()

    def end(self) -> None:
        self.folder.remove()

    def _tell(self, family: Family, value: float, labels: tuple[str, ...] = ()) -> None:
        self._told.append((family, labels, value))
        if len(self._told) > TOLD_MAX:
            self.flush()
        elif self._flusher is None:
            self._run_beside()

    def _run_beside(self) -> None:
        self._set_aside()
        with self._starting:
            if self._flusher:
                return
            thread = threading.Thread(target=self._run, name="metrics", daemon=True)
            with contextlib.suppress(RuntimeError):  # no room for a thread: whoever is next to tell tries again
                thread.start()
                self._flusher = thread

    def _set_aside(self) -> None:
        """Have room to count in. Call it without a lock: a line of the log that is lost is told here again."""
        try:
            self.folder.set_aside(os.getpid())
            self._has_room = True
        except OSError as error:  # no room in memory, say: it counts nothing
            self._miss(error)

    def _miss(self, why: Exception) -> None:
        """Say that counts are missing, once in the life of the service."""
        if not self._said[0]:
            self._said[0] = 1
            LOG.error("not all is counted any more, and selling goes on: %s", why)

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH_S)
            self.flush()

    def flush(self) -> None:
        why = self._flushed()
        if why:  # said without the lock, as ``_set_aside`` has it
            self._miss(why)

    def _flushed(self) -> Exception | None:
        with self._counting:
            values: dict[tuple[Family, tuple[str, ...]], list[float]] = defaultdict(list)
            for _ in range(len(self._told)):
                family, labels, value = self._told.popleft()
                values[family, labels].append(value)
            if self._has_room:
                try:
                    self._count(values)
                except Exception as error:  # noqa: BLE001  # whatever it is, the order was placed all the same
                    self._has_room = False  # the client has let go of its files, and does not come back to them
                    return error
        return None

    def _count(self, values: dict[tuple[Family, tuple[str, ...]], list[float]]) -> None:
        for (family, labels), told in values.items():
            metric = self._metrics[family]
            child = metric.labels(*labels) if labels else metric
            if isinstance(child, _Histogram):
                child.observe_all(told)
            elif isinstance(child, Counter):
                child.inc(sum(told))
        if self._is_worker:
            for gauge, value in (
                (families.WORKERS, 1),
                (families.INSIDE, self._inside()),
                (families.QUEUE, sum(length() for length in self._queues)),
            ):
                self._gauges[gauge].set(value)


class _Histogram(Histogram):
    """The client's, but that many values are observed at the price of a few."""

    def observe_all(self, values: list[float]) -> None:
        """Observe all of ``values``."""
        counts = [0] * len(self._buckets)
        for value in values:
            counts[bisect_left(self._upper_bounds, value)] += 1
        self._sum.inc(sum(values))
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


def _made(family: Family, registry: CollectorRegistry) -> Counter | _Histogram:
    if family.kind == "counter":
        return Counter(family.name.removesuffix("_total"), family.help, family.labels, registry=registry)
    return _Histogram(family.name, family.help, family.labels, registry=registry, buckets=family.bounds)


def _gauge(family: Family, registry: CollectorRegistry) -> Gauge:
    return Gauge(family.name, family.help, family.labels, registry=registry, multiprocess_mode="livesum")
