"""How each row of the table of engines is measured: two arms in turn, over private servers of the engines."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from bench import pgbench
from bench.arms import Arm, paired, taken
from bench.results import Row, Taken
from loadtest import engines
from loadtest.servers import postgres
from service.stores.postgres_pool import CONNECTIONS_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from bench.arms import Slice
    from bench.rows import Measure, Options, Tell

NUMBER = itertools.count(1)
AGAINST_PGBENCH = ("postgres_row_lock", "postgres_advisory", "postgres_conditional")
PAIRS = {
    "sqlite": "ceiling",
    "postgres_row_lock": "ceiling",
    "postgres_conditional": "ceiling",
    "postgres_optimistic": "ceiling",
    "postgres_serializable": "ceiling",
    "postgres_group": "ceiling",
    "redis_lock": "ceiling",
    "redis_script": "ceiling",
    "redis_group": "ceiling",
    "etcd_lock": "ceiling",
    "etcd_txn": "ceiling",
}
"""Modes, and what each is measured beside."""


def beside(mode: str, other: str, options: Options, place: Path, tell: Tell) -> Row:
    """One mode beside another, or beside the ceiling."""
    listed = engines.listed()
    needed = {each: listed[each] for each in (mode, other) if each in listed}
    with engines.running(needed) as databases:

        def arm(each: str) -> Slice:
            if each == "ceiling":
                return partial(taken, Arm("ceiling", options.load, noop=True), place)
            return partial(_slice, each, databases, options, place)

        return Row(paired(arm(mode), arm(other), options.pairs, tell))


def against_pgbench(mode: str, options: Options, place: Path, tell: Tell) -> Row:
    """A mode beside pgbench with the same transaction, on one server, with as many connections."""
    connections = CONNECTIONS_MAX * options.load.workers
    with ExitStack() as stack:
        server = stack.enter_context(postgres.running())

        def ours() -> Taken:
            arm = Arm(mode, options.load, mode=mode, database=server.url, servers=server.pids)
            return taken(arm, place)

        def theirs() -> Taken:
            return pgbench.taken(mode, options.load, server, f"pgbench_{next(NUMBER)}", connections)

        return Row(paired(ours, theirs, options.pairs, tell))


def _slice(mode: str, databases: engines.Engines, options: Options, place: Path) -> Taken:
    database = databases.fresh(mode, place / "slice")  # a file there goes with it
    arm = Arm(mode, options.load, mode=mode, database=lambda _: database.url, servers=database.servers)
    return taken(arm, place)


ENGINE_ROWS: dict[str, Measure] = {
    **{mode: partial(beside, mode, other) for mode, other in PAIRS.items()},
    **{f"{mode} to pgbench": partial(against_pgbench, mode) for mode in AGAINST_PGBENCH},
    "group to row lock": partial(beside, "postgres_group", "postgres_row_lock"),
}
