"""The plan: what each client will ask for and when, as a pure function of a shape and a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Arrivals = Literal["constant", "poisson"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A scene: how many tickets, who wants them, and when.

    ``orders`` is how many purchases each client makes; 0 means to go on for ``seconds``. ``rate`` is how many purchases
    all clients together plan in a second (an open loop: they are planned whether or not the last one was answered); 0
    means that each client plans a purchase for when the one before was answered (a closed loop). ``quantity_max`` is
    the most that a client asks for at once, at random from 1. ``look_first`` asks for the count before the first
    purchase, as the article's buyers do. ``think_s`` is the pause that the service makes between reading and writing. A
    client opens a new connection after ``orders_per_connection`` purchases: a kept connection stays with one worker,
    and a race between workers would never be seen. What was planned in the first ``warmup_s`` is checked, but not
    measured.
    """

    shape: str
    tickets: int
    clients: int
    orders: int
    quantity_max: int
    partial: bool
    look_first: bool
    think_s: float
    seconds: float
    seed: int
    rate: float = 0.0
    arrivals: Arrivals = "constant"
    warmup_s: float = 0.0
    orders_per_connection: int = 10
    event: str = "default"


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase to make. ``name`` is unique in the run; the service records it as the buyer.

    ``planned`` is when, in nanoseconds from the start; ``None``: when the one before was answered.
    """

    name: str
    quantity: int
    partial: bool
    planned: int | None


SHAPES: dict[str, dict[str, Any]] = {
    "blog": {
        "tickets": 10,
        "clients": 20,
        "orders": 1,
        "quantity_max": 5,
        "partial": True,
        "look_first": True,
        "think_s": 0.2,
    },
    "last-ticket": {
        "tickets": 1,
        "clients": 50,
        "orders": 1,
        "quantity_max": 1,
        "partial": False,
        "look_first": False,
        "think_s": 0.05,
    },
    "flash-sale": {
        "tickets": 10_000,
        "clients": 16,
        "orders": 0,
        "quantity_max": 1,
        "partial": False,
        "look_first": False,
        "think_s": 0.0,
    },
}

WARMUP_SHARE, WARMUP_S_MAX = 0.1, 1.0


def make(shape: str, seed: int, seconds: float, **changes: object) -> Plan:
    """Return the plan for ``shape``, with those of ``changes`` that are not ``None`` in place of the shape's own."""
    values = SHAPES[shape] | {name: value for name, value in changes.items() if value is not None}
    timed = not values["orders"]
    warmup_s = min(WARMUP_SHARE * seconds, WARMUP_S_MAX) if timed else 0.0
    return Plan(shape=shape, seed=seed, seconds=seconds, warmup_s=warmup_s, **values)


def purchases(plan: Plan, client: int) -> Iterator[Purchase]:
    """Yield what ``client`` buys, in order; in a closed loop that goes by time, without end."""
    chance = random.Random(f"{plan.seed}/{client}")  # noqa: S311  # repeatable, not secret
    moments = _moments(plan, client) if plan.rate else None
    for number in range(plan.orders) if plan.orders else count():
        planned = next(moments, None) if moments else None
        if moments and planned is None:
            return
        quantity = chance.randint(1, plan.quantity_max)
        yield Purchase(f"client {client} order {number}", quantity, plan.partial, planned)


def _moments(plan: Plan, client: int) -> Iterator[int]:
    """Yield when ``client`` is to buy: every so-manieth of the arrivals of all clients, up to the end.

    Constant arrivals are evenly spaced; Poisson arrivals have exponential gaps, as independent people make them.
    """
    chance = random.Random(f"{plan.seed}/arrivals")  # noqa: S311  # repeatable, not secret; the same for all clients
    moment = 0.0
    for number in count():
        if moment >= plan.seconds:
            return
        if number % plan.clients == client:
            yield int(moment * 1e9)
        poisson = plan.arrivals == "poisson"
        moment = moment + chance.expovariate(plan.rate) if poisson else (number + 1) / plan.rate
