"""What ``GET /metrics`` answers: all that was counted, and what is looked up when it is asked for.

Import it when the folder of the counts is there, as ``metrics.py``.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service import __version__, families
from service.families import EVENTS_MAX
from service.mode import Damaged
from service.outcomes import NoSuchEvent
from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from service.families import Family
    from service.metrics import Metrics
    from service.mode import Mode
    from service.values import Event

FRESH_S = 0.2
"""What was read is told again for so long, so that nobody keeps a worker busy by asking."""
LOOK_S = 2.0
"""How long is waited for the store: an engine that is away may keep whoever asks it, and Prometheus asks for 5 s."""
READ_S = LOOK_S + 1
"""How long is waited for another who reads."""
TRIES = 3
"""A file that was being made when it was read is read again. Whoever asks after that may ask again, too."""


class Exposition:
    """Call it for the text. One at a time reads. Who comes meanwhile waits for that, and is told the
    same: told what was read an hour ago, Prometheus would see counters fall.
    """

    def __init__(self, metrics: Metrics, mode: Mode) -> None:
        self._metrics = metrics
        self._mode = mode
        self._looked = _Looked(mode)
        self._text, self._at = b"", float("-inf")
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._reading = threading.Lock()

    def __call__(self) -> bytes:
        """Return the text. Raises ``Problem``."""
        if not self._reading.acquire(timeout=READ_S):
            raise Problem(503, "busy", "what was counted is being read, which takes long; try again")
        try:
            if time.monotonic() - self._at >= FRESH_S:
                self._text, self._at = self._read(), time.monotonic()
            return self._text
        finally:
            self._reading.release()

    def _read(self) -> bytes:
        self._metrics.flush()
        why = ""
        for _ in range(TRIES):
            try:
                return self._generated()
            except OSError as error:
                why = str(error.strerror)  # and not its path
            except Exception as error:  # noqa: BLE001  # whatever the client finds in a file
                why = str(error)
        raise Problem(503, "busy", f"what was counted cannot be read now ({why}), and selling goes on; try again")

    def _generated(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self._looked)
        with self._metrics.folder.read():
            MultiProcessCollector(registry, path=str(self._metrics.folder.path))
            return generate_latest(registry)


class _Looked(Collector):
    """What is looked up when it is asked for, in a thread of its own, one at a time."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._looking: threading.Thread | None = None
        self._found: list[Event] = []
        self._whole = False

    def collect(self) -> Iterator[Metric]:
        build = _looked(families.BUILD)
        build.add_metric((__version__, self._mode.name), 1)
        left, capacity, up = _looked(families.LEFT), _looked(families.CAPACITY), _looked(families.STORE)
        up.add_metric((), int(self._look()))
        for event in list(self._found):
            left.add_metric((event.name,), event.count)
            capacity.add_metric((event.name,), event.capacity)
        yield from (build, left, capacity, up)

    def _look(self) -> bool:
        """Tell whether all events could be looked at in time. If not, those that could are told all the same."""
        if self._looking is None or not self._looking.is_alive():
            self._found, self._whole = [], False
            thread = threading.Thread(target=self._run, name="looking", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no room for one more
                return False
            self._looking = thread
        self._looking.join(LOOK_S)
        return self._whole

    def _run(self) -> None:
        found, store, whole = self._found, self._mode.store, True
        try:
            for name in store.names("", EVENTS_MAX):
                try:
                    event = store.look(name)
                except Damaged:  # this one; the others may be whole
                    whole = False
                    continue
                if not isinstance(event, NoSuchEvent):
                    found.append(event)
        except Exception:  # noqa: BLE001  # whatever an engine raises: the rest is told all the same
            return
        self._whole = whole


def _looked(family: Family) -> GaugeMetricFamily:
    return GaugeMetricFamily(family.name, family.help, labels=family.labels)
