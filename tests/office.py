"""A mode on a store of its own, beside the box office that says what it must answer."""

from __future__ import annotations

import itertools
import multiprocessing
from typing import TYPE_CHECKING

from service import rules
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.stores import recovery
from service.stores.lines import change_of
from service.stores.sealed import unseal
from service.values import order_id
from tests.box_office import BoxOffice
from tests.counter import NOW, Counter
from tests.scripts import CAPACITY_MAX, EVENT, Wait

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Decide, Mode
    from service.rules import Decision, Page
    from tests.counter import AnyCounter

FORK = multiprocessing.get_context("fork")
ALONE = {"single_writer"}
"""Modes that a second worker cannot join from outside: its writer knows only those who were there before the fork."""


class Office:
    """A mode on a store of its own, as two workers see it, with a clock that all their processes share."""

    def __init__(self, counter: AnyCounter, name: str, capacity: int) -> None:
        counter.event(EVENT, capacity)
        self._counter = counter
        self._name = name
        self.clock = FORK.Value("d", NOW)
        self.office = BoxOffice(EVENT, capacity)
        self._turn = itertools.count()
        self.open()

    def open(self, *, verify: bool = False) -> None:
        """Start as a service does; with ``verify``, all journals are read line by line first."""
        self.close()
        if verify and isinstance(self._counter, Counter):
            prepared = recovery.prepare(self._counter.directory, "a test", verify=True)
            self._counter.claims.append(prepared.descriptor)
        self.modes: list[Mode] = [self._counter.opened(self._name, self._decide)]
        if self._name not in ALONE:
            self.modes.append(self._counter.joined(self._name, self._decide))

    def close(self) -> None:
        self._counter.close()

    def move(self, counter: AnyCounter, name: str) -> None:
        """Go on in another store."""
        self.close()
        self._counter, self._name = counter, name
        self.open()

    @property
    def _decide(self) -> Decide:
        clock = self.clock

        def decide(page: Page, command: Command) -> Decision:
            return rules.decide(page, command, clock.value)

        return decide

    def do(self, command: Command | Wait) -> None:
        """Let one worker after the other carry out a command, and compare the reply in full."""
        if isinstance(command, Wait):
            self.clock.value += command.seconds
            return
        mode = self.modes[next(self._turn) % len(self.modes)]
        assert mode.execute(command) == self.office.do(command, self.clock.value)

    def agrees(self) -> None:
        """All that can be asked of the store is what the box office has: of each worker."""
        for mode in self.modes:
            store = mode.store
            assert store.look(EVENT) == self.office.event
            assert {order: store.find(order) for order in self.office.orders} == self.office.orders
            assert isinstance(store.find(order_id(EVENT, "e" * 24)), NoSuchOrder)
            assert store.tickets(EVENT, 1, CAPACITY_MAX) == self.office.tickets()
            for after in (0, len(self.office.history) // 2, len(self.office.history)):
                lines = store.changes(EVENT, after)
                assert not isinstance(lines, NoSuchEvent)
                assert [change_of(unseal(line)) for line in lines] == self.office.history[after:]
