"""What a reply costs the service under load: processor time, and how often its threads change places.

What bounds group commit is neither the lock nor the disk: a thread that waits for its batch is put to sleep and woken,
and every change of threads in CPython goes through one lock (the GIL). Read from ``/proc`` for the whole service:
``python -m bench.switches``.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import click

from bench.arms import Arm, Load, served
from bench.stores import TICKETS
from bench.table import put
from bench.targets import DOCUMENT, PLACE, ROOT
from loadtest import drive, plan
from loadtest.provenance import provenance
from loadtest.scene import Scene
from loadtest.usage import TICKS_PER_S, Meter

LOAD = Load(clients=64, processes=2, workers=2, threads=32, seconds=3.0, warmup_s=0.0, orders_per_connection=10**9)
ARMS = (
    Arm("no-op", LOAD, noop=True),
    Arm("no-op, handed to a thread in batches", LOAD, mode="batching_noop", program="bench.batching"),
    Arm("group_commit", LOAD),
    Arm("single_writer", LOAD, mode="single_writer"),
    Arm("ticket_lock", LOAD, mode="ticket_lock"),
    Arm("file_lock", LOAD, mode="file_lock"),
)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the processes of a service have spent so far: ticks of the processor, and changes of threads."""

    user: int
    system: int
    switches: int


def spent(group: int) -> Spent:
    """Read it from ``/proc``: proc(5) has the fields."""
    user = system = switches = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) != group:
                continue
            user, system = user + int(fields[11]), system + int(fields[12])
            for task in (path.parent / "task").iterdir():
                lines = (task / "status").read_text().splitlines()
                switches += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return Spent(user, system, switches)


def per_reply(arm: Arm, place: Path) -> tuple[float, float, float, float]:
    """Return replies a second, user and system time a reply in microseconds, and changes of threads a reply."""
    load = arm.load
    scene_plan = plan.make("flash-sale", 1, load.seconds, tickets=TICKETS, clients=load.clients)
    scene_plan = replace(scene_plan, orders_per_connection=load.orders_per_connection)
    with tempfile.TemporaryDirectory(dir=place) as name, served(arm, Path(name)) as service:
        group = os.getpgid(service.process.pid)
        before = spent(group)
        scene = Scene(service.url, scene_plan, arm.noop)
        driven = drive.drive(scene, Path(name), load.processes, Meter([group]), lambda _: None)
        after = spent(group)
        done = sum(row.outcome == "done" for row in driven.operations)
    tick = 1e6 / TICKS_PER_S
    return (
        done / load.seconds,
        (after.user - before.user) * tick / done,
        (after.system - before.system) * tick / done,
        (after.switches - before.switches) / done,
    )


@click.command(help=__doc__)
@click.option("--rounds", default=6, show_default=True, help="slices of each, one after the other and back")
@click.option("--quick", is_flag=True, help="one short round, to see that it works; no document is written")
def main(rounds: int, *, quick: bool) -> None:
    """Measure, print the table, and write it to the document."""
    PLACE.mkdir(parents=True, exist_ok=True)
    arms = [replace(arm, load=replace(LOAD, seconds=1.0)) for arm in ARMS] if quick else list(ARMS)
    taken: dict[str, list[tuple[float, float, float, float]]] = {arm.name: [] for arm in arms}
    for number in range(1 if quick else rounds):
        for arm in reversed(arms) if number % 2 else arms:
            taken[arm.name].append(per_reply(arm, PLACE))
            click.echo(f"round {number + 1}: {arm.name} {taken[arm.name][-1][0]:,.0f}/s", err=True)
    heads = ("what is asked", "replies/s", "user, µs a reply", "system, µs a reply", "changes of threads a reply")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, values in taken.items():
        rate, user, system, switches = (median(each) for each in zip(*values, strict=True))
        lines.append(f"| {name} | {rate:,.0f} | {user:.0f} | {system:.0f} | {switches:.1f} |")
    ran_on = provenance()
    said = (
        f"Medians of {len(taken[arms[0].name])} slices of {arms[0].load.seconds:g} s each, {LOAD.clients} clients, "
        f"{LOAD.workers} workers with {LOAD.threads} threads; commit {ran_on['commit']}, Python {ran_on['python']}, "
        f"{ran_on['processor']}. The client shares the two processors; what it spends is not in it."
    )
    table = "\n".join([*lines, "", said])
    click.echo(table)
    if not quick:
        DOCUMENT.write_text(put(DOCUMENT.read_text(), "switches", table))
        click.echo(f"written to {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
