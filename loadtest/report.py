"""The report for a terminal, and the same table as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.judge import Result
    from loadtest.measure import Measured
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
somebody waited and nobody was inside, Jain's index over clients and workers, and processor time."""

MODE_COLUMNS_MAX = 13

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


def table(results: Sequence[Result], title: str) -> Table:
    """Return the results as a table for the terminal."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in COLUMNS:
        left = name in {"mode", "verdict"}
        # A header takes a line a word, so that the whole table fits into 80 columns.
        shown.add_column(name.replace(" ", "\n"), justify="left" if left else "right", no_wrap=name != "verdict")
    for result in results:
        name, *cells, word = row(result)
        shown.add_row(_narrow(name), *cells, f"[{STYLES[word]}]{word}[/]")
    return shown


def details(results: Sequence[Result]) -> Table:
    """Return where the time went and how evenly it fell, as a table for the terminal."""
    shown = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in DETAILS:
        shown.add_column(name.replace(" ", "\n"), justify="left" if name == "mode" else "right", no_wrap=True)
    for result in results:
        if result.measured is not None:
            shown.add_row(_narrow(result.mode), *_detail_cells(result.measured))
    return shown


def _narrow(mode: str) -> str:
    """Return a mode's name on two lines if it is long: on one it would take the verdict's place."""
    return mode if len(mode) <= MODE_COLUMNS_MAX else mode.replace("_", "_\n", 1)


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
