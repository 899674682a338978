"""Measure how throughput changes with hosts: ``python -m bench.hosts --mode postgres_group``.

One, two and three services sell the same tickets from one engine, on the same processors, under the same clients. They
are measured in turn (1 2 3 3 2 1), each slice with a fresh database of one private server. What is printed is the ratio
to one host, the median over the rounds with an interval from the bootstrap. Rows of modes measured before stay.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import results as raw
from bench.arms import Arm, Load, taken
from bench.figures import RATES, ratio
from bench.results import Results, Row
from bench.table import Target, markdown, put
from loadtest import engines
from loadtest.drive import ClientDied
from loadtest.interrupt import interruptible
from loadtest.provenance import provenance
from loadtest.serve import NotServed
from loadtest.servers.process import Missing, NotStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Taken
    from loadtest.engines import Engines

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "databases.md"
PLACE = ROOT / "runs" / "bench"

HOSTS = (1, 2, 3)
KEPT_SHARE_MIN = 0.9
"""More hosts on the same processors are to keep this share of one host's rate."""
WARMUP_S = 0.5
ORDERS_PER_CONNECTION = 10
"""As in the load test: a kept connection would stay with one host."""


@click.command(help=__doc__)
@click.option("--mode", "modes", multiple=True, required=True, help="a mode on an engine; may be said several times")
@click.option("--rounds", default=8, show_default=True, help="how often each number of hosts is measured")
@click.option("--seconds", default=2.0, show_default=True, help="length of a slice, after its warm-up")
@click.option("--clients", default=64, show_default=True)
@click.option("--processes", default=2, show_default=True, help="client processes")
@click.option("--workers", default=2, show_default=True, help="workers of each host")
@click.option("--threads", default=32, show_default=True, help="threads of each worker")
@click.option("--quick", is_flag=True, help="one short round, to see that all works; no document is written")
def main(modes: tuple[str, ...], rounds: int, seconds: float, *, quick: bool, **load: int) -> None:
    """Measure each mode; print the table, and write it to the document."""
    seconds, rounds = (0.6, 1) if quick else (seconds, rounds)
    asked = Load(seconds=seconds, warmup_s=WARMUP_S, orders_per_connection=ORDERS_PER_CONNECTION, **load)
    path = PLACE / ("hosts-quick.json" if quick else "hosts.json")
    results = _before(path, Results({"load": asdict(asked), "pairs": rounds}, {}))
    try:
        needed = _engines_of(modes)
        with interruptible(), engines.running(needed) as databases:
            for mode in modes:
                rows = measured(mode, asked, rounds, databases)
                results.rows.update(rows)
                raw.save(path, results)
    except (Missing, NotStarted, NotServed, ClientDied) as error:
        raise click.ClickException(str(error)) from error
    table = markdown(results, targets(list(results.rows)))
    click.echo(table)
    if not quick:
        DOCUMENT.write_text(put(DOCUMENT.read_text(), "hosts", table))
        click.echo(f"written to {DOCUMENT.relative_to(ROOT)}")


def targets(rows: Sequence[str]) -> list[Target]:
    """Return a line of the table for each row: the last number of hosts is held to a bound, those before are told."""
    lines = []
    for row in rows:
        mode, _, hosts = row.rpartition(" ")
        bound = KEPT_SHARE_MIN if int(hosts) == HOSTS[-1] else None
        lines.append(Target(row, f"`{mode}` on {hosts} hosts to 1: rate", bound, ratio("requests_per_s"), RATES))
    return lines


def measured(mode: str, load: Load, rounds: int, databases: Engines) -> dict[str, Row]:
    """Measure a mode on every number of hosts in turn; return a row for each number above one."""
    ran_on = provenance()
    took: list[dict[int, Taken]] = []
    for number in range(rounds):
        turn = HOSTS if number % 2 == 0 else HOSTS[::-1]
        took.append({hosts: _one(mode, load, hosts, databases) for hosts in turn})
        said = ", ".join(f"{hosts}: {took[-1][hosts].requests_per_s:,.0f}/s" for hosts in HOSTS)
        click.echo(f"{mode}, round {number + 1} of {rounds}: {said}")
    return {
        f"{mode} {hosts}": Row(tuple((each[hosts], each[1]) for each in took), provenance=ran_on)
        for hosts in HOSTS
        if hosts > 1
    }


def _one(mode: str, load: Load, hosts: int, databases: Engines) -> Taken:
    """Measure one slice."""
    place = PLACE / "hosts"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    database = databases.fresh(mode, place)
    arm = Arm(f"{hosts} hosts", load, mode=mode, hosts=hosts, database=lambda _: database.url)
    try:
        return taken(replace(arm, servers=database.servers), place)
    finally:
        shutil.rmtree(place)


def _engines_of(modes: Sequence[str]) -> dict[str, str]:
    listed = engines.listed()
    for mode in modes:
        if not listed.get(mode):
            known = ", ".join(name for name, engine in listed.items() if engine)
            raise click.BadParameter(f"{mode!r} is no mode on an engine: expected {known}", param_hint="'--mode'")
    return {mode: listed[mode] for mode in modes}


def _before(path: Path, results: Results) -> Results:
    """Return the rows that were measured before with the same options, so that modes can be measured one by one."""
    if not path.exists():
        return results
    before = raw.load(path)
    if before.options != json.loads(json.dumps(results.options)):
        raise click.ClickException(f"the rows in {path} were measured with other options: move it away first")
    return before


if __name__ == "__main__":
    main()
