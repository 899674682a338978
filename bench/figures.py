"""What is said of a row: ratios and medians over its pairs, with their intervals, and the figures behind them. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from loadtest.ratio import Ratio
from loadtest.ratio import paired as ratio_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Row, Taken

LEAST_SHARE = 1e-3
"""What stands for a difference of zero or less, where only its being small matters."""


def ratio(name: str) -> Callable[[Row], Ratio | None]:
    """Return what gives the ratio of this figure, first arm to second."""
    return lambda row: ratio_of([(_of(row.pairs[n][0], name), _of(row.pairs[n][1], name)) for n in row.counted])


def first(name: str) -> Callable[[Row], Ratio | None]:
    """Return what gives this figure of the first arm."""
    return lambda row: ratio_of([(_of(row.pairs[n][0], name), 1.0) for n in row.counted])


def value(name: str) -> Callable[[Row], Ratio | None]:
    """Return what gives the median of what was measured beside the slices."""
    return lambda row: ratio_of([(each, 1.0) for each in row.values.get(name, [])])


def most(name: str) -> Callable[[Row], Ratio | None]:
    """Return what gives the largest of what was measured beside the slices."""
    return lambda row: ratio_of([(max(row.values.get(name, [0.0])), 1.0)])


def fsyncs(row: Row) -> Ratio | None:
    """Return how many fsyncs the first arm's median latency is longer than the second's."""
    differences = []
    for number in row.counted:
        one, other = row.pairs[number]
        fsync = row.values["fsync_ms"][number]
        differences.append((max(one.p50_ms - other.p50_ms, LEAST_SHARE * fsync), fsync))
    return ratio_of(differences)


def sides(name: str, form: str) -> Callable[[Row], str]:
    """Return what says the medians of both arms in words; ``form`` has a place for each."""

    def said(row: Row) -> str:
        return form.format(*(median(_of(row.pairs[n][arm], name) for n in row.counted) for arm in (0, 1)))

    return said


def pairs(row: Row) -> str:
    """Say how many pairs stand behind a figure, and how many were not quiet."""
    quiet = sum(all(each.quiet for each in pair) for pair in row.pairs)
    if len(row.counted) < len(row.pairs):
        return f"{len(row.counted)} pairs; {len(row.pairs) - len(row.counted)} more were not quiet"
    return f"{len(row.pairs)} pairs" + ("" if quiet == len(row.pairs) else f", {quiet} of them quiet")


def count(name: str, of: str) -> Callable[[Row], str]:
    """Return what says how many values stand behind a figure that was measured beside the slices."""
    return lambda row: f"{len(row.values[name])} {of}"


def spread(row: Row) -> str:
    """Say how far single pairs of the same arm lie apart."""
    ratios = [row.pairs[n][0].requests_per_s / row.pairs[n][1].requests_per_s for n in row.counted]
    return f"{RATES(row)}; single pairs from {min(ratios):.2f} to {max(ratios):.2f}"


def waits(row: Row) -> str:
    """Say what the latency of one client was, and what an fsync."""
    fsync = median(row.values["fsync_ms"][n] for n in row.counted)
    return f"{sides('p50_ms', '{:.2f} against {:.2f} ms')(row)}; an fsync {fsync:.2f} ms"


def openings(row: Row) -> str:
    """Say what opening consists of."""
    prepare, find = (median(row.values[name]) for name in ("prepare_s", "first_find_ms"))
    return f"from start to `/readyz`; making the store ready {prepare:.3f} s; the first order found in {find:.1f} ms"


def memory(row: Row) -> str:
    """Say what memory the workers take."""
    each = ", ".join(f"{size:.0f}" for size in row.values["rss_mb"])
    shared = ", ".join(f"{size:.0f}" for size in row.values["pss_mb"])
    return f"resident after the look-ups: {each} MB; with shared pages divided: {shared} MB"


def _of(one: Taken, name: str) -> float:
    return float(getattr(one, name) or 0.0)


RATES = sides("requests_per_s", "{:,.0f} against {:,.0f} requests/s")
P99S = sides("p99_ms", "{:.1f} against {:.1f} ms")
