"""What was seen of storms, as values and as a table. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from loadtest.percentiles import percentile
from loadtest.ratio import paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.ratio import Ratio

SOLD, REFUSED = "201", "503"
HEADS = (
    "",
    "peak, sales/s",
    "storm, requests/s: sent of planned",
    "sales/s in it",
    "of the peak",
    "of the control",
    "refused in, ms: p50, p99",
    "checks answered in, ms: p99",
    "looks without an answer",
    "memory, MB: before, in it, after",
    "open files",
    "as before after, s",
)


@dataclass(frozen=True, slots=True)
class Round:
    """What was seen in one round. Rates are requests a second, ``looks`` are the prober's, and ``memory_mb`` and
    ``files`` those of the largest process: before the storm, in it, and after it.
    """

    peak: float
    storm: float
    control: float
    planned: float
    sent: float
    refused: float
    generator_cores: float
    normal_after_s: float
    looks: dict[str, Any]
    memory_mb: list[float]
    files: list[int]


def markdown(took: dict[str, list[Round]], measured_on: str) -> str:
    """Return the table, and below it what it was measured on."""
    lines = [f"| {' | '.join(HEADS)} |", "| --- " * len(HEADS) + "|"]
    lines += [f"| {' | '.join([name, *_cells(rounds)])} |" for name, rounds in took.items() if rounds]
    return "\n".join([*lines, "", measured_on])


def _cells(rounds: Sequence[Round]) -> list[str]:
    """Return what a row says. Times of looks are merged, ratios are paired."""
    looks = {kind: [tuple(look) for each in rounds for look in each.looks[kind]] for kind in rounds[0].looks}
    refused = sorted(late * 1e3 for status, late in looks["buy"] if status == int(REFUSED))
    checks = sorted(late * 1e3 for kind, seen in looks.items() if kind != "buy" for _, late in seen)
    silent = sum(status == 0 for seen in looks.values() for status, _ in seen)
    late = (
        f"{percentile(refused, 50):.0f}, {percentile(refused, 99):.0f} ({len(refused)})"
        if refused
        else "none was refused"
    )
    normal = [each.normal_after_s for each in rounds]
    return [
        f"{median(each.peak for each in rounds):,.0f}",
        f"{median(each.sent for each in rounds):,.0f} of {median(each.planned for each in rounds):,.0f}",
        f"{median(each.storm for each in rounds):,.0f}",
        _ratio(paired([(each.storm, each.peak) for each in rounds])),
        _ratio(paired([(each.storm, each.control) for each in rounds])),
        late,
        f"{percentile(checks, 99):.0f}",
        f"{silent} of {sum(map(len, looks.values()))}",
        ", ".join(f"{max(each.memory_mb[when] for each in rounds):.0f}" for when in range(3)),
        ", ".join(f"{max(each.files[when] for each in rounds):,}" for when in range(3)),
        f"{median(normal):.1f}, at most {max(normal):.1f}",
    ]


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "nothing was sold"
    return f"{ratio.median:.2f}" + ("" if ratio.low is None else f" ({ratio.low:.2f} to {ratio.high:.2f})")
