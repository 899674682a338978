"""Killed at random moments under load: no acknowledged sale is lost, and nothing is sold twice."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import pytest

from service.catalogue import CLAIMS
from service.mode import Unknown
from service.outcomes import Sold
from service.stores.sealed import unseal
from tests.counter import ON_FILES, Counter, buying
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from service.mode import Mode
    from service.values import Order

FORK = multiprocessing.get_context("fork")
ROUNDS = 60
WORKERS = 3
LONGEST_S = 0.02
CAPACITY = 1_000_000

survivors = [
    name
    for name, claim in CLAIMS.items()
    if name in ON_FILES and claim.reach == "processes" and "killed holder" in claim.survives
]


def be_worker(mode: Mode, told: Connection) -> None:
    """Sell until killed, and tell each sale after it was acknowledged."""
    mode.open()
    while True:
        with contextlib.suppress(Unknown):  # a process of the mode's own was killed with it
            reply = mode.execute(buying(2))
            assert isinstance(reply, Sold)
            told.send(reply.order)


def heard(pipe: Connection) -> list[Order]:
    """Return what a killed worker had told."""
    orders = []
    try:
        while pipe.poll():
            orders.append(pipe.recv())
    except (EOFError, OSError):  # the last one was cut off, or all have been read
        pass
    return orders


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", survivors)
def test_killed_at_random_moments(counter: Counter, name: str) -> None:
    """60 rounds, in half of them once somebody has sold: one worker, or a process beside them, is killed at a random
    moment, all others after another, and the store is opened again. Recovery itself refuses a journal in which a
    version or a ticket comes twice.
    """
    (counter.directory / "default.json").write_text(f'{{"count": {CAPACITY}}}')
    chance = random.Random(name)
    acknowledged: list[Order] = []
    for number in range(ROUNDS):
        mode = counter.build(name)
        pipes = [FORK.Pipe(duplex=False) for _ in range(WORKERS)]
        workers = [FORK.Process(target=be_worker, args=(mode, told)) for _, told in pipes]
        for worker, (_, told) in zip(workers, pipes, strict=True):
            worker.start()
            told.close()
        if number % 2:  # else a busy machine might let nobody sell before a kill, in any round
            assert wait([pipe for pipe, _ in pipes], PATIENCE_S)
        time.sleep(chance.uniform(0, LONGEST_S))
        chance.choice([workers[0].kill, *counter.killers()])()
        counter.keep()
        time.sleep(chance.uniform(0, LONGEST_S))
        for kill in [*(worker.kill for worker in workers), *counter.killers()]:
            kill()
        for worker, (pipe, _) in zip(workers, pipes, strict=True):
            worker.join()
            acknowledged += heard(pipe)
            pipe.close()
    counter.close()
    counter.build(name)
    lines = (counter.directory / "default.jsonl").read_bytes().splitlines(keepends=True)[1:]
    recorded = {line["order"]: (line["version"], tuple(line["tickets"])) for line in map(unseal, lines)}
    assert len(acknowledged) >= ROUNDS // 2
    assert [order for order in acknowledged if recorded.get(order.id) != (order.version, order.tickets)] == []
