"""The verdict matrix: what each mode was put to, what it promised, and what was found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.findings import Anomaly
    from loadtest.judge import Result

State = Literal["held", "caught", "broken", "unknown"]

GROWTH = "nothing grows"
"""What only a soak looks at."""

PROMISES: dict[str, tuple[Anomaly, ...]] = {
    "no ticket sold twice": ("double sale",),
    "no more sold than there are": ("oversell",),
    "no update lost": ("lost update",),
    "no torn read": ("torn read",),
    "replies = journal = final count": (
        "phantom order",
        "ghost order",
        "double effect",
        "missing version",
        "miscount",
    ),
    "real time respected": ("reordered", "stale read"),
    "nobody refused in vain": ("undersell",),
    GROWTH: ("grows without bound",),
}
"""What a lock is for, and the anomalies that show that it did not happen. Each anomaly stands once."""

SYMBOLS: dict[State, str] = {"held": "✓", "caught": "▲", "broken": "✗", "unknown": "?"}
LEGEND: dict[State, str] = {
    "held": "nothing was wrong",
    "caught": "something was wrong, in a mode that does not promise otherwise: that is what it says of itself",
    "broken": "something was wrong, in a mode that promises otherwise",
    "unknown": "the run cannot tell",
}

STATES: dict[str, State] = {"as claimed": "held", "broke its word": "broken", "could not tell": "unknown"}
"""How a verdict is shown."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A promise in a mode: a symbol and a word for how it went, how often it was broken, and by what."""

    promise: str
    state: State
    word: str
    times: int
    detail: str

    @property
    def symbol(self) -> str:
        """Return what stands for the state without colour."""
        return SYMBOLS[self.state]


def claim(result: Result) -> Cell:
    """Return whether a mode kept its claim."""
    return Cell("kept its claim", STATES[result.verdict.word], result.verdict.word, 0, "")


def looked_at(results: Sequence[Result]) -> list[str]:
    """Return the promises that the run can say something of."""
    return [promise for promise in PROMISES if promise != GROWTH or any(result.used for result in results)]


def cells(result: Result, promises: Sequence[str] = tuple(PROMISES)) -> list[Cell]:
    """Return how each promise went in a mode."""
    if result.checked is None:
        return [Cell(promise, "unknown", "unknown", 0, "") for promise in promises]
    row = []
    for promise, anomalies in PROMISES.items():
        if promise not in promises:
            continue
        found = [(name, result.checked.times(name)) for name in anomalies]
        times = sum(count for _, count in found)
        state: State = "held"
        if result.verdict.word == "could not tell":
            state = "unknown"
        elif times:
            state = "broken" if result.verdict.word == "broke its word" else "caught"
        detail = ", ".join(f"{name} x {count:,}" for name, count in found if count and len(anomalies) > 1)
        row.append(Cell(promise, state, state, times, detail))
    return row
