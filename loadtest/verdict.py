"""The verdict: a mode is held to its claim both ways. Pure.

A mode that promises to keep buyers apart must do so. A mode that does not must be *caught*: one that does better than
it says has a claim that nobody needs to believe. Anomalies speak for themselves; their absence speaks only when there
was something to see, so a run without contention, or one that a single worker served, gives no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.findings import Checked
    from loadtest.measure import Measured

Word = Literal["as claimed", "broke its word", "could not tell"]

PROMISES = {
    "nowhere": "nothing",
    "threads": "to keep threads apart",
    "processes": "to keep processes apart",
    "hosts": "to keep hosts apart",
}
"""What a claim's reach means."""

OVERLAPPING_SHARE_MIN = 0.2
"""Below this share of purchases that overlapped another one, a clean history proves nothing."""
BUSIEST_SHARE_MAX = 0.9
"""Above this share of purchases answered by one worker, several workers were not put to the test."""
ERRORS_SHARE_MAX = 0.1
"""Above this share of purchases without an answer, too little is known to call a clean history clean."""
LATE_SHARE_MAX = 0.1
"""Above this share of purchases that were sent late, an open loop was none: its clients were all still busy."""

EXIT_CODES: dict[Word, int] = {"as claimed": 0, "broke its word": 1, "could not tell": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, and why in a sentence."""

    word: Word
    why: str


def verdict(reach: str, workers: int, checked: Checked, measured: Measured, *, open_loop: bool = False) -> Verdict:
    """Hold a mode that claims ``reach``, served by ``workers`` processes, to its claim."""
    safe = reach in {"processes", "hosts"} or (reach == "threads" and workers == 1)
    claimed = f"promises {PROMISES[reach]}; in {workers} {'process' if workers == 1 else 'processes'}"
    if checked.findings:
        seen = ", ".join(f"{finding.anomaly} x {finding.times}" for finding in checked.findings)
        word: Word = "broke its word" if safe else "as claimed"
        return Verdict(word, f"{claimed} it was caught: {seen}")
    doubt = _doubt(workers, checked, measured, open_loop=open_loop)
    if doubt:
        return Verdict("could not tell", doubt)
    if safe:
        return Verdict("as claimed", f"{claimed} nothing was wrong with {measured.decided} purchases")
    return Verdict("broke its word", f"{claimed} it should have been caught, and was not")


def _doubt(workers: int, checked: Checked, measured: Measured, *, open_loop: bool) -> str:
    """Return why a history without findings proves nothing, or nothing if it does."""
    purchases = measured.decided + measured.errors
    if measured.errors > ERRORS_SHARE_MAX * purchases:
        return f"{measured.errors} of {purchases} purchases got no answer or an error"
    if measured.overlapping < max(2, OVERLAPPING_SHARE_MIN * measured.decided):
        overlapping = f"{measured.overlapping} of {measured.decided} purchases overlapped another"
        return f"{overlapping}: too little contention to prove anything"
    if workers > 1 and measured.busiest_share > BUSIEST_SHARE_MAX:
        share = f"one worker answered {measured.busiest_share:.0%} of the purchases"
        return f"{share}: the others were not put to the test"
    if checked.left is None:
        return "the count at the end could not be read, so the sum could not be checked"
    if open_loop and measured.late_share > LATE_SHARE_MAX:
        late = f"{measured.late_share:.0%} of the purchases were sent late"
        return f"{late}: the load was not the one that was planned; use more clients"
    return ""


def worst(words: Sequence[Word]) -> int:
    """Return the exit code for several verdicts: a broken word counts before one that could not be told."""
    codes = {EXIT_CODES[word] for word in words}
    return 1 if 1 in codes else max(codes, default=2)
