"""A counter for tests: a data directory, and modes built on it with a decision of the test's own."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from service import catalogue, rules, values
from service.commands import Buy, Command
from service.daemon import daemons_of
from service.stores import recovery
from service.stores.json_file import JsonFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.catalogue import Build
    from service.daemon import Daemon
    from service.mode import Decide, Mode

NOW = 1_790_000_000.0
SERIAL = itertools.count(1)


def decide_now(page: rules.Page, command: Command) -> rules.Decision:
    """Decide at a fixed moment."""
    return rules.decide(page, command, NOW)


def buying(quantity: int = 1, *, event: str = "default", partial: bool = False, buyer: str | None = None) -> Buy:
    """Return a purchase with an identifier that no other has, in no other process either."""
    return Buy(values.order_id(event, f"{os.getpid():08x}{next(SERIAL):024x}"), event, quantity, partial, buyer)


@dataclass
class Counter:
    """A data directory, and modes built on it, one at a time. ``builder`` says how a mode of some name is built."""

    directory: Path
    claims: list[int] = field(default_factory=list)
    daemons: list[Daemon] = field(default_factory=list)
    builder: Callable[[str], Build] = catalogue.builder

    def event(self, name: str, tickets: int) -> None:
        """Let there be an event, in the article's own form."""
        (self.directory / f"{name}.json").write_text(f'{{"count": {tickets}}}')

    def build(self, name: str, decide: Decide = decide_now, wait_s: float = 10.0) -> Mode:
        """Prepare the directory, as the service does before the fork, build a mode on it and start its daemons."""
        self.close()
        self.claims.append(recovery.prepare(self.directory, f"a test in mode {name}").descriptor)
        mode = self.builder(name)(self._store(name), decide, wait_s)
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
        mode = self.builder(name)(self._store(name), decide, wait_s)
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
