"""Thinning: fewer rows or points that still look like all of them. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = TypeVar("Row")
KEPT_PER_STRETCH = 4
"""Of each stretch of a curve its first, lowest, highest and last point are kept."""


def spread(rows: Sequence[Row], most: int) -> list[Row]:
    """Return at most ``most`` of ``rows``, evenly chosen; with two or more, the first and the last are among them."""
    if len(rows) <= most:
        return list(rows)
    if most < 2:  # noqa: PLR2004  # an end each
        return list(rows[:most])
    return [rows[round(number * (len(rows) - 1) / (most - 1))] for number in range(most)]


def notable(rows: Sequence[Row], most: int, rank: Callable[[Row], float]) -> list[Row]:
    """Return at most ``most`` of ``rows`` in their order: a half of those that rank highest, the rest evenly chosen."""
    if len(rows) <= most:
        return list(rows)
    ranked = sorted(range(len(rows)), key=lambda index: rank(rows[index]), reverse=True)
    kept, others = ranked[: most // 2], sorted(ranked[most // 2 :])
    return [rows[index] for index in sorted(kept + spread(others, most - len(kept)))]


def envelope(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return at most ``most`` of the points of a curve, so that no peak and no valley is lost."""
    if len(points) <= most:
        return list(points)
    stretches = max(1, most // KEPT_PER_STRETCH)
    bounds = [round(number * len(points) / stretches) for number in range(stretches + 1)]
    kept: list[int] = []
    for begin, end in pairwise(bounds):
        stretch = range(begin, end)
        low = min(stretch, key=lambda index: points[index][1])
        high = max(stretch, key=lambda index: points[index][1])
        kept += sorted({begin, low, high, end - 1})
    return [points[index] for index in kept]
