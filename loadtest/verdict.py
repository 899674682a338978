"""The verdict: a mode is held to its claim both ways. Pure.

A mode that promises to keep buyers apart must do so. A mode that does not must be *caught*: one that does better than
it says has a claim that nobody needs to believe. Anomalies speak for themselves; their absence speaks only when there
was something to see, so a run without contention, or one that a single worker served, gives no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.fates import EXCUSES, Excuse, Word, excuse, fate, is_promised, listed, seen_of
from loadtest.mishaps import HOLDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.findings import Anomaly, Checked
    from loadtest.measure import Measured
    from loadtest.mishaps import Mishap

PROOFS: frozenset[Anomaly] = frozenset({
    "lost update", "double sale", "oversell", "phantom order", "double effect", "torn read"
})  # fmt: skip
"""What nobody else can have caused, and what a mode without exclusion is to be caught at."""

PROMISES = {
    "nowhere": "nothing",
    "threads": "to keep threads apart",
    "processes": "to keep processes apart",
    "hosts": "to keep hosts apart",
}
"""What a claim's reach means."""

OVERLAPPING_SHARE_MIN = 0.2
"""Below this share of requests that overlapped another one, a clean history proves nothing."""
BUSIEST_SHARE_MAX = 0.9
"""Above this share of requests answered by one worker, several workers were not put to the test."""
ERRORS_SHARE_MAX = 0.1
"""Above this share of requests without an answer, too little is known to call a clean history clean."""
LATE_SHARE_MAX = 0.1
"""Above this share of requests that were sent late, an open loop was none: its clients were all still busy."""

