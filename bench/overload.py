"""Ten times as many purchases as can be sold: ``python -m bench.overload``.

In each round a service of its own sells as fast as it can (*peak*), then under a storm of ten times that rate, then as
fast as it can again; and then beside a process that does nothing but use as much processor time as the storm's
generator did (*control*), for the generator shares the processors with the service. The figures are medians over the
rounds of ratios within a round, with an interval from the bootstrap.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench import stores
from bench.residents import Residents
from bench.storm import BIN_S
from bench.stormed import REFUSED, SOLD, Round, markdown
from bench.table import put
from loadtest import serve
from loadtest.interrupt import interruptible
from loadtest.provenance import provenance

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
PLACE = ROOT / "runs" / "bench" / "overload"

TIMES = 10
CLIENTS = 64
CONNECTIONS = 2000
"""Most connections of the storm, each with one purchase at a time."""
WORKERS, THREADS = 2, 8
WARMUP_S = 1.0
NORMAL_SHARE, STRETCH_BINS = 0.8, 5
"""All is as before when, for half a second, four fifths of the peak are sold again."""
ARMS = (("group_commit", False), ("group_commit", True), ("file_lock", False), ("single_writer", False))
"""Modes, and whether the storm opens a connection for each purchase."""


@click.command(help=__doc__)
@click.option("--rounds", default=6, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="length of the storm, and of each peak")
@click.option("--mode", "modes", multiple=True, help="measure this mode alone; may be said several times")
@click.option("--quick", is_flag=True, help="one short round, to see that it works; no document is written")
def main(rounds: int, seconds: float, modes: tuple[str, ...], *, quick: bool) -> None:
    """Measure, print the table, and write it to the document."""
    rounds, seconds = (1, 1.5) if quick else (rounds, seconds)
    arms = [arm for arm in ARMS if not modes or arm[0] in modes]
    took: dict[str, list[Round]] = {_name(*arm): [] for arm in arms}
    with interruptible():
        for number in range(rounds):
            for mode, fresh in reversed(arms) if number % 2 else arms:
                name = _name(mode, fresh)
                one = measured(mode, seconds, fresh=fresh)
                took[name].append(one)
                click.echo(f"round {number + 1}, {name}: {_said(one)}", err=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "rounds.json").write_text(json.dumps({name: [asdict(each) for each in took[name]] for name in took}))
    table = markdown(took, measured_on(took, seconds))
    click.echo(table)
    if not quick and not modes:
        DOCUMENT.write_text(put(DOCUMENT.read_text(), "overload", table))
        click.echo(f"written to {DOCUMENT.relative_to(ROOT)}")


def measured(mode: str, seconds: float, *, fresh: bool) -> Round:
    """Measure one round. Raises ``NotServed``."""
    here = PLACE / "slice"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    stores.fresh(here / "data")
    flags = {"mode": mode, "workers": WORKERS, "threads": THREADS, "data": here / "data"}
    with serve.service(here, flags) as service, Residents(service.process.pid) as residents:
        port = service.url.rpartition(":")[2]
        buyers = ("bench.storm", port, "--connections", CLIENTS, "--seconds")
        _ended(_run(*buyers, WARMUP_S))
        before = _ended(_run(*buyers, seconds))
        kept = [residents.taken()]
        rate = TIMES * _rate(before, SOLD)
        prober = _run("bench.prober", port, "--seconds", seconds)
        words = ("--connections", CONNECTIONS, "--seconds", seconds, *(["--fresh"] if fresh else []))
        storm = _ended(_run("bench.storm", port, "--rate", rate, *words))
        kept.append(residents.taken())
        after = _ended(_run(*buyers, seconds))
        looks = _ended(prober)
        kept.append(residents.taken())
        burner = _run("bench.burner", "--share", max(0.0, _cores(storm) - _cores(before)), "--seconds", seconds)
        control = _ended(_run(*buyers, seconds))
        burner.wait()
    shutil.rmtree(here)
    sold = _bins(after)
    settled = sold[len(sold) // 2 :]
    return Round(
        peak=(_rate(before, SOLD) + sum(settled) / len(settled) / BIN_S) / 2,
        storm=_rate(storm, SOLD),
        control=_rate(control, SOLD),
        planned=rate,
        sent=storm["sent"] / seconds,
        refused=_rate(storm, REFUSED),
        generator_cores=_cores(storm),
        normal_after_s=_normal_after_s(after, _rate(before, SOLD)),
        looks=looks,
        memory_mb=[each.memory_mb for each in kept],
        files=[each.files for each in kept],
    )


def measured_on(took: dict[str, list[Round]], seconds: float) -> str:
    """Say what was measured on."""
    ran_on = provenance()
    cores = median(each.generator_cores for rounds in took.values() for each in rounds)
    return (
        f"Medians of {max(map(len, took.values()))} rounds of {seconds:g} s each; {WORKERS} workers with {THREADS} "
        f"threads, {CLIENTS} clients at the peak, at most {CONNECTIONS:,} connections in the storm, whose generator "
        f"used {cores:.2f} of the {ran_on['cpus']} processors; commit {ran_on['commit']}, Python {ran_on['python']}, "
        f"{ran_on['processor']}."
    )


def _normal_after_s(after: dict[str, Any], normal: float) -> float:
    """Return after how long a stretch begins in which nearly as much is sold as before; the whole time if none does."""
    sold = _bins(after)
    for begin in range(len(sold) - STRETCH_BINS + 1):
        if sum(sold[begin : begin + STRETCH_BINS]) >= NORMAL_SHARE * normal * STRETCH_BINS * BIN_S:
            return begin * BIN_S
    return float(after["seconds"])


def _bins(told: dict[str, Any]) -> list[int]:
    """Return how many were sold in each bin of the time."""
    return [told["bins"].get(str(number), {}).get(SOLD, 0) for number in range(int(told["seconds"] / BIN_S))]


def _run(program: str, *words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", program, *map(str, words)], stdout=subprocess.PIPE)  # noqa: S603  # ours


def _ended(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait for a program, and return what it says. Raises ``ClickException``."""
    printed, _ = process.communicate()
    if process.returncode:
        raise click.ClickException(f"{process.args!r} ended with {process.returncode}, so there is nothing to measure")
    told: dict[str, Any] = json.loads(printed)
    return told


def _rate(told: dict[str, Any], status: str) -> float:
    """Return how many replies had this status, a second."""
    return float(told["statuses"].get(status, 0) / told["seconds"])


def _cores(told: dict[str, Any]) -> float:
    return float(told["cpu_s"] / told["seconds"])


def _name(mode: str, fresh: bool) -> str:  # noqa: FBT001  # a column
    return f"`{mode}`, a new connection each" if fresh else f"`{mode}`"


def _said(one: Round) -> str:
    return (
        f"{one.peak:,.0f} sales/s at the peak, {one.storm:,.0f} in the storm of {one.sent:,.0f} requests/s, "
        f"{one.control:,.0f} beside a burner, as before after {one.normal_after_s:.1f} s"
    )


if __name__ == "__main__":
    main()
