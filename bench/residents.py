"""What the processes of a service keep, seen from outside: the most memory and open files that any of them had."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from loadtest.servers.process import family

LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Kept:
    """The most that one process had, of each."""

    memory_mb: float = 0.0
    files: int = 0


class Residents:
    """A thread that looks now and then."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self._lock = threading.Lock()
        self._most = Kept()

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._over.set()
        self._thread.join()

    def taken(self) -> Kept:
        """Return the most that was seen since this was asked last, at least once."""
        self._look()
        with self._lock:
            most, self._most = self._most, Kept()
        return most

    def _look_on(self) -> None:
        while not self._over.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        for pid in family(self._master):
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                place = Path(f"/proc/{pid}")
                memory_mb = int((place / "status").read_text().partition("VmRSS:")[2].split()[0]) / 1024
                files = len(list((place / "fd").iterdir()))
                with self._lock:
                    self._most = Kept(max(memory_mb, self._most.memory_mb), max(files, self._most.files))
