"""An arm: what is served and what is asked of it; and how one slice of it is measured.

A slice has a service of its own, started and ended outside the measured time, and a fresh store, unless the arm says
that a store is kept or that a service is running already.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench import stores
from bench.results import Taken
from loadtest import drive, history, plan, serve
from loadtest.cost import other_cores
from loadtest.measure import measure
from loadtest.scene import Scene
from loadtest.slices import cut
from loadtest.usage import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.results import Pair
    from loadtest.serve import Service

Slice = Callable[[], Taken]
"""What measures one slice of an arm."""

NUMBER = itertools.count(1)
"""Of the slices on an engine: each has a database of its own."""
WAIT_S = 30.0
"""How long an order may wait for the others: long enough that a slow mode is measured, not refused."""


@dataclass(frozen=True, slots=True)
class Load:
    """How hard, how long, and against how much."""

    clients: int
    processes: int
    workers: int
    threads: int
    seconds: float
    warmup_s: float
    orders_per_connection: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing that is measured.

    ``fill`` puts tickets into an empty directory for each slice; ``kept`` is a store that is there already and grows
    with each slice; ``running`` is a service that has been started already. ``database`` makes a fresh database of an
    engine, of a name that it is given, and returns its address, for one host or several; ``servers`` are the processes
    of the engine. ``traced`` measures the waits too. ``flags`` are settings of the service beyond these.
    """

    name: str
    load: Load
    mode: str = "group_commit"
    noop: bool = False
    program: str = "service"
    traced: bool = False
    events: Sequence[str] = ()
    finds: Sequence[str] = ()
    fill: Callable[[Path], None] = stores.fresh
    kept: Path | None = None
    running: Service | None = None
    database: Callable[[str], str] | None = None
    servers: Sequence[int] = ()
    hosts: int = 1
    flags: Mapping[str, object] = field(default_factory=dict)


def paired(first: Slice, second: Slice, pairs: int, tell: Callable[[str], None]) -> tuple[Pair, ...]:
    """Measure slices of two arms in the order A B B A A B ...: a machine that slows down favours none of them."""
    done: list[Pair] = []
    for number in range(pairs):
        if number % 2:
            after, before = second(), first()
        else:
            before, after = first(), second()
        done.append((before, after))
        tell(f"pair {number + 1} of {pairs}: {_said(before)}, {_said(after)}")
    return tuple(done)


def taken(arm: Arm, place: Path) -> Taken:
    """Measure one slice of ``arm``. What it leaves in ``place`` is removed. Raises ``NotServed`` or ``ClientDied``."""
    load = arm.load
    scene_plan = replace(
        plan.make("flash-sale", 1, load.seconds + load.warmup_s, tickets=stores.TICKETS, clients=load.clients),
        warmup_s=load.warmup_s,
        orders_per_connection=load.orders_per_connection,
    )
    here = place / "slice"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    with _hosts(arm, here) as hosts:
        others = [host.url for host in hosts[1:]]
        scene = Scene(hosts[0].url, scene_plan, arm.noop, arm.events, arm.finds, others)
        meter = Meter([host.process.pid for host in hosts], arm.servers)
        driven = drive.drive(scene, here, min(load.processes, load.clients), meter, lambda _: None)
    operations = driven.operations  # read from a file, which is removed below
    piece = cut(scene_plan, operations, history.load_trace(here), driven.usage, load.workers * arm.hosts)
    shutil.rmtree(here)
    measured = measure([piece])
    answered = sum(row.outcome == "done" for row in operations)
    return Taken(
        arm=arm.name,
        decided=measured.decided,
        errors=len(operations) - answered,
        requests_per_s=measured.requests_per_s,
        p50_ms=measured.p50_ms,
        p99_ms=measured.p99_ms,
        cpu_ms=(driven.usage.service_s or 0.0) / max(answered, 1) * 1e3,
        other_cores=other_cores(driven.usage) or 0.0,
        busiest_share=measured.busiest_share,
        longest_wait_ms=measured.inside.longest_wait_ms if measured.inside else None,
        jain=measured.by_worker.jain if measured.by_worker else None,
    )


@contextmanager
def served(arm: Arm, here: Path) -> Iterator[Service]:
    """Run the arm's service, with a fresh store unless one is kept."""
    if arm.running:
        yield arm.running
        return
    data = arm.kept or here / "data"
    if arm.kept is None:
        arm.fill(data)
    with serve.service(here, _flags(arm, here) | {"data": data}, arm.program) as service:
        yield service


@contextmanager
def _hosts(arm: Arm, here: Path) -> Iterator[tuple[Service, ...]]:
    """Run the arm's service on as many hosts as it says: several each have a directory, and share the database."""
    if arm.hosts == 1:
        with served(arm, here) as service:
            yield (service,)
        return
    homes = [here / f"host-{number + 1}" for number in range(arm.hosts)]
    for home in homes:
        home.mkdir()
        arm.fill(home / "data")
    with serve.services(homes, _flags(arm, here), arm.program) as services:
        yield services


def _flags(arm: Arm, here: Path) -> dict[str, object]:
    flags: dict[str, object] = {"mode": arm.mode, "wait_s": WAIT_S}
    flags |= {"workers": arm.load.workers, "threads": arm.load.threads}
    if arm.traced:
        flags["trace"] = here
    if arm.database:
        flags["url"] = arm.database(f"slice_{next(NUMBER)}")
    flags.update(arm.flags)
    return flags


def _said(one: Taken) -> str:
    errors = f", {one.errors} ERRORS" if one.errors else ""
    noise = "" if one.quiet else f", others used {one.other_cores:.2f} processors"
    return f"{one.arm} {one.requests_per_s:,.0f}/s (p50 {one.p50_ms:.2f}, p99 {one.p99_ms:.1f} ms{errors}{noise})"
