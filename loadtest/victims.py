"""Whom a fault befalls: a process of the service, or one of several hosts."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from loadtest.servers.process import family

if TYPE_CHECKING:
    from ctypes import Array, c_byte

    from loadtest.serve import Service

UP, DOWN, GONE = 0, 1, 2
"""What clients are told of a host: DOWN gets no new connection, and where all are GONE nobody asks any more."""


class Victim(Protocol):
    """One who may hold up the others."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def identity(self) -> str:
        """What stands for it where a reply names its worker."""
        ...

    def pause(self) -> None:
        """Stop it where it is."""

    def resume(self) -> None:
        """Let it go on."""

    def kill(self) -> None:
        """Kill it, without letting it go on first; what is to follow it is there then. Raises ``NotServed``."""


@dataclass(frozen=True, slots=True)
class Child:
    """A worker of the service, or a daemon beside the workers: the master starts another when it has died."""

    pid: int
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.pid}"

    @property
    def identity(self) -> str:
        return str(self.pid)

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class Host:
    """One host of several; what stands before them sends nobody there while it is ``down``."""

    number: int
    service: Service
    down: Array[c_byte]

    @property
    def name(self) -> str:
        return f"host {self.number + 1}"

    @property
    def identity(self) -> str:
        return str(self.number + 1)

    def pause(self) -> None:
        self.down[self.number] = DOWN
        self.service.pause()

    def resume(self) -> None:
        self.service.resume()
        self.down[self.number] = UP

    def kill(self) -> None:
        self.down[self.number] = DOWN
        self.service.kill()
        self.service.start()
        self.down[self.number] = UP


def children(service: Service) -> list[Child]:
    """Return the processes of a service but its master, in the order of their start."""
    found = []
    master = service.process.pid
    own = _comm(master)
    for pid in sorted(family(master)[1:]):
        with contextlib.suppress(OSError):  # it has just ended
            comm = _comm(pid)
            found.append(Child(pid, "worker" if comm == own else comm))
    return found


def _comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()
