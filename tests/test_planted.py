"""The check is tested itself: silent on a right server, and every planted fault is caught, by its name."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.counter_simulator import found, simulated
from tests.planted import COMMAND, FAULTS, OF_HISTORIES, PAGE, Fault, page
from tests.ticket_server import Server

RIGHT_SEEDS = 1_000
WITHIN_SEEDS = 20


def test_a_right_server_is_never_accused() -> None:
    """In a thousand runs, not once."""
    assert {seed: accused for seed in range(RIGHT_SEEDS) if (accused := found(Server, seed))} == {}


def test_its_runs_have_everything_in_them() -> None:
    """Silence means something: there are sales and refusals of every kind, lost replies, retries, and expired holds."""
    calls: Counter[tuple[str, str]] = Counter()
    changes: Counter[str] = Counter()
    retried = 0
    for seed in range(50):
        operations, journal, last = simulated(Server, seed)
        calls.update((row.kind, row.outcome) for row in operations)
        changes.update(change.status for change in journal)
        keys = Counter(row.key for row in operations if row.key and row.outcome != "not done")
        retried += sum(times > 1 for times in keys.values())
        assert last.version == len(journal)
    assert {("look", "done")} | {
        (kind, outcome)
        for kind in ("buy", "hold", "confirm", "cancel")
        for outcome in ("done", "refused", "unknown")
    } <= calls.keys()  # fmt: skip
    assert changes.keys() == {"sold", "held", "cancelled", "expired"}
    assert retried > 50


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.server.__name__)
def test_a_planted_fault_is_caught(fault: Fault) -> None:
    """By each anomaly that it must be known by, within twenty seeds."""
    names = {anomaly for seed in range(WITHIN_SEEDS) for anomaly in found(fault.server, seed)}
    assert set(fault.anomalies) <= names


def test_every_anomaly_is_planted() -> None:
    """There is none that no server shows."""
    assert {anomaly for fault in FAULTS for anomaly in fault.anomalies} == set(OF_HISTORIES)


def test_a_run_can_be_had_again() -> None:
    """The same seed, the same history."""
    assert simulated(Server, 7) == simulated(Server, 7)
    assert simulated(Server, 7) != simulated(Server, 8)


def test_the_table_is_fresh() -> None:
    """What the page says is what happens."""
    assert PAGE.read_text() == page(), f"{PAGE.name} is stale: {COMMAND}"
