"""The sheet of figures: every figure of every mode, under its name in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Sales": {
        "decided": ("requests decided (done or refused)", "count"),
        "errors": ("requests without an answer, or with an error", "count"),
        "sold": ("tickets that buyers were told they own", "count"),
        "left": ("tickets left at the end, by the service", "count"),
        "anomalies": ("anomalies found", "count"),
    },
    "Speed": {
        "requests_per_s": ("requests decided per second", "number"),
        "ratio": ("the same, as a part of the ceiling", "number"),
    },
    "How long a request took": {
        "p50_ms": ("half of them at most", "ms"),
        "p90_ms": ("90 % at most", "ms"),
        "p99_ms": ("99 % at most", "ms"),
        "p999_ms": ("99.9 % at most", "ms"),
        "longest_ms": ("the longest", "ms"),
        "late_share": ("part that was sent late", "share"),
    },
    "Contention": {
        "overlapping": ("requests that overlapped another", "count"),
        "inside_max": ("under way at once, at most", "count"),
        "workers": ("workers that answered", "count"),
        "busiest_share": ("part that the busiest worker answered", "share"),
    },
    "Fairness": {
        "by_client.jain": ("Jain index over clients (1: all alike)", "number"),
        "by_client.least": ("fewest requests of a client", "count"),
        "by_client.most": ("most requests of a client", "count"),
        "by_worker.jain": ("Jain index over workers", "number"),
        "by_worker.least": ("fewest requests of a worker", "count"),
        "by_worker.most": ("most requests of a worker", "count"),
    },
    "Inside the service (medians, from the trace)": {
        "inside.wait_ms": ("waiting to be let in", "ms"),
        "inside.hold_ms": ("inside", "ms"),
        "inside.queue_ms": ("all else: sockets, threads, parsing", "ms"),
        "inside.longest_wait_ms": ("the longest wait to be let in", "ms"),
        "inside.idle_share": ("part of the waiting in which nobody was inside", "share"),
    },
    "Processor": {
        "cost.cpu_ms_per_sale": ("service, per sale", "ms"),
        "cost.service_share": ("service, as a part of the machine", "share"),
        "cost.client_share": ("load generator, as a part of the machine", "share"),
        "cost.other_cores": ("processors that others used", "number"),
        "cost.quiet": ("others were quiet", "yes"),
        "cost.bottleneck": ("the load generator was the limit", "yes"),
    },
}
OTHER = "Other"
SMALL = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure of one mode: its exact value, and how it is shown."""

    key: str
    exact: str
    shown: str


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, in all modes."""

    label: str
    entries: tuple[Entry, ...]


def sheet(figures: Mapping[str, Mapping[str, float | None]]) -> dict[str, list[Row]]:
    """Return the figures of the modes in groups; a figure that is in no group stands at the end under its own name."""
    names = dict.fromkeys(name for values in figures.values() for name in values)
    named = {name for group in GROUPS.values() for name in group}
    groups = GROUPS | {OTHER: {name: (name, "number") for name in names if name not in named}}
    made: dict[str, list[Row]] = {}
    for title, group in groups.items():
        rows = [_row(name, label, form, figures) for name, (label, form) in group.items() if name in names]
        if rows:
            made[title] = rows
    return made


def _row(name: str, label: str, form: str, figures: Mapping[str, Mapping[str, float | None]]) -> Row:
    entries = []
    for mode, values in figures.items():
        value = values.get(name)
        exact = "" if value is None else repr(float(value))
        entries.append(Entry(f"{mode}.{name}", exact, shown(value, form)))
    return Row(label, tuple(entries))


def shown(value: float | None, form: str) -> str:
    """Return a figure as a reader wants it; a dash for one that is not known."""
    if value is None:
        return "–"  # noqa: RUF001  # an en dash, as tables have it
    if form == "yes":
        return "yes" if value else "no"
    if form == "count":
        return f"{value:,.0f}"
    if form == "share":
        return f"{value:.1%}"
    unit = " ms" if form == "ms" else ""
    return f"{value:,.0f}{unit}" if abs(value) >= SMALL else f"{value:.3g}{unit}"
