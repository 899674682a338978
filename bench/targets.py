"""Measure each target for speed, and say whether it is met: ``python -m bench.targets``.

Two arms are measured in turn (A B B A), each slice with a service and a store of its own; the figure is the median over
the pairs of their ratio, with an interval from the bootstrap. The raw figures go to a file after each row, so that the
table can be printed again (``--from``), and a row measured again (``--only``), without the rest.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from bench import results as raw
from bench.arms import Load
from bench.figures import P99S, RATES, count, first, fsyncs, memory, most, openings, ratio, sides, spread, value, waits
from bench.results import Results
from bench.rows import ROWS, Options, measured
from bench.table import Target, markdown, put
from loadtest.interrupt import interruptible
from loadtest.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.rows import Measure

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
PLACE = ROOT / "runs" / "bench"

RATE = ratio("requests_per_s")
CPU_MS = sides("cpu_ms", "{:.3f} against {:.3f} ms")
TURNS = sides("requests_per_s", "{:,.0f} against {:,.0f} orders/s")
WAITS = sides("longest_wait_ms", "{:,.0f} against {:,.0f} ms")
JAIN = sides("jain", "{:.3f}; `file_lock` {:.3f}")

TARGETS = (
    Target("same", "the ceiling to itself (A/A, the error bar): rate", None, RATE, spread),
    Target("ceiling", "`group_commit` to the ceiling: rate", 0.78, RATE, RATES, aim=" (aim: 0.90)"),
    Target("ceiling", "`group_commit` to the ceiling: p99", 1.5, ratio("p99_ms"), P99S, least=False),
    Target("ceiling", "`group_commit` to the ceiling: processor time a reply", None, ratio("cpu_ms"), CPU_MS),
    Target("batching", "`group_commit` to a no-op that batches its replies: rate", None, RATE, RATES),
    Target("file_lock", "`group_commit` to `file_lock`: rate", 3.0, RATE, RATES),
    Target("alone", "`group_commit`, 1 client: median above the ceiling's, in fsyncs", 1.5, fsyncs, waits, least=False),
    Target("single_writer", "`single_writer` to the ceiling: rate", 0.60, RATE, RATES),
    Target(
        "ticket_lock", "`ticket_lock` to `file_lock`, {contending_workers} workers, over HTTP: rate", 1.5, RATE, RATES
    ),
    Target("ticket_lock", "the same: longest wait", 0.2, ratio("longest_wait_ms"), WAITS, least=False),
    Target("ticket_lock", "the same: Jain's index of workers", 0.98, first("jain"), JAIN),
    Target("contending", "`ticket_lock` to `file_lock`, {contending_workers} workers, no web: rate", 1.5, RATE, TURNS),
    Target("contending", "the same: longest wait", 0.2, ratio("longest_wait_ms"), WAITS, least=False),
    Target("contending", "the same: Jain's index of workers", 0.98, first("jain"), JAIN),
    Target("orders", "{orders:,} orders in the store to 10: rate", 0.95, RATE, RATES),
    Target("events", "{events:,} events to 1: rate", 0.9, RATE, RATES),
    Target(
        "million",
        "{million:,} orders in the store: time to open",
        2.0,
        value("open_s"),
        openings,
        least=False,
        unit=" s",
        behind=count("open_s", "openings"),
    ),
    Target(
        "million",
        "the same: memory of the larger worker",
        200.0,
        most("rss_mb"),
        memory,
        least=False,
        unit=" MB",
        behind=count("rss_mb", "workers"),
    ),
    Target("million", "the same, to 10 orders: rate of `GET /orders/{{order}}`", 0.9, RATE, RATES),
    Target("clients", "{many_clients} clients to {few_clients}: rate", 0.85, RATE, RATES),
    Target("clients", "{many_clients} clients to {few_clients}: p99", 16.0, ratio("p99_ms"), P99S, least=False),
)

QUICK: dict[str, Any] = {"pairs": 1, "orders": 2_000, "events": 20, "million": 5_000, "openings": 1}
QUICK_S, QUICK_WARMUP_S, WARMUP_S = 0.6, 0.2, 0.5
KEPT_CONNECTION = 1_000_000
"""So many requests go over one connection: more than any slice can make."""
NAMES = click.Choice(list(ROWS))
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, type=NAMES, help="measure this row alone; may be said several times")
@click.option("--quick", is_flag=True, help="tiny slices and stores, to see that all works; no document is written")
@click.option("--from", "source", type=FILE, help="measure nothing, and print what this file of raw figures says")
@click.option("--pairs", default=12, show_default=True, help="pairs of slices for each row")
@click.option("--seconds", default=2.0, show_default=True, help="length of a slice, after its warm-up")
@click.option("--clients", default=64, show_default=True, help="clients, where a row does not say how many")
@click.option("--processes", default=2, show_default=True, help="client processes")
@click.option(
    "--workers", default=2, show_default=True, help="workers of the service, where a row does not say how many"
)
@click.option("--threads", default=32, show_default=True, help="threads in each worker")
def main(names: tuple[str, ...], source: Path | None, *, quick: bool, **asked: Any) -> None:  # noqa: ANN401  # click checks them
    """Measure what is asked for; print the table, and write it to the document."""
    if source:
        told = raw.load(source)
    else:
        options = options_of(quick=quick, **asked)
        told = all_measured(ROWS, names, options, PLACE / ("quick.json" if quick else "results.json"))
    table = markdown(told, TARGETS)
    click.echo(table)
    if told.options["pairs"] > QUICK["pairs"]:
        DOCUMENT.write_text(put(DOCUMENT.read_text(), "table", table))
        click.echo(f"written to {DOCUMENT.relative_to(ROOT)}")


def options_of(*, quick: bool, pairs: int, seconds: float, **load: int) -> Options:
    """Return the options for what was said on the command line."""
    seconds, warmup_s = (QUICK_S, QUICK_WARMUP_S) if quick else (seconds, WARMUP_S)
    options = Options(Load(seconds=seconds, warmup_s=warmup_s, orders_per_connection=KEPT_CONNECTION, **load), pairs)
    return replace(options, **QUICK) if quick else options


def all_measured(rows: Mapping[str, Measure], asked: Sequence[str], options: Options, path: Path) -> Results:
    """Measure all rows, or those that are asked for, and save all after each. Others that are there already stay."""
    results, names = Results(asdict(options), {}), asked or tuple(rows)
    if path.exists() and len(names) < len(rows):
        before = raw.load(path)
        if before.options | {"pairs": options.pairs} != results.options:
            raise click.ClickException(f"the rows in {path} were measured with other options: move it away first")
        results = Results(results.options, before.rows)
    began = monotonic()
    with interruptible():
        for number, name in enumerate(names, 1):
            click.echo(f"{name} ({number} of {len(names)}, after {monotonic() - began:.0f} s)")
            ran_on = provenance()
            row = measured(rows[name], options, PLACE, lambda said: click.echo(f"  {said}"))
            if row.failure:
                click.echo(f"  not measured: {row.failure}")
            results.rows[name] = replace(row, provenance=ran_on)
            raw.save(path, results)
    click.echo(f"raw figures: {path.relative_to(ROOT)}\n")
    return results


if __name__ == "__main__":
    main()
