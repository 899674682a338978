"""The schedule of faults: which ones, in which order and how far apart, as a pure function of a list and a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal, get_args

from loadtest.mishaps import RECOVERY_S, WATCHED_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from loadtest.mishaps import Name

Kind = Literal["kill", "pause", "stop", "restart", "full-disk", "slow-disk"]
"""As they are asked for."""
KINDS: tuple[Kind, ...] = get_args(Kind)

MEANT: dict[Kind, tuple[Name, ...]] = {
    "kill": ("killed worker", "killed holder"),
    "pause": ("paused holder",),
    "stop": ("killed service",),
    "restart": ("restarted service",),
    "full-disk": ("full disk",),
    "slow-disk": ("slow disk",),
}
"""What is done for each. Of several hosts one is killed as a whole, so there are no workers to be killed by chance."""

LEAD_S = (0.5, 1.5)
"""How long all goes well before each of them."""
ENDING: frozenset[Kind] = frozenset({"kill", "stop", "restart"})
"""What ends processes of the service."""
ROUGH_SHARE = 1 / 3
"""Where faults come again until the end, they end processes in this part of the scene only: what grows in a process is
seen if it lives long enough."""
CALM_SHARE = 0.05
"""Afterwards this part of the scene is calm before each."""
PAUSE_S, PAUSE_S_MAX = RECOVERY_S + WATCHED_S, 10.0
"""How long a holder is left stopped: longer than any lease that a mode here takes, and then some. Longer where nobody
is served then, who may be behind several of its requests in a line, and each of them has to be given up."""
DISK_S = 3.0
"""How long a disk is full, or slow."""
HUNT_S = 20.0
"""How long it may take to find the holder."""
START_S, END_S = 10.0, 20.0
"""How long a service may take to start, and to end in order, so that the scene is long enough for it."""

LASTS_S: dict[Name, float] = {
    "killed worker": 0.0,
    "killed holder": HUNT_S + START_S,  # where nobody is served after it, the service is started again
    "paused holder": HUNT_S + PAUSE_S_MAX,
    "killed service": START_S,
    "restarted service": END_S + START_S,
    "full disk": DISK_S,
    "slow disk": DISK_S + START_S,
}
"""How long each may take until others are free to recover."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, and how long all goes well before it."""

    mishap: Name
    lead_s: float


def steps(kinds: Sequence[Kind], seed: int | str, hosts: int = 1) -> tuple[Step, ...]:
    """Return the faults in the order in which they are made. The same seed makes the same order and leads."""
    chance = random.Random(f"{seed}/faults")  # noqa: S311  # repeatable, not secret
    shuffled = chance.sample(kinds, len(kinds))
    return tuple(Step(name, chance.uniform(*LEAD_S)) for kind in shuffled for name in _meant(kind, hosts))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a scene: its faults, and until when they are begun, if it does not end with them."""

    steps: Iterable[Step]
    until_s: float = math.inf


def until_the_end(kinds: Sequence[Kind], seed: int, hosts: int, seconds: float) -> tuple[Part, Part]:
    """Return the two parts of a scene in which faults come again and again; in the second nothing is ended."""
    rest = [kind for kind in kinds if kind not in ENDING]
    return (
        Part(_again(kinds, f"{seed}/rough", hosts, 0.0), ROUGH_SHARE * seconds),
        Part(_again(rest, f"{seed}/calm", hosts, CALM_SHARE * seconds), seconds),
    )


def _again(kinds: Sequence[Kind], seed: str, hosts: int, calm_s: float) -> Iterator[Step]:
    """Yield the faults again and again, each time in another order."""
    for turn in count() if kinds else ():
        for step in steps(kinds, f"{seed}/{turn}", hosts):
            yield Step(step.mishap, step.lead_s + calm_s)


def needs_s(step: Step) -> float:
    """Return how long it may take until all is seen that follows from a fault."""
    return step.lead_s + LASTS_S[step.mishap] + RECOVERY_S + WATCHED_S


def seconds_max(kinds: Sequence[Kind], hosts: int = 1) -> float:
    """Return how long a scene may have to last for these; it ends when they are over, which is sooner as a rule."""
    names = [name for kind in kinds for name in _meant(kind, hosts)]
    return sum(needs_s(Step(name, LEAD_S[1])) for name in names)


def _meant(kind: Kind, hosts: int) -> tuple[Name, ...]:
    return tuple(name for name in MEANT[kind] if hosts == 1 or name != "killed worker")
