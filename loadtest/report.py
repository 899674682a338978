"""The report for a terminal, and the same table as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from loadtest.fates import fate
from loadtest.fitting import fitting, table
from loadtest.mishaps import RECOVERY_S, WATCHED_S
from loadtest.verdict import PROOFS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from loadtest.growth import Used
    from loadtest.judge import Result
    from loadtest.measure import Measured
    from loadtest.mishaps import Mishap
    from loadtest.require import Outcome
    from loadtest.witness import Story

COLUMNS = (
    "mode",
    "sold",
    "left",
    "lost updates",
    "sold twice",
    "torn reads",
    "req/s",
    "p50 ms",
    "p99 ms",
    "longest ms",
    "verdict",
)

DETAILS = (
    "mode",
    "p90 ms",
    "p99.9 ms",
    "wait ms",
    "hold ms",
    "queue ms",
    "lock idle",
    "fair clients",
    "fair workers",
    "cpu ms/sale",
    "load gen.",
)
"""The second table: latencies in the tail, where the time of the middle order went, the share of the time in which
somebody waited and nobody was inside, Jain's index over clients and workers, and processor time. What the first table
has no room for stands before them."""

FAULTS = ("mode", "fault", "times", "served again after", "calls excused", "verdict")
"""The table of what was done on purpose: the longest that it took until somebody was served again, and how many calls
failed meanwhile."""

STYLES = {"as claimed": "green", "broke its word": "bold red", "could not tell": "yellow"}


def row(result: Result) -> tuple[str, ...]:
    """Return a mode's result as the cells of one row."""
    checked, measured = result.checked, result.measured
    if checked is None or measured is None:
        return (result.mode, *["-"] * (len(COLUMNS) - 2), result.verdict.word)
    return (
        result.mode,
        str(checked.sold),
        "torn" if checked.left is None else str(checked.left),
        str(checked.times("lost update")),
        str(checked.times("double sale")),
        str(checked.times("torn read")),
        f"{measured.requests_per_s:.1f}",
        f"{measured.p50_ms:.0f}",
        f"{measured.p99_ms:.0f}",
        f"{measured.longest_ms:.0f}",
        result.verdict.word,
    )


def tables(results: Sequence[Result], title: str, console: Console) -> list[Table]:
    """Return the results, and where the time went, as tables for the terminal.

    Modes and verdicts are never broken: of the other columns, those that have no room go to the next table.
    """
    rows = [dict(zip(COLUMNS, row(result), strict=True)) for result in results]
    for each in rows:
        each["verdict"] = _styled(each["verdict"])
    first, names = fitting(rows, COLUMNS[1:-1], COLUMNS[-1:], title, console)
    made = [first]
    rows = [
        cells | dict(zip(DETAILS[1:], _detail_cells(result.measured), strict=True))
        for cells, result in zip(rows, results, strict=True)
        if result.measured is not None
    ]
    names += DETAILS[1:]
    while rows and names:
        more, names = fitting(rows, names, (), "", console)
        made.append(more)
    return made


def _styled(word: str) -> str:
    return f"[{STYLES[word]}]{word}[/]"


