"""What was measured, as values and as JSON: the slices of each row, and what was measured beside them.

The raw figures are kept, so that the table can be printed again, or judged anew, without measuring.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from loadtest.cost import QUIET_CORES_MAX
from loadtest.judge import QUIET_PAIRS_MIN

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """The figures of one slice. ``cpu_ms`` is the service's processor time for each reply, ``other_cores`` what others
    used meanwhile; ``longest_wait_ms`` and ``jain`` (of workers) are ``None`` where nothing was traced.
    """

    arm: str
    decided: int
    errors: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    other_cores: float
    busiest_share: float
    longest_wait_ms: float | None = None
    jain: float | None = None

    @property
    def quiet(self) -> bool:
        """Tell whether nobody else was busy."""
        return self.other_cores < QUIET_CORES_MAX


Pair = tuple[Taken, Taken]


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured for one row. ``values`` has what is no slice; ``failure`` says why there is nothing."""

    pairs: tuple[Pair, ...] = ()
    values: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def counted(self) -> list[int]:
        """Return which pairs count: the quiet ones, where there are enough of them, and else all."""
        quiet = [number for number, pair in enumerate(self.pairs) if all(each.quiet for each in pair)]
        return quiet if len(quiet) >= QUIET_PAIRS_MIN else list(range(len(self.pairs)))


@dataclass(frozen=True, slots=True)
class Results:
    """All rows, and with what options they were measured."""

    options: dict[str, Any]
    rows: dict[str, Row]


def save(path: Path, results: Results) -> None:
    """Write the results, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spare = path.with_suffix(".tmp")
    spare.write_text(json.dumps(asdict(results), indent=1))
    spare.replace(path)


def load(path: Path) -> Results:
    """Read results back."""
    values = json.loads(path.read_text())
    return Results(values["options"], {name: _row(row) for name, row in values["rows"].items()})


def _row(values: dict[str, Any]) -> Row:
    pairs = tuple((Taken(**first), Taken(**second)) for first, second in values.pop("pairs"))
    return Row(pairs=pairs, **values)
