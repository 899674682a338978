"""What a check can find: the anomalies by name, each with its witnesses. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Anomaly = Literal[
    "double sale",
    "oversell",
    "undersell",
    "lost update",
    "torn read",
    "phantom order",
    "ghost order",
    "double effect",
    "missing version",
    "reordered",
    "stale read",
    "miscount",
    "grows without bound",
]
ANOMALIES: tuple[Anomaly, ...] = get_args(Anomaly)
"""In the order in which they are told: what buyers feel comes first."""

MEANINGS: dict[Anomaly, str] = {
    "double sale": "a ticket number has two owners at once",
    "oversell": "more tickets were sold than there are",
    "undersell": "somebody was refused, or given fewer, while enough tickets were left",
    "lost update": "two changes made the same version: one overwrote the other",
    "torn read": "half a document was read",
    "phantom order": "an order was acknowledged, and then it was gone, before its time, or somebody else's",
    "ghost order": "an order was recorded that nobody placed, or that somebody was told is certainly not done",
    "double effect": "a repeated request was done twice or answered otherwise, or an order that had ended was changed",
    "missing version": "the count was changed, and neither a reply nor the journal says by whom",
    "reordered": "an operation that was over stands behind one that had not begun",
    "stale read": "somebody was shown a state that was over before they asked",
    "grows without bound": "memory, descriptors, threads or files grow although the service does the same all the time",
    "miscount": "a count does not follow from the changes before it",
}


@dataclass(frozen=True, slots=True)
class Witness:
    """One case of an anomaly: a sentence, the operations that show it by name, how bad it is, and in which slice."""

    sentence: str
    operations: tuple[str, ...] = ()
    size: float = 1
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """An anomaly: how often it was found, the first case, and the worst."""

    anomaly: Anomaly
    times: int
    first: Witness
    worst: Witness


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
    first: dict[Anomaly, Witness] = field(default_factory=dict)
    worst: dict[Anomaly, Witness] = field(default_factory=dict)

    def add(self, anomaly: Anomaly, sentence: str, *operations: str, size: float = 1, times: int = 1) -> None:
        """Count an anomaly; keep it if it is the first, or the largest (of size ``size``) so far."""
        self.times[anomaly] += times
        if anomaly in self.first and size <= self.worst[anomaly].size:
            return
        self.worst[anomaly] = Witness(sentence, operations, size)
        self.first.setdefault(anomaly, self.worst[anomaly])

    def findings(self) -> tuple[Finding, ...]:
        """Return what was found, in the order in which it is told."""
        return tuple(
            Finding(name, self.times[name], self.first[name], self.worst[name])
            for name in ANOMALIES
            if name in self.first
        )


def pooled(slices: Mapping[str, Checked], *, one_store: bool = False) -> Checked:
    """Return what was found in several slices together, each witness with the name of its slice.

    What is left in stores of their own is summed; where all slices sold from ``one_store``, it is what the last left.
    """
    found = Found()
    for name, checked in slices.items():
        for each in checked.findings:
            first, worst = replace(each.first, slice=name), replace(each.worst, slice=name)
            found.times[each.anomaly] += each.times
            found.first.setdefault(each.anomaly, first)
            if each.anomaly not in found.worst or worst.size > found.worst[each.anomaly].size:
                found.worst[each.anomaly] = worst
    lefts = [checked.left for checked in slices.values()]
    known = [left for left in lefts if left is not None]
    total = sum(known[-1:] if one_store else known)
    left = total if len(known) == len(lefts) else None
    return Checked(found.findings(), sum(checked.sold for checked in slices.values()), left)
