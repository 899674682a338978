"""How each row of the table is measured: two arms in turn, and for some rows a value beside them."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from bench import stores
from bench.arms import Arm, Load, paired, served, taken
from bench.contend import contended
from bench.disk import fsync_ms
from bench.results import Row, Taken
from loadtest.drive import ClientDied
from loadtest.serve import NotServed
from loadtest.servers.process import Missing, NotStarted
from service.stores import recovery

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bench.results import Pair
    from loadtest.serve import Service

    Tell = Callable[[str], None]
    Measure = Callable[["Options", Path, Tell], Row]

FINDS = 10_000
"""How many different orders of a large store are asked for."""
FEW_ORDERS = 10
REPLY_S = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how hard to measure; and all sizes, so that a quick look can be small."""

    load: Load
    pairs: int
    contending_workers: int = 4
    contending_threads: int = 8
    few_clients: int = 16
    many_clients: int = 256
    orders: int = 100_000
    events: int = 1_000
    million: int = 1_000_000
    openings: int = 5


def same(options: Options, place: Path, tell: Tell) -> Row:
    """The ceiling twice: what is seen here is noise."""
    return Row(_in_turn(_ceiling(options), replace(_ceiling(options), name="the same"), options, place, tell))


def ceiling(options: Options, place: Path, tell: Tell) -> Row:
    """Group commit beside the ceiling."""
    return Row(_in_turn(Arm("group_commit", options.load), _ceiling(options), options, place, tell))


def batching(options: Options, place: Path, tell: Tell) -> Row:
    """Group commit beside a ceiling that batches its replies in the same way."""
    no_op = Arm("batching no-op", options.load, mode="batching_noop", program="bench.batching")
    return Row(_in_turn(Arm("group_commit", options.load), no_op, options, place, tell))


def file_lock(options: Options, place: Path, tell: Tell) -> Row:
    """Group commit beside a lock and an fsync for each order."""
    lock = Arm("file_lock", options.load, mode="file_lock")
    return Row(_in_turn(Arm("group_commit", options.load), lock, options, place, tell))


def single_writer(options: Options, place: Path, tell: Tell) -> Row:
    """The daemon process beside the ceiling."""
    writer = Arm("single_writer", options.load, mode="single_writer")
    return Row(_in_turn(writer, _ceiling(options), options, place, tell))


def alone(options: Options, place: Path, tell: Tell) -> Row:
    """One client, and what an fsync costs in the same place in the same minute."""
    load = replace(options.load, clients=1)
    fsyncs: list[float] = []

    def group_commit() -> Taken:
        fsyncs.append(fsync_ms(place))
        return taken(Arm("group_commit", load), place)

    pairs = paired(group_commit, partial(taken, Arm("ceiling", load, noop=True), place), options.pairs, tell)
    return Row(pairs, {"fsync_ms": fsyncs})


def ticket_lock(options: Options, place: Path, tell: Tell) -> Row:
    """Two locks under workers that all contend. New connections now and then, so that no worker has most of them."""
    load = replace(
        options.load,
        workers=options.contending_workers,
        threads=options.contending_threads,
        orders_per_connection=10,
    )
    numbers, polls = (Arm(mode, load, mode=mode, traced=True) for mode in ("ticket_lock", "file_lock"))
    return Row(_in_turn(numbers, polls, options, place, tell))


def contending(options: Options, place: Path, tell: Tell) -> Row:
    """The same two locks where nothing but the lock and the store takes time: without the web, one order a worker."""

    def one(mode: str) -> Taken:
        with tempfile.TemporaryDirectory(dir=place) as here:
            load = options.load
            return contended(mode, Path(here), options.contending_workers, load.seconds, load.warmup_s)

    return Row(paired(partial(one, "ticket_lock"), partial(one, "file_lock"), options.pairs, tell))


def orders(options: Options, place: Path, tell: Tell) -> Row:
    """A store from which much has been sold beside one from which little has."""
    tell(f"selling {options.orders:,} orders first")
    stores.sold(place / "large", options.orders)
    large = Arm(f"{options.orders:,} orders", options.load, kept=place / "large")
    small = Arm(f"{FEW_ORDERS} orders", options.load, fill=lambda data: stores.sold(data, FEW_ORDERS))
    return Row(_in_turn(large, small, options, place, tell))


