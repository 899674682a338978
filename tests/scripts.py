"""Scripts: what a crowd does at one event, step by step, as Hypothesis makes it up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from service.commands import KEY_S, Buy, Cancel, Command, Confirm, Hold, Resize, Sweep, key_of
from service.values import order_id

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = "default"
CAPACITY_MAX = 12

NTH = st.integers(0, 5)
KEYS = st.sampled_from([None, None, "a", "b", "c"])
QUANTITIES = st.integers(1, 6)


@dataclass(frozen=True)
class Wait:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True)
class Again:
    """Ask the same as the ``nth`` last command that had a key."""

    nth: int


@dataclass(frozen=True)
class Turn:
    """Confirm or cancel the ``nth`` last order."""

    kind: type[Confirm | Cancel]
    nth: int
    key: str | None


Step = Command | Wait | Again | Turn

# The waits add up to just the time of a hold, and of a key: the boundaries are met exactly.
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Buy, st.just(""), st.just(EVENT), QUANTITIES, st.booleans(), st.sampled_from([None, "票\n"]), KEYS),
    st.builds(
        *(Hold, st.just(""), st.just(EVENT), QUANTITIES, st.sampled_from([1.0, 2.0, 4.0, KEY_S])),
        *(st.booleans(), st.none(), KEYS),
    ),
    st.builds(Turn, st.just(Confirm), NTH, KEYS),
    st.builds(Turn, st.just(Cancel), NTH, KEYS),
    st.builds(Resize, st.just(EVENT), st.integers(0, CAPACITY_MAX), KEYS),
    st.just(Sweep(EVENT)),
    st.builds(Again, NTH),
    st.builds(Wait, st.sampled_from([0.5, 1.0, 1.0, 2.0, KEY_S, KEY_S + 1])),
)


def commands(steps: list[Step], serial: Iterator[int]) -> Iterator[Command | Wait]:
    """Yield the commands of a script, each with an order of its own, and the waits between them."""
    keyed: list[Command] = []
    orders: list[str] = []
    for step in steps:
        if isinstance(step, Wait):
            yield step
            continue
        command = _command(step, keyed, orders)
        if isinstance(command, Buy | Hold):
            command = replace(command, order=order_id(EVENT, f"{next(serial):024x}"))
            orders.insert(0, command.order)
        if command.key and not isinstance(step, Again):
            command = replace(command, key=key_of(EVENT, command.key))
            keyed.insert(0, command)
        yield command


def _command(step: Command | Again | Turn, keyed: list[Command], orders: list[str]) -> Command:
    match step:
        case Again(nth):
            return keyed[nth % len(keyed)] if keyed else Sweep(EVENT)
        case Turn(kind, nth, key):
            # There may be no order yet: one that nobody knows.
            return kind(orders[nth % len(orders)] if orders else order_id(EVENT, "f" * 24), EVENT, key)
    return step
