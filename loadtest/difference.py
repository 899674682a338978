"""Compare two runs: is what differs larger than the noise? Pure.

Rounds are the values: of two runs that were made at different times, rates are compared as ratios to the ceiling of
their own round where both have one, for a machine is never equally fast twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.ratio import PAIRS_MIN, Ratio, unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.judge import Result, Round


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one mode in two runs: the ratio second to first, and what it means."""

    mode: str
    figure: str
    ratio: Ratio
    meaning: str


def differences(first: Sequence[Result], second: Sequence[Result]) -> list[Difference]:
    """Return how the modes that both runs have differ."""
    before = {result.mode: result for result in first}
    found = []
    for result in second:
        if result.mode in before and result.rounds and before[result.mode].rounds:
            found += _of_mode(before[result.mode], result)
    return found


def _of_mode(before: Result, after: Result) -> list[Difference]:
    by_ceiling = all(each.to_ceiling for each in (*before.rounds, *after.rounds))
    figures: dict[str, Callable[[Round], float]] = {
        "rate to ceiling" if by_ceiling else "req/s": _to_ceiling if by_ceiling else lambda each: each.requests_per_s,
        "p50 ms": lambda each: each.p50_ms,
        "p99 ms": lambda each: each.p99_ms,
    }
    found = []
    for name, value in figures.items():
        ratio = unpaired([value(each) for each in after.rounds], [value(each) for each in before.rounds])
        if ratio is not None:
            found.append(Difference(after.mode, name, ratio, _meaning(ratio)))
    return found


def _to_ceiling(each: Round) -> float:
    return each.to_ceiling or 0.0


def _meaning(ratio: Ratio) -> str:
    if ratio.different is None:
        return f"cannot tell: fewer than {PAIRS_MIN} rounds in one of the runs (use --repeat)"
    if not ratio.different:
        return "no difference shown"
    return "higher" if ratio.median > 1 else "lower"