EXIT_CODES: dict[Word, int] = {"as claimed": 0, "broke its word": 1, "could not tell": 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, and why in a sentence."""

    word: Word
    why: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a mode claims, and how it was served: on how many hosts, in how many processes, of how many threads each.

    ``threads`` is ``None`` where nobody said. Hosts that share a file of one machine count as one of more processes.
    """

    reach: str
    workers: int
    threads: int | None = None
    hosts: int = 1
    survives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a run was made. ``alone``: nobody else can have bought. ``failures``: slices that did not end well.

    ``mishaps`` is what was done on purpose meanwhile, and ``excuses`` what that makes of each case found, where
    it is known which was over when. ``unseen``: what grows was to be seen, and could not be.
    """

    open_loop: bool = False
    alone: bool = True
    failures: tuple[str, ...] = ()
    mishaps: tuple[Mishap, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    unseen: bool = False


def verdict(claimed: Claimed, checked: Checked, measured: Measured, conditions: Conditions) -> Verdict:
    """Hold a mode to its claim."""
    mishaps, survives, reaches = conditions.mishaps, claimed.survives, _reaches(claimed)
    excused = _excused(conditions, survives)
    told = _told(claimed, mishaps)
    found = [f"{finding.anomaly} x {finding.times}" for finding in checked.findings]
    proven = any(finding.anomaly in PROOFS for finding in checked.findings)
    broken = [seen_of(each) for each in mishaps if reaches and fate(each, survives, proven=proven) == "broke its word"]
    borne = [seen_of(each) for each in mishaps if each.stuck and not is_promised(each, survives)]
    seen = ", ".join([*found, *filter(None, dict.fromkeys([*broken, *borne]))])
    also = f"; and {conditions.failures[0]}" if conditions.failures else ""
    guilty = (proven or (checked.findings and conditions.alone)) and reaches and excused == "none"
    if guilty or any(reaches and (each.wrong or (each.stuck and is_promised(each, survives))) for each in mishaps):
        return Verdict("broke its word", f"{told} it was caught: {seen}{also}")
    if proven and (not reaches or excused == "let in"):
        return Verdict("as claimed", f"{told} it was caught: {seen}{also}")
    doubt = _doubt(claimed, checked, measured, conditions)
    if checked.findings:
        stranger = "somebody else bought meanwhile, or the count is wrong"
        paused = "a pause may have led to it, and nobody knows whom it met"
        known = paused if proven else "no sale was lost or made twice"
        doubt = f"{', '.join(found)}: {known if conditions.alone else stranger}"
    if doubt:
        return Verdict("could not tell", doubt)
    if broken or not reaches:
        return Verdict("broke its word", f"{told} it should have been caught, and was not")
    if borne:
        return Verdict("as claimed", f"{told} it was caught: {seen}")
    return Verdict("as claimed", f"{told} nothing was wrong, and {measured.decided} requests were measured")


def _excused(conditions: Conditions, survives: Sequence[str]) -> Excuse:
    """Return the excuse of the case that has the least, or, where no case is known, the best that there is."""
    cases = conditions.excuses
    pauses: list[Excuse] = [excuse(each, survives, met=each.met) for each in conditions.mishaps]
    return min(cases, key=EXCUSES.index) if cases else max(["none", *pauses], key=EXCUSES.index)


def _reaches(claimed: Claimed) -> bool:
    """Tell whether the promise covers all who sold."""
    match claimed.reach:
        case "hosts":
            return True
        case "processes":
            return claimed.hosts == 1
        case "threads":
            return claimed.hosts == claimed.workers == 1
    return False


def _told(claimed: Claimed, mishaps: Sequence[Mishap]) -> str:
    """Return what was promised, and what it was put to."""
    workers = f"{claimed.workers} {'process' if claimed.workers == 1 else 'processes'}"
    place = f"on {claimed.hosts} hosts of {workers} each" if claimed.hosts > 1 else f"in {workers}"
    promise = f"promises {PROMISES.get(claimed.reach, claimed.reach)}"
    if not mishaps:
        return f"{promise}; {place}"
    holders = [each for each in mishaps if each.name in HOLDERS] if _reaches(claimed) else []
    for also, promised in (("also", True), ("but not", False)):
        names = [f"a {each.name}" for each in holders if is_promised(each, claimed.survives) == promised]
        promise += f", {also} through {listed(names)}" if names else ""
    return f"{promise}; {place}, with {listed([_whom(each, claimed.hosts) for each in mishaps])},"


def _whom(mishap: Mishap, hosts: int) -> str:
    anyone = "host" if hosts > 1 else "process"
    return f"a {mishap.name if mishap.met or mishap.stuck else mishap.name.replace('holder', anyone)}"


def _doubt(claimed: Claimed, checked: Checked, measured: Measured, conditions: Conditions) -> str:
    """Return why a history without findings proves nothing, or nothing if it does."""
    workers = claimed.workers * claimed.hosts
    if conditions.failures:
        return conditions.failures[0]
    mishaps = conditions.mishaps if _reaches(claimed) else ()
    unmet = [each for each in mishaps if fate(each, claimed.survives) == "could not tell"]
    asked = measured.decided + measured.errors
    doubts = {
        f"{measured.late_share:.0%} of the requests were sent late, or not at all: clients or service could not keep "
        "up with the rate that was planned (plan fewer with --rate, or more clients with --clients)": (
            conditions.open_loop and measured.late_share > LATE_SHARE_MAX
        ),
        f"{measured.errors} of {asked} requests got no answer or an error": (
            measured.errors > ERRORS_SHARE_MAX * asked
        ),
        f"{measured.overlapping} of {measured.decided} requests overlapped another: too little contention to prove "
        "anything": measured.overlapping < max(2, OVERLAPPING_SHARE_MIN * measured.decided),
        "no sale was made while another request was under way: refusals alone prove nothing": (
            not measured.contended_sales
        ),
        "the service does not name its workers, so nobody knows how many were put to the test: start it with "
        "--harness true": workers > 1 and not measured.workers,
        f"one worker answered {measured.busiest_share:.0%} of the requests: the others were not put to the test": (
            workers > 1 and measured.busiest_share > BUSIEST_SHARE_MAX
        ),
        "one process of one thread takes one request after the other: nobody could collide": (
            workers == claimed.threads == 1
        ),
        f"one host answered {measured.busiest_host_share:.0%} of the requests: the others were not put to the test": (
            claimed.hosts > 1 and measured.busiest_host_share > BUSIEST_SHARE_MAX
        ),
        "nobody is known to have been between reading and writing when one was stopped": (
            any(each.name in HOLDERS for each in unmet)
        ),
        "the disk was full, and nobody was told so": any(each.name not in HOLDERS for each in unmet),
        "no process of the service lived long enough to see whether it grows: a soak takes longer": conditions.unseen,
        "the count at the end could not be read, so the sum could not be checked": checked.left is None,
    }
    return next((why for why, true in doubts.items() if true), "")


def worst(words: Sequence[Word]) -> int:
    """Return the exit code for several verdicts: a broken word counts before one that could not be told."""
    codes = {EXIT_CODES[word] for word in words}
    return 1 if 1 in codes else max(codes, default=2)
