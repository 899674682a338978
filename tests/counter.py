"""Counters for tests: that of the promises, on files, and one on an engine."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promises import NOW, Counter, buying, decide_now
from service import catalogue, engines, outcomes, values
from service.flock import flock
from service.settings import Settings
from service.stores.sqlite import Sqlite

if TYPE_CHECKING:
    from service.mode import Decide, Mode

__all__ = ["NOW", "ON_FILES", "AnyCounter", "Counter", "EngineCounter", "buying", "decide_now", "look", "sell"]

ON_FILES = [name for name in catalogue.CLAIMS if name not in catalogue.SCHEMES]
"""The modes that files are enough for."""


@dataclass
class EngineCounter:
    """A database of an engine at ``url``, and modes built on it."""

    url: str
    seeds: dict[str, int] = field(default_factory=lambda: {"default": 10})
    stores: list[engines.EngineStore] = field(default_factory=list)

    def event(self, name: str, tickets: int) -> None:
        """Let there be an event when the next mode is built."""
        self.seeds[name] = tickets

    def build(self, name: str, decide: Decide = decide_now, wait_s: float = 10.0) -> Mode:
        """Prepare the database, as the service does before the fork, and build a mode on it."""
        self._store(wait_s).prepare(self.seeds)
        return catalogue.MODES[name](self._store(wait_s), decide, wait_s)

    def keep(self) -> None:
        """Do nothing: an engine's modes have no daemons."""

    def opened(self, name: str, decide: Decide = decide_now, wait_s: float = 10.0) -> Mode:
        """Build a mode and open it in this process."""
        mode = self.build(name, decide, wait_s)
        mode.open()
        return mode

    def joined(self, name: str, decide: Decide = decide_now, wait_s: float = 10.0) -> Mode:
        """Open a mode as another service does that joins."""
        mode = catalogue.MODES[name](self._store(wait_s), decide, wait_s)
        mode.open()
        return mode

    def _store(self, wait_s: float) -> engines.EngineStore:
        store = engines.made(Settings(url=self.url, wait_s=wait_s))
        self.stores.append(store)
        return store

    def close(self) -> None:
        """End all connections, in turn: SQLite does not bear that one ends under a thread that is about to use it."""
        while self.stores:
            store = self.stores.pop()
            with flock(store.lock, wait=True) if isinstance(store, Sqlite) else nullcontext():
                store.close()


AnyCounter = Counter | EngineCounter


def sell(mode: Mode, quantity: int = 1) -> values.Order:
    """Sell, and return the order."""
    reply = mode.execute(buying(quantity))
    assert isinstance(reply, outcomes.Sold)
    return reply.order


def look(mode: Mode) -> values.Event:
    """Look at the event."""
    event = mode.store.look("default")
    assert not isinstance(event, outcomes.NoSuchEvent)
    return event
