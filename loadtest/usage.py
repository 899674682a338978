"""Processor time, from ``/proc``: what the service took, what the whole machine took, and so what others took."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.servers.process import family

if TYPE_CHECKING:
    from collections.abc import Sequence

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds during a run: of the service (``None``: not ours), of each client process, of the machine.

    ``engine_s`` is that of a private server of the engine.
    """

    elapsed_s: float
    cpus: int
    machine_s: float
    service_s: float | None
    clients_s: tuple[float, ...]
    engine_s: float = 0.0


class Meter:
    """Measures between ``start`` and ``stop``: neither the making of clients nor the writing down of what they say."""

    def __init__(self, groups: Sequence[int] | None, servers: Sequence[int] = ()) -> None:
        """``groups`` are the process groups of the service, if it is on this machine and ours, one for each host.

        ``servers`` are the processes from which all others of an engine's server descend.
        """
        self._groups = groups
        self._servers = servers
        self._began = (0.0, 0.0, 0.0, 0.0)

    def start(self) -> None:
        """Begin to measure."""
        self._began = self._now()

    def stop(self, clients_s: list[float]) -> Usage:
        """Return what was used since ``start``; ``clients_s`` is what the client processes say of themselves."""
        elapsed, machine, *took = (after - before for after, before in zip(self._now(), self._began, strict=True))
        # One that was killed meanwhile has taken with it what it had used.
        service, engine = (max(0.0, seconds) for seconds in took)
        mine = None if self._groups is None else service
        return Usage(elapsed, os.cpu_count() or 1, machine, mine, tuple(clients_s), engine)

    def _now(self) -> tuple[float, float, float, float]:
        rows = _processes()
        theirs = [pid for server in self._servers for pid in family(server)]
        service = sum(seconds for _, group, seconds in rows if group in (self._groups or ()))
        engine = sum(seconds for pid, _, seconds in rows if pid in theirs)
        own = os.times()
        return time.monotonic(), _machine_s() - own.user - own.system, service, engine


def _machine_s() -> float:
    """Return the seconds that all processors together have been busy since the machine started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, (PROC / "stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def _processes() -> list[tuple[int, int, float]]:
    """Return each process, its group, and the seconds that it has taken, and those of its children that have ended."""
    rows = []
    for path in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = path.read_text().rpartition(")")[2].split()
            # proc(5): pgrp; utime, stime, cutime and cstime below
            rows.append((int(path.parent.name), int(fields[2]), sum(map(int, fields[11:15])) / TICKS_PER_S))
    return rows
