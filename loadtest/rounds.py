"""Rounds: each mode once, one after the other, as often as was asked for; and again those of which nothing can be told.

Modes are interleaved: each round begins with another one, so that noise that outlasts a round falls on all alike. Where
everybody buys a few times only, one worker may have answered nearly all by chance, for whoever is awake takes what
comes: such a mode has another round, and is judged by all of them together.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from loadtest import folder
from loadtest.measure import measure
from loadtest.verdict import BUSIEST_SHARE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

AGAIN_MAX = 3
"""So many rounds more, at most."""


def carry_out(
    run: Callable[[int, str, str], None], place: Path, modes: Sequence[str], repeat: int, *, ceiling: bool
) -> None:
    """Call ``run`` with the number of a round, a mode and a title for each slice of the run in ``place``."""
    for number, name in order(modes, repeat, ceiling=ceiling):
        run(number, name, f"{name} ({number}/{repeat})" if repeat > 1 else name)
    for more in range(1, AGAIN_MAX + 1):
        again = [name for name in modes if _was_for_one_worker(place, name)]
        if not again:
            return
        for _, name in order(again, 1, ceiling=ceiling):
            run(repeat + more, name, f"{name} (again: one worker had answered nearly all)")


def order(modes: Sequence[str], repeat: int, *, ceiling: bool) -> Iterator[tuple[int, str]]:
    """Yield what to run, as (round, mode): each round all modes and the ceiling, rotated by one each time."""
    names = [*([folder.CEILING] if ceiling else []), *modes]
    for number in range(repeat):
        turn = number % len(names)
        yield from ((number + 1, name) for name in names[turn:] + names[:turn])


def _was_for_one_worker(place: Path, mode: str) -> bool:
    homes = [home for home in place.glob(f"round-*/{mode}") if json.loads((home / "plan.json").read_text())["orders"]]
    recorded = [folder.load_slice(home) for home in homes]
    slices = [each.slice for each in recorded if not each.failure]
    if len(slices) != len(homes) or not slices:
        return False
    measured = measure(slices)
    return measured.workers > 1 and measured.busiest_share > BUSIEST_SHARE_MAX
