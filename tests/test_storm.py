"""The storm: every request is counted, and the table says what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import overload, prober
from bench.residents import Residents
from bench.storm import BIN_S, Storm
from bench.stormed import Round, markdown
from tests.connections import look, service, settled

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 0.5
ROUND = Round(
    peak=100.0,
    storm=80.0,
    control=50.0,
    planned=1000.0,
    sent=900.0,
    refused=800.0,
    generator_cores=0.5,
    normal_after_s=0.5,
    looks={"buy": [(201, 1.0), (503, 0.01), (503, 0.02)], "healthz": [(200, 0.003)], "readyz": [(0, 10.0)]},
    memory_mb=[40.0, 60.0, 50.0],
    files=[50, 2000, 60],
)


@pytest.mark.parametrize(("rate", "fresh"), [(0.0, False), (200.0, False), (200.0, True)])
def test_a_storm_counts_each_purchase_that_it_makes(tmp_path: Path, rate: float, *, fresh: bool) -> None:
    """As many as were told are sold, and those under way when it ended are none of them."""
    with service(tmp_path) as started:
        storm = Storm(int(started.url.rpartition(":")[2]), rate, 10, fresh=fresh)
        storm.run(SECONDS)
        came, version = storm.came, settled(started.url)
        assert (set(came.statuses), came.lost) == ({201}, 0)
        assert came.statuses[201] <= version <= came.sent <= came.statuses[201] + 10
        assert sum(each[201] for each in came.bins.values()) == len(came.late[201]) == came.statuses[201]
        if rate:
            assert came.sent + came.kept_out <= rate * SECONDS + 1


def test_a_prober_reads_all_of_a_reply(tmp_path: Path) -> None:
    """Of each kind; and it says so where nobody answers."""
    with service(tmp_path) as started, Residents(started.process.pid) as residents:
        port = int(started.url.rpartition(":")[2])
        told = {kind: prober._look(port, request) for kind, (request, _) in prober.KINDS.items()}  # noqa: SLF001  # of it
        assert told == {"buy": 201, "healthz": 200, "readyz": 200}
        assert look(started.url)["version"] == 1
        kept = residents.taken()
        assert kept.memory_mb > 1
        assert kept.files > 1
    assert prober._look(port, prober.KINDS["buy"][0]) == 0  # noqa: SLF001  # as above


def test_the_table_hides_nothing_of_a_storm() -> None:
    """Ratios within a round, times of all rounds merged, the worst of memory and of the time until all is as before."""
    row = markdown({"`m`": [ROUND, replace(ROUND, normal_after_s=3.0)]}, "on it").splitlines()[2]
    assert row.split(" | ")[:4] == ["| `m`", "100", "900 of 1,000", "80"]
    assert "| 0.80 | 1.60 | 10, 20 (4) | 10000 | 2 of 10 | 40, 60, 50 | 50, 2,000, 60 | 1.8, at most 3.0 |" in row
    quiet = replace(ROUND, looks={"buy": [(201, 1.0)]})
    assert "| none was refused |" in markdown({"`m`": [quiet]}, "on it")


def test_it_is_as_before_when_a_stretch_sells_nearly_as_much() -> None:
    """One good tenth of a second is none; and where none is good, it is not within the time."""
    after = {"seconds": 2.0, "bins": {str(number): {"201": 9} for number in (0, *range(5, 20))}}
    assert overload._normal_after_s(after, 9 / BIN_S) == pytest.approx(0.4)  # noqa: SLF001  # its arithmetic
    assert overload._normal_after_s(after, 20 / BIN_S) == 2.0  # noqa: SLF001  # as above
