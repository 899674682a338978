"""Readiness: whether this worker could sell now, and if not, why: four checks, each told apart.

``store``: its event can be read. ``engine``: what keeps the tickets answers. ``lock``: an order would be let in before
long; a turn that somebody has just had, and that did not fail, shows it, so where there is something to do, nobody is
disturbed. Else a command that changes nothing takes its turn like any other. ``disk``: there is room above a floor.

One at a time looks, in a thread of its own, and what was found is told again for a second. Who asks waits for that no
longer than READY_S, whatever the store and the lock do.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from typing import TYPE_CHECKING

from service import watch
from service.commands import Cancel
from service.mode import Busy, Conflict, Damaged, NotWritten, told
from service.problems import Problem
from service.values import order_id

if TYPE_CHECKING:
    from pathlib import Path

    from service.commands import Command
    from service.mode import Mode

LOG = logging.getLogger("turnstile")
READY_S = 2.0
"""How long the checks may take together."""
FRESH_S = 1.0
"""How long what was found is told again; and how long ago a turn may be that shows that the lock can be had."""
NOBODY = "0" * 32
"""The end of an order's identifier that chance does not give: one to ask for, and not to find."""

OPEN, REACHABLE, OBTAINABLE, ROOM = "open", "reachable", "obtainable", "above the floor"
NONE = "none"
"""Where there is no engine, or the disk is not ours to look after."""
UNASKED = "not asked for"
"""What came before it is not as it should be, or not known yet."""
AWAITED = f"no answer within {READY_S:g} s"
GOOD = frozenset({OPEN, REACHABLE, OBTAINABLE, ROOM, NONE})


def is_probe(command: Command) -> bool:
    """Tell whether a command is only to find out whether it would be let in."""
    return command.order.endswith(NOBODY)


class Readiness:
    """The checks of one worker, for events in the order of their names."""

    def __init__(self, mode: Mode, event: str, disk: Path | None, floor_bytes: int, *, engine: bool) -> None:
        """``event`` is looked at; ``disk`` is where there must be room; ``engine`` tells whether there is one."""
        self._mode = mode
        self._event = event
        self._disk = disk
        self._floor_bytes = floor_bytes
        self._engine = engine
        self._asking = threading.Lock()
        self._looking: threading.Thread | None = None
        self._begun = self._ended = float("-inf")
        self._found: dict[str, str] = {}
        self._asked_for = self._last = ""
        self._said = True

    def checks(self) -> dict[str, str]:
        """Return what was found. Raises ``Problem`` if any of it is bad."""
        looking = self._look()
        looking.join(max(0.0, self._begun + READY_S - time.monotonic()))
        found = dict.fromkeys(("store", "engine", "lock", "disk"), AWAITED) | self._found
        bad = [f"{name}: {word}" for name, word in found.items() if word not in GOOD]
        if bool(bad) == self._said:
            self._said = not bad
            LOG.warning("ready again" if self._said else "not ready: %s", *([] if self._said else ["; ".join(bad)]))
        if bad:
            raise Problem(503, "not-ready", f"this worker is not ready ({'; '.join(bad)})")
        return found

    def _look(self) -> threading.Thread:
        """Return the thread that looks, or the one that has looked a moment ago."""
        with self._asking:
            now = time.monotonic()
            if self._looking is None or (not self._looking.is_alive() and now - self._ended >= FRESH_S):
                thread = threading.Thread(target=self._run, name="readiness", daemon=True)
                self._found, self._begun = {}, now
                try:
                    thread.start()
                except RuntimeError:
                    raise Problem(503, "not-ready", "this worker has no room for one more thread") from None
                self._looking = thread
            return self._looking

    def _run(self) -> None:
        try:
            self._found["disk"] = self._room()
            # Until there is an answer, an engine is what does not give it, and where there is none, the store.
            self._found |= {"lock": UNASKED} | ({"store": UNASKED} if self._engine else {"engine": NONE})
            self._found |= self._store()
            if self._found["store"] == OPEN:
                del self._found["lock"]
                self._found["lock"] = self._lock()
        except Exception:
            LOG.exception("whether it is ready could not be found out")
            self._found["lock"] = "unknown"
        self._ended = time.monotonic()

    def _room(self) -> str:
        if self._disk is None:
            return NONE
        try:
            free = shutil.disk_usage(_there(self._disk)).free
        except OSError as error:
            return f"cannot be looked at ({error.strerror})"
        return ROOM if free >= self._floor_bytes else f"{free} bytes free, below the floor of {self._floor_bytes}"

    def _store(self) -> dict[str, str]:
        engine = REACHABLE if self._engine else NONE
        try:
            self._mode.store.look(self._event)
        except (Damaged, OSError) as error:
            LOG.warning("the ticket store cannot be read: %s", told(error))
            return {"store": "cannot be read", "engine": engine, "lock": UNASKED}
        except (NotWritten, Busy) as error:  # what engines raise
            LOG.warning("the ticket store cannot be read: %s", told(error))
            return {"store": UNASKED, "engine": "does not answer", "lock": UNASKED}
        return {"store": OPEN, "engine": engine}

    def _lock(self) -> str:
        if time.monotonic() - watch.here.turn_at < FRESH_S and not self._asked_for:
            return OBTAINABLE
        name = self._asked_for or self._next()
        self._asked_for = name  # where it could not be had, it is asked for again until it can
        try:
            self._mode.execute(Cancel(order_id(name, NOBODY), name))
        except (Busy, Conflict) as error:
            return f"not had for event {name} ({error})"
        except Exception as error:  # noqa: BLE001  # whatever it is, an order would meet it too
            LOG.warning("no turn could be had: %s", told(error))
            return f"not had for event {name}: the ticket store refused"
        self._asked_for, self._last = "", name
        return OBTAINABLE

    def _next(self) -> str:
        """Return the event whose turn it is to be asked for."""
        names = self._mode.store.names(self._last, 1) or self._mode.store.names("", 1)
        return names[0] if names else self._event


def _there(path: Path) -> Path:
    """Return the directory, or the one in which it would be made."""
    return path if path.exists() or path == path.parent else _there(path.parent)
