"""A counter for tests: a data directory, and modes built on it with a decision of the test's own."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from service import catalogue, engines, outcomes, rules, values
from service.commands import Buy, Command
from service.daemon import daemons_of
from service.settings import Settings
from service.stores import recovery
from service.stores.json_file import JsonFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.daemon import Daemon
    from service.mode import Decide, Mode

ON_FILES = [name for name in catalogue.CLAIMS if name not in catalogue.SCHEMES]
"""The modes that files are enough for."""
NOW = 1_790_000_000.0
SERIAL = itertools.count(1)


def decide_now(page: rules.Page, command: Command) -> rules.Decision:
    """Decide at a fixed moment."""
    return rules.decide(page, command, NOW)


def buying(quantity: int = 1, *, event: str = "default", partial: bool = False, buyer: str | None = None) -> Buy:
    """Return a purchase with an identifier that no other has, in no other process either."""
    return Buy(values.order_id(event, f"{os.getpid():08x}{next(SERIAL):016x}"), event, quantity, partial, buyer)


@dataclass
class Counter:
    """A data directory, and modes built on it, one at a time."""

    directory: Path
    claims: list[int] = field(default_factory=list)
    daemons: list[Daemon] = field(default_factory=list)

    def event(self, name: str, tickets: int) -> None:
        """Let there be an event, in the article's own form."""
        (self.directory / f"{name}.json").write_text(f'{{"count": {tickets}}}')

    def build(self, name: str, decide: Decide = decide_now, wait_s: float = 10.0) -> Mode:
        """Prepare the directory, as the service does before the fork, build a mode on it and start its daemons."""
        self.close()
        self.claims.append(recovery.prepare(self.directory, f"a test in mode {name}").descriptor)
        mode = catalogue.MODES[name](self._store(name), decide, wait_s)
        self.daemons += daemons_of(mode)
        self.keep()
        return mode

    def keep(self) -> None:
        """Start the daemons that do not run, as the service's master does."""
        for daemon in self.daemons:
            daemon.keep()

    def killers(self) -> list[Callable[[], None]]:
        """Return what kills each of the daemons, without a chance to say goodbye."""
        return [partial(os.kill, daemon.pid, signal.SIGKILL) for daemon in self.daemons]

    def opened(self, name: str, decide: Decide = decide_now, wait_s: float = 10.0) -> Mode:
        """Build a mode and open it in this process."""
        mode = self.build(name, decide, wait_s)
        mode.open()
        return mode

    def joined(self, name: str, decide: Decide = decide_now, wait_s: float = 10.0) -> Mode:
        """Open a mode as a worker does that joins a running service: nothing is recovered."""
        mode = catalogue.MODES[name](self._store(name), decide, wait_s)
        mode.open()
        return mode

    def _store(self, name: str) -> JsonFile:
        return catalogue.STORES.get(name, JsonFile)(self.directory)

    def close(self) -> None:
        """End the daemons, and give the directory free."""
        while self.daemons:
            self.daemons.pop().end()
        while self.claims:
            os.close(self.claims.pop())


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
        """End all connections."""
        while self.stores:
            self.stores.pop().close()


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
