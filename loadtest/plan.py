"""The plan: what each client will ask for, as a pure function of a shape and a seed."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Plan:
    """A scene: how many tickets, who wants them, and how fast.

    ``orders`` is how many purchases each client makes; 0 means to go on for ``seconds``, each purchase after the reply
    to the one before (a closed loop). ``quantity_max`` is the most that a client asks for at once, at random from 1.
    ``look_first`` asks for the count before the first purchase, as the article's buyers do. ``think_s`` is the pause
    that the service makes between reading and writing. A client opens a new connection after ``orders_per_connection``
    purchases: a kept connection stays with one worker, and a race between workers would never be seen.
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
    orders_per_connection: int = 10
    event: str = "default"


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase to make. ``name`` is unique in the run; the service records it as the buyer."""

    name: str
    quantity: int
    partial: bool


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


def make(shape: str, seed: int, seconds: float, **changes: float | None) -> Plan:
    """Return the plan for ``shape``, with those of ``changes`` that are not ``None`` in place of the shape's own."""
    changed = {name: value for name, value in changes.items() if value is not None}
    return Plan(shape=shape, seed=seed, seconds=seconds, **SHAPES[shape] | changed)


def purchases(plan: Plan, client: int) -> Iterator[Purchase]:
    """Yield what ``client`` buys, in order; without end if the plan goes by time."""
    chance = random.Random(f"{plan.seed}/{client}")  # noqa: S311  # repeatable, not secret
    number = 0
    while number < plan.orders or not plan.orders:
        yield Purchase(f"client {client} order {number}", chance.randint(1, plan.quantity_max), plan.partial)
        number += 1


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values; ``Plan(**values)`` makes it again."""
    return asdict(plan)