def events(options: Options, place: Path, tell: Tell) -> Row:
    """Purchases spread evenly over many events beside purchases of one."""
    names = [f"event-{number}" for number in range(options.events)]
    # The event of the short paths is there too: the service looks at it before it says that it is ready.
    spread = Arm(
        f"{options.events:,} events",
        options.load,
        events=names,
        fill=lambda data: stores.several(data, [stores.EVENT, *names]),
    )
    return Row(_in_turn(spread, Arm("1 event", options.load), options, place, tell))


def clients(options: Options, place: Path, tell: Tell) -> Row:
    """Many clients beside few, with the same workers and threads: who finds no thread free waits at the door."""
    many, few = (
        Arm(f"{count} clients", replace(options.load, clients=count))
        for count in (options.many_clients, options.few_clients)
    )
    return Row(_in_turn(many, few, options, place, tell))


def million(options: Options, place: Path, tell: Tell) -> Row:
    """A very large store: how it opens, what memory a worker takes, and how fast an order is found."""
    tell(f"selling {options.million:,} orders first")
    stores.sold(place / "large", options.million)
    stores.sold(place / "small", FEW_ORDERS)
    step = max(options.million // FINDS, 1)
    found = [stores.identifier(number) for number in range(0, options.million, step)]
    large = Arm(f"{options.million:,} orders", options.load, kept=place / "large", finds=found)
    some = [stores.identifier(number) for number in range(FEW_ORDERS)]
    small = Arm(f"{FEW_ORDERS} orders", options.load, kept=place / "small", finds=some)
    values = _openings(large, options.openings, place, tell)
    with ExitStack() as stack:
        (place / "one").mkdir()
        (place / "other").mkdir()
        large = replace(large, running=stack.enter_context(served(large, place / "one")))
        small = replace(small, running=stack.enter_context(served(small, place / "other")))
        pairs = _in_turn(large, small, options, place, tell)
        if large.running:
            values |= _memory_mb(large.running)
    return Row(pairs, values)


ROWS: dict[str, Measure] = {
    each.__name__: each
    for each in (
        same,
        ceiling,
        batching,
        file_lock,
        alone,
        single_writer,
        ticket_lock,
        contending,
        orders,
        events,
        million,
        clients,
    )
}


def measured(measure: Measure, options: Options, where: Path, tell: Tell) -> Row:
    """Measure one row. What it leaves under ``where`` is removed; a row that cannot be measured says why."""
    where.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where) as place:
        try:
            return measure(options, Path(place), tell)
        except (NotServed, ClientDied, Missing, NotStarted, requests.RequestException) as error:
            return Row(failure=str(error))


def _in_turn(first: Arm, second: Arm, options: Options, place: Path, tell: Tell) -> tuple[Pair, ...]:
    return paired(partial(taken, first, place), partial(taken, second, place), options.pairs, tell)


def _ceiling(options: Options) -> Arm:
    return Arm("ceiling", options.load, noop=True)


def _openings(arm: Arm, times: int, place: Path, tell: Tell) -> dict[str, list[float]]:
    """Return how long the arm's store takes to be made ready, its service to start, and the first order to be found."""
    values: dict[str, list[float]] = {"prepare_s": [], "open_s": [], "first_find_ms": []}
    for number in range(times):
        began = time.perf_counter()
        os.close(recovery.prepare(arm.kept or place, "the benchmark").descriptor)
        values["prepare_s"].append(time.perf_counter() - began)
        began = time.perf_counter()
        with served(arm, place) as service:
            values["open_s"].append(time.perf_counter() - began)
            values["first_find_ms"].append(_find_ms(service, arm.finds[len(arm.finds) // 2]))
        said = ", ".join(f"{name} {took[-1]:.3f}" for name, took in values.items())
        tell(f"opening {number + 1} of {times}: {said}")
    return values


def _find_ms(service: Service, order: str) -> float:
    with requests.Session() as session:
        session.trust_env = False
        began = time.perf_counter()
        session.get(f"{service.url}/orders/{order}", timeout=REPLY_S).raise_for_status()
        return (time.perf_counter() - began) * 1e3


def _memory_mb(service: Service) -> dict[str, list[float]]:
    """Return the memory of each worker in megabytes: all of it, and with what is shared divided among its users."""
    master = service.process.pid
    workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    rolled: list[dict[str, Any]] = []
    for worker in workers:
        lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()[1:]
        rolled.append({name.rstrip(":"): int(kilobytes) * 1024 / 1e6 for name, kilobytes, _ in map(str.split, lines)})
    return {"rss_mb": [each["Rss"] for each in rolled], "pss_mb": [each["Pss"] for each in rolled]}
