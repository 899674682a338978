"""Measure each mode on an engine, beside the ceiling and beside pgbench: ``python -m bench.engines``.

As ``python -m bench.targets``, whose options it has. The servers are private ones, on the same two processors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench import results as raw
from bench.engine_rows import ENGINE_ROWS, PAIRS
from bench.figures import P99S, RATES, first, ratio, sides
from bench.table import Target, markdown, put
from bench.targets import FILE, PLACE, QUICK, ROOT, all_measured, options_of

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = ROOT / "docs" / "databases.md"
RATE = ratio("requests_per_s")
TRANSACTIONS = sides("requests_per_s", "{:,.0f} orders/s against {:,.0f} transactions/s")

LEAST = {"sqlite": 0.5, "postgres_group": 0.6, "redis_script": 0.5, "redis_group": 0.65}
"""The share of the ceiling that a mode is to reach, where there is a target."""
LEAST_OF_PGBENCH = 0.5
TARGETS = (
    *(Target(mode, f"`{mode}` to the ceiling: rate", LEAST.get(mode), RATE, RATES) for mode in PAIRS),
    Target("sqlite", "`sqlite`, 64 clients: p99", 100.0, first("p99_ms"), P99S, least=False, unit=" ms"),
    Target("redis_lock", "`redis_lock`, 64 clients: p99", None, first("p99_ms"), P99S, least=False, unit=" ms"),
    *(
        Target(name, f"`{name.removesuffix(' to pgbench')}` to pgbench: rate", LEAST_OF_PGBENCH, RATE, TRANSACTIONS)
        for name in ENGINE_ROWS
        if name.endswith("pgbench")
    ),
    Target("group to row lock", "`postgres_group` to `postgres_row_lock`: rate", 2.0, RATE, RATES),
)


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, type=click.Choice(list(ENGINE_ROWS)), help="measure this row alone")
@click.option("--quick", is_flag=True, help="tiny slices, to see that all works; no document is written")
@click.option("--from", "source", type=FILE, help="measure nothing, and print what this file of raw figures says")
@click.option("--pairs", default=8, show_default=True, help="pairs of slices for each row")
@click.option("--seconds", default=2.0, show_default=True, help="length of a slice, after its warm-up")
@click.option("--clients", default=64, show_default=True)
@click.option("--processes", default=2, show_default=True, help="client processes")
@click.option("--workers", default=2, show_default=True, help="workers of the service")
@click.option("--threads", default=32, show_default=True, help="threads in each worker")
def main(names: tuple[str, ...], source: Path | None, *, quick: bool, **asked: Any) -> None:  # noqa: ANN401  # click checks them
    """Measure what is asked for; print the table, and write it to the document."""
    if source:
        told = raw.load(source)
    else:
        path = PLACE / ("engines-quick.json" if quick else "engines.json")
        told = all_measured(ENGINE_ROWS, names, options_of(quick=quick, **asked), path)
    table = markdown(told, TARGETS)
    click.echo(table)
    if told.options["pairs"] > QUICK["pairs"]:
        DOCUMENT.write_text(put(DOCUMENT.read_text(), "engines", table))
        click.echo(f"written to {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
