"""Every command in every mode: whole scripts on durable state, against a box office that keeps dictionaries."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from service.catalogue import SCHEMES
from service.stores import journal
from tests.counter import ON_FILES, Counter, EngineCounter
from tests.office import Office
from tests.scripts import CAPACITY_MAX, EVENT, STEPS, Step, commands

if TYPE_CHECKING:
    from collections.abc import Callable


SHORT_BYTES = 1200
"""A journal of some five changes."""
EXAMPLES = 20
ENGINE_EXAMPLES = 5
SLOW_EXAMPLES = {"etcd": 3}
"""For engines in which each step is a round trip through the disks of several members."""
SCRIPTS = st.lists(STEPS, min_size=20, max_size=60)


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
