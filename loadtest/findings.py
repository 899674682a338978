"""What a check can find: the anomalies by name. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

Anomaly = Literal[
    "double sale",
    "oversell",
    "undersell",
    "lost update",
    "torn read",
    "phantom order",
    "ghost order",
    "missing version",
    "reordered",
    "stale read",
    "miscount",
]
ANOMALIES: tuple[Anomaly, ...] = get_args(Anomaly)
"""In the order in which they are told: what buyers feel comes first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An anomaly: how often it was found, and the first time, in a sentence."""

    anomaly: Anomaly
    times: int
    first: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check found; nothing, if the history is linearizable.

    ``sold`` counts the tickets in acknowledged orders, ``left`` is the count at the end (``None``: not readable).
    """

    findings: tuple[Finding, ...]
    sold: int
    left: int | None

    def times(self, anomaly: Anomaly) -> int:
        """Return how often ``anomaly`` was found."""
        return sum(finding.times for finding in self.findings if finding.anomaly == anomaly)


@dataclass(slots=True)
class Found:
    """Findings while they are gathered."""

    times: Counter[Anomaly] = field(default_factory=Counter)
    first: dict[Anomaly, str] = field(default_factory=dict)

    def add(self, anomaly: Anomaly, sentence: str, times: int = 1) -> None:
        """Count an anomaly; keep the sentence if it is the first."""
        self.times[anomaly] += times
        self.first.setdefault(anomaly, sentence)

    def findings(self) -> tuple[Finding, ...]:
        """Return what was found, in the order in which it is told."""
        return tuple(Finding(name, self.times[name], self.first[name]) for name in ANOMALIES if name in self.first)
