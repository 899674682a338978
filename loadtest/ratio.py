"""Ratios that can be believed on a noisy machine. Pure.

Two things are compared within a round, in which they ran one after the other; the ratio of a run is the median over its
rounds of these paired ratios, with an interval from the bootstrap (Efron, "Bootstrap methods", Annals of Statistics
7(1), 1979). Noise that lasts longer than a round falls on both sides of a pair, and cancels.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESAMPLES = 2000
LEVEL = 0.95
PAIRS_MIN = 5
"""Below this many pairs a 95 % interval from the bootstrap means little, and none is given."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, with its 95 % interval (``None``: too few values) and the number of values behind it."""

    median: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def different(self) -> bool | None:
        """Tell whether the interval leaves out 1: a difference larger than the noise. ``None``: cannot tell."""
        return None if self.low is None or self.high is None else not self.low <= 1 <= self.high


def paired(values: Sequence[tuple[float, float]]) -> Ratio | None:
    """Return the ratio first to second over pairs of positive values."""
    logs = [math.log(first / second) for first, second in values if first > 0 and second > 0]
    if not logs:
        return None
    low, high = _interval(logs, lambda chance: median(chance.choices(logs, k=len(logs))))
    return Ratio(math.exp(median(logs)), low, high, len(logs))


def unpaired(first: Sequence[float], second: Sequence[float]) -> Ratio | None:
    """Return the ratio of the medians of two groups that were measured apart."""
    logs = [[math.log(value) for value in group if value > 0] for group in (first, second)]
    if not all(logs):
        return None

    def difference(chance: random.Random) -> float:
        return median(chance.choices(logs[0], k=len(logs[0]))) - median(chance.choices(logs[1], k=len(logs[1])))

    smaller = min(logs, key=len)
    low, high = _interval(smaller, difference)
    return Ratio(math.exp(median(logs[0]) - median(logs[1])), low, high, len(smaller))


def _interval(
    values: Sequence[float], resample: Callable[[random.Random], float]
) -> tuple[float, float] | tuple[None, None]:
    if len(values) < PAIRS_MIN:
        return None, None
    chance = random.Random(1)  # noqa: S311  # repeatable, not secret
    drawn = sorted(resample(chance) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - LEVEL) / 2)
    return math.exp(drawn[cut]), math.exp(drawn[-cut - 1])
