"""Judge a run from its folder: check every slice, measure over all of a mode, and hold the mode to its claim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loadtest import folder, growth
from loadtest.check import check
from loadtest.cost import QUIET_CORES_MAX, other_cores
from loadtest.excuses import excuses
from loadtest.findings import Checked, Finding, Witness, pooled
from loadtest.measure import Measured, measure
from loadtest.mishaps import befallen
from loadtest.ratio import Ratio, paired
from loadtest.verdict import PROOFS, Claimed, Conditions, Verdict, verdict
from loadtest.witness import tell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.folder import Recorded, Served
    from loadtest.growth import Used
    from loadtest.mishaps import Mishap, Stretch
    from loadtest.witness import Story

RATIO_S_MIN = 0.25
"""A window shorter than this, for all was sold by then, has no ratio: it would compare a start with a whole run."""
QUIET_PAIRS_MIN = 5
"""With at least so many rounds in which nobody else was busy, only those count for the ratio."""


@dataclass(frozen=True, slots=True)
class Round:
    """One slice's rate, its ratio to the ceiling of the same round, and whether others were busy meanwhile."""

    slice: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    to_ceiling: float | None
    quiet: bool | None


@dataclass(frozen=True, slots=True)
class Result:
    """One mode's result. ``checked`` and ``measured`` are ``None`` if there was no run to judge."""

    mode: str
    claim: dict[str, Any]
    verdict: Verdict
    checked: Checked | None
    measured: Measured | None
    ratio: Ratio | None
    rounds: tuple[Round, ...]
    mishaps: tuple[Mishap, ...] = ()
    used: tuple[Used, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ceiling:
    """The no-op's rate in one round, and whether nobody else was busy then."""

    requests_per_s: float
    quiet: bool | None


def judge(run: Path) -> tuple[list[Result], Measured | None]:
    """Judge every mode of a run, in the order in which they first ran; and measure the ceiling, if there was one."""
    slices: dict[str, list[Path]] = {}
    for place in folder.rounds(run):
        for path in sorted(place.glob("*/plan.json"), key=lambda path: path.stat().st_mtime_ns):
            slices.setdefault(path.parent.name, []).append(path.parent)
    there = map(folder.load_slice, slices.pop(folder.CEILING, []))
    ceiling = [each for each in there if not each.failure]
    rounds = {
        each.name.partition("/")[0]: _Ceiling(measure([each.slice]).requests_per_s, _quiet(each)) for each in ceiling
    }
    # One mode after the other: a long history takes much memory.
    results = [_result(mode, list(map(folder.load_slice, places)), rounds) for mode, places in slices.items()]
    return results, measure([each.slice for each in ceiling]) if ceiling else None


def failures(run: Path) -> list[str]:
    """Return why slices of the ceiling did not end well: nothing else would tell."""
    places = [place / folder.CEILING for place in folder.rounds(run) if (place / folder.CEILING).exists()]
    recorded = [folder.load_slice(place) for place in places]
    return [f"{each.name}: {each.failure}, so this round has no ratio" for each in recorded if each.failure]


def stories(run: Path, results: Sequence[Result]) -> dict[str, list[Story]]:
    """Return for each mode the worst case of each anomaly, told from the history and the trace of its slice."""
    told: dict[str, list[Story]] = {}
    for result in results:
        told[result.mode] = []
        for finding in result.checked.findings if result.checked else ():
            recorded = folder.load_slice(run / finding.worst.slice)
            story = tell(finding.anomaly, finding.worst, recorded.operations, recorded.slice.passages, recorded.faults)
            told[result.mode].append(story)
    return told


def _result(mode: str, recorded: Sequence[Recorded], ceilings: dict[str, _Ceiling]) -> Result:
    whole = [each for each in recorded if not each.failure]
    broken = [f"{each.name}: {each.failure}" for each in recorded if each.failure]
    if not any(each.operations for each in recorded):
        why = broken[0] if broken else "nothing was bought"
        return Result(mode, {}, Verdict("could not tell", why), None, None, None, ())
    word = next((each.mode for each in recorded if each.mode), {})
    by_slice = {each.name: _checked(each) for each in recorded}
    checked = pooled(by_slice, one_store=not recorded[0].alone)
    measured = measure([each.slice for each in whole or recorded])
    rounds = tuple(_round(each, ceilings) for each in whole)
    # A service that claims nothing is taken to promise that it sells nothing twice.
    claim = word.get("claim", {"reach": "processes"})
    used = tuple(used for each in whole if (used := growth.used(each.samples)))
    mishaps = befallen([(_faults(each), each.operations) for each in recorded])
    said = verdict(
        _claimed(claim, word, recorded[0].served, 0 if recorded[0].alone else measured.workers),
        checked,
        measured,
        Conditions(
            open_loop=bool(recorded[0].plan.rate),
            alone=recorded[0].alone,
            failures=tuple(broken),
            mishaps=mishaps,
            excuses=tuple(
                excuse
                for each in recorded
                for excuse in excuses(
                    by_slice[each.name], each.operations, each.faults, tuple(claim.get("survives", ()))
                )
            ),
            unseen=any(each.soak for each in whole) and not any(each.judged for each in used),
        ),
    )
    if not recorded[0].alone and "mode" in word:  # elsewhere, nobody knows the mode beforehand
        said = replace(said, why=f"its mode is {word['mode']}: {said.why}")
    return Result(mode, claim, said, checked, measured, _ratio(rounds), rounds, mishaps, used)


def _faults(each: Recorded) -> list[Stretch]:
    """Return what was done in a slice. Of one that broke off only that counts which ended the service."""
    return [stretch for stretch in each.faults if stretch.gone or not each.failure]


def _claimed(claim: dict[str, Any], word: dict[str, Any], served: Served, seen: int = 0) -> Claimed:
    """Return what is claimed, and of whom: of hosts, or of as many more processes of one.

    Behind the address of a service that runs elsewhere, several may stand, of which only one was asked how many workers
    it has; ``seen`` have answered.
    """
    workers = max(word.get("workers", 1) * (served.hosts // served.apart), seen)
    return Claimed(claim["reach"], workers, word.get("threads"), served.apart, tuple(claim.get("survives", ())))


def _checked(each: Recorded) -> Checked:
    """Check a slice. What was under way when one broke off is not recorded, so only what is proof by itself counts."""
    checked = check(each.operations, each.journal, each.start, each.last)
    grown = growth.used(each.samples)
    if grown and grown.growths:
        first, *_ = witnesses = [Witness(growing.sentence()) for growing in grown.growths]
        finding = Finding("grows without bound", len(witnesses), first, first)
        checked = replace(checked, findings=(*checked.findings, finding))
    if not each.failure:
        return checked
    return replace(checked, findings=tuple(finding for finding in checked.findings if finding.anomaly in PROOFS))


def _round(each: Recorded, ceilings: dict[str, _Ceiling]) -> Round:
    alone = measure([each.slice])
    ceiling = ceilings.get(each.name.partition("/")[0])
    comparable = ceiling is not None and ceiling.requests_per_s and each.slice.seconds >= RATIO_S_MIN
    to_ceiling = alone.requests_per_s / ceiling.requests_per_s if ceiling and comparable else None
    quiet = _quiet(each)
    both = quiet if ceiling is None or quiet is None else quiet and bool(ceiling.quiet)
    return Round(each.name, alone.requests_per_s, alone.p50_ms, alone.p99_ms, to_ceiling, both)


def _quiet(each: Recorded) -> bool | None:
    others = other_cores(each.slice.usage) if each.slice.usage else None
    return None if others is None else others < QUIET_CORES_MAX


def _ratio(rounds: Sequence[Round]) -> Ratio | None:
    """Return the ratio to the ceiling, over the quiet rounds where there are enough of them."""
    pairs = [(each.to_ceiling, 1.0) for each in rounds if each.to_ceiling]
    quiet = [(each.to_ceiling, 1.0) for each in rounds if each.to_ceiling and each.quiet]
    return paired(quiet if len(quiet) >= QUIET_PAIRS_MIN else pairs)