def fault_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return what was done to each mode on purpose, and how it bore it: a row for each kind."""
    return [_fault_row(result, each) for result in results for each in result.mishaps]


def _fault_row(result: Result, mishap: Mishap) -> tuple[str, ...]:
    proven = any(finding.anomaly in PROOFS for finding in result.checked.findings) if result.checked else False
    borne = result.verdict.word == "as claimed"
    word = "as claimed" if borne else fate(mishap, result.claim.get("survives", ()), proven=proven)
    unmet = "holder" in mishap.name and not (mishap.met or mishap.stuck)
    whose = f"{mishap.name} (not met)" if unmet else mishap.name
    again = "never" if mishap.recovered_s is None else f"{mishap.recovered_s:.2f} s"
    if mishap.stuck and not mishap.wrong:
        again = f"not in {RECOVERY_S + WATCHED_S:g} s"
    return result.mode, whose, str(mishap.times), again, str(mishap.excused), word


def faults(results: Sequence[Result]) -> Table:
    """Return what was done on purpose, and what came of it, as a table for the terminal."""
    shown = table(FAULTS, header_lines=2)
    for *cells, word in fault_rows(results):
        shown.add_row(*cells, _styled(word))
    return shown


def usage(results: Sequence[Result]) -> list[str]:
    """Return what the service used in each mode, after its warm-up and at the end, a line a slice."""
    lines = []
    for result in results:
        for used in result.used:
            pairs = {"MB": used.memory_mb, "descriptors": used.descriptors, "threads": used.threads}
            pairs["files beside the journals"] = used.files
            amounts = ", ".join(f"{first:,.0f} and {last:,.0f} {what}" for what, (first, last) in pairs.items())
            lines.append(
                f"{result.mode} used, when it was warm and at the end: {amounts}; "
                f"{used.kept_bytes_a_call:,.0f} bytes a call are kept; "
                f"{used.judged} of {used.workers} workers lived long enough to be judged{_seen_leak(used)}"
            )
            lines += [f"{result.mode}: {growing.sentence()}" for growing in used.growths]
    return lines


def _seen_leak(used: Used) -> str:
    """Return what a leak would have had to be to be seen, where that is known."""
    if not used.judged:
        return ": whether memory grows, it could not tell"
    leak = used.leak_mb_a_minute
    return "" if leak is None else f", and a leak of {leak:.1f} MB a minute in each, or more, would have been seen"


def _detail_cells(measured: Measured) -> list[str]:
    inside, cost = measured.inside, measured.cost
    times = (inside.wait_ms, inside.hold_ms, inside.queue_ms) if inside else (None, None, None)
    return [
        f"{measured.p90_ms:.0f}",
        f"{measured.p999_ms:.0f}",
        *("-" if value is None else f"{value:.1f}" for value in times),
        f"{inside.idle_share:.0%}" if inside else "-",
        f"{measured.by_client.jain:.2f}",
        f"{measured.by_worker.jain:.2f}" if measured.by_worker else "-",
        f"{cost.cpu_ms_per_sale:.1f}" if cost and cost.cpu_ms_per_sale is not None else "-",
        f"{cost.client_share:.0%}" if cost else "-",
    ]


def sentences(results: Sequence[Result], stories: dict[str, list[Story]]) -> list[str]:
    """Return why each verdict was given, in rich's markup: a line for each mode, and one for a case of it."""
    lines = []
    for result in results:
        style = STYLES[result.verdict.word]
        lines.append(f"[{style}]{result.mode}: {result.verdict.word}[/] ({escape(result.verdict.why)})")
        if stories[result.mode]:
            lines.append(f"    {escape(stories[result.mode][0].sentence)}")
    return lines


def ratios(results: Sequence[Result], ceiling: Measured | None) -> list[str]:
    """Return what each mode costs against the no-op ceiling, a line each."""
    if ceiling is None:
        return []
    lines = [f"ceiling: {ceiling.requests_per_s:.0f} req/s for a route that parses and answers, without lock or store"]
    for result in results:
        if result.ratio is not None:
            ratio = result.ratio
            interval = f" (95 %: {ratio.low:.2f} to {ratio.high:.2f})" if ratio.low is not None else ""
            rounds = f"{ratio.pairs} round{'s' * (ratio.pairs > 1)}"
            lines.append(f"    {result.mode}: {ratio.median:.2f} of the ceiling{interval}, over {rounds}")
    return lines


def warnings(results: Sequence[Result], ceiling: Measured | None) -> list[str]:
    """Return what a reader should know before believing the figures."""
    lines = []
    for name, measured in [(result.mode, result.measured) for result in results] + [("the ceiling", ceiling)]:
        if measured is None or measured.cost is None:
            continue
        if measured.cost.bottleneck:
            lines.append(f"{name}: the load generator was itself the limit; the true rate is higher")
        if measured.cost.crowded:
            used = f"{measured.cost.client_share:.0%}"
            lines.append(f"{name}: the machine was full, and the load generator took {used} of it")
        if measured.errors:
            lines.append(f"{name}: {measured.errors} requests got no answer or an error, and are in no percentile")
        if measured.cost.quiet is False:
            lines.append(f"{name}: other processes were busy (up to {measured.cost.other_cores:.2f} processors)")
    return lines


def requirements(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what was required and whether it was met, in rich's markup."""
    lines = []
    for each in outcomes:
        value = "nothing was measured" if each.value is None else f"{each.value:g}"
        word = "[green]met[/]" if each.met else "[bold red]missed[/]"
        lines.append(f"required {escape(each.requirement)}: {word} by {each.mode} ({value})")
    return lines


def markdown(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    rule = [":--" if name in {"mode", "verdict"} else "--:" for name in COLUMNS]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (COLUMNS, rule, *map(row, results)))
