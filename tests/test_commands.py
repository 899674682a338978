"""Every command in every mode: whole scripts on durable state, against a box office that keeps dictionaries."""

from __future__ import annotations

import itertools
import multiprocessing
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from service import rules
from service.catalogue import SCHEMES
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.stores import journal, recovery
from service.stores.lines import change_of
from service.stores.sealed import unseal
from service.values import order_id
from tests.box_office import BoxOffice
from tests.counter import NOW, ON_FILES, Counter, EngineCounter
from tests.scripts import CAPACITY_MAX, EVENT, STEPS, Step, Wait, commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.commands import Command
    from service.mode import Decide, Mode
    from service.rules import Decision, Page
    from tests.counter import AnyCounter

SHORT_BYTES = 1200
"""A journal of some five changes."""
EXAMPLES = 40
ENGINE_EXAMPLES = 8
SLOW_EXAMPLES = {"etcd": 4}
"""For engines in which each step is a round trip through the disks of several members."""
SCRIPTS = st.lists(STEPS, min_size=20, max_size=60)
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


@pytest.mark.parametrize("name", ON_FILES)
def test_whole_scripts_are_carried_out_as_by_the_box_office(name: str) -> None:
    """Every reply in full, with journals closed again and again in the middle; then what is on disk, to each worker, to
    who looks, and to a start that reads everything; and from there on as if nothing had been.
    """
    closed = 0

    @settings(
        max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.generate]
    )
    @given(capacity=st.integers(0, CAPACITY_MAX), first=SCRIPTS, second=SCRIPTS, verify=st.booleans())
    def carried_out(capacity: int, first: list[Step], second: list[Step], *, verify: bool) -> None:
        nonlocal closed
        serial = itertools.count()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
            office = Office(Counter(Path(place)), name, capacity)
            try:
                script = list(commands([*first, *second], serial))
                for command in script[: len(first)]:
                    office.do(command)
                office.agrees()
                office.open(verify=verify)
                office.agrees()
                for command in script[len(first) :]:
                    office.do(command)
                office.agrees()
                office.open(verify=not verify)
                office.agrees()
                closed = max(closed, sum(map(len, journal.closed(Path(place)).values())))
                event(f"{len(journal.closed(Path(place)).get(EVENT, ()))} journals were closed")
            finally:
                office.close()

    carried_out()
    assert closed >= 1 if name == "lease" else closed >= 3


@pytest.mark.parametrize("name", SCHEMES)
def test_whole_scripts_are_carried_out_on_an_engine_too(fresh_url: Callable[[str], str], name: str) -> None:
    """Every reply in full, by two services in turn; then what each of them sees, and from there on after a restart."""
    examples = SLOW_EXAMPLES.get(SCHEMES[name], ENGINE_EXAMPLES)

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
    @given(capacity=st.integers(0, CAPACITY_MAX), first=SCRIPTS, second=SCRIPTS)
    def carried_out(capacity: int, first: list[Step], second: list[Step]) -> None:
        office = Office(EngineCounter(fresh_url(SCHEMES[name])), name, capacity)
        try:
            script = list(commands([*first, *second], itertools.count()))
            for command in script[: len(first)]:
                office.do(command)
            office.agrees()
            office.open()
            for command in script[len(first) :]:
                office.do(command)
            office.agrees()
        finally:
            office.close()

    carried_out()
