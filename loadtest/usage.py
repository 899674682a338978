"""Processor time, from ``/proc``: what the service took, what the whole machine took, and so what others took."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds during a run: of the service (``None``: not ours), of each client process, of the machine."""

    elapsed_s: float
    cpus: int
    machine_s: float
    service_s: float | None
    clients_s: tuple[float, ...]


class Meter:
    """Measures between ``start`` and ``stop``: neither the making of clients nor the writing down of what they say."""

    def __init__(self, group: int | None) -> None:
        """``group`` is the process group of the service, if it is on this machine and ours."""
        self._group = group
        self._began = (0.0, 0.0, 0.0)

    def start(self) -> None:
        """Begin to measure."""
        self._began = self._now()

    def stop(self, clients_s: list[float]) -> Usage:
        """Return what was used since ``start``; ``clients_s`` is what the client processes say of themselves."""
        elapsed, machine, service = (after - before for after, before in zip(self._now(), self._began, strict=True))
        mine = None if self._group is None else service
        return Usage(elapsed, os.cpu_count() or 1, machine, mine, tuple(clients_s))

    def _now(self) -> tuple[float, float, float]:
        service = 0.0 if self._group is None else _group_s(self._group)
        own = os.times()
        return time.monotonic(), _machine_s() - own.user - own.system, service


def _machine_s() -> float:
    """Return the seconds that all processors together have been busy since the machine started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, (PROC / "stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def _group_s(group: int) -> float:
    """Return the seconds that the processes of a group have taken, and those of their children that have ended."""
    ticks = 0
    for path in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:  # proc(5): pgrp; utime, stime, cutime and cstime below
                ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S
