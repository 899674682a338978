"""The verdict matrix: what each mode was put to, what it promised, and what was found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from loadtest.findings import Anomaly
    from loadtest.judge import Result

State = Literal["held", "caught", "broken", "unknown"]

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
}
"""What a lock is for, and the anomalies that show that it did not happen. Each anomaly stands once."""

SYMBOLS: dict[State, str] = {"held": "✓", "caught": "▲", "broken": "✗", "unknown": "?"}
LEGEND: dict[State, str] = {
    "held": "nothing was wrong",
    "caught": "something was wrong, in a mode that does not promise otherwise: that is what it says of itself",
    "broken": "something was wrong, in a mode that promises otherwise",
    "unknown": "the run cannot tell",
}


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
    states: dict[str, State] = {"as claimed": "held", "broke its word": "broken", "could not tell": "unknown"}
    return Cell("kept its claim", states[result.verdict.word], result.verdict.word, 0, "")


def cells(result: Result) -> list[Cell]:
    """Return how each promise went in a mode."""
    if result.checked is None:
        return [Cell(promise, "unknown", "unknown", 0, "") for promise in PROMISES]
    row = []
    for promise, anomalies in PROMISES.items():
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
