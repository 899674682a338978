"""Try again what came second: for modes that keep nobody out, and find out when they write.

The pause before each try is drawn between nothing and a bound that doubles ("full jitter": Marc Brooker, "Exponential
Backoff and Jitter", AWS Architecture Blog, 2015). With a pause of a fixed length, those who collided once would
collide again.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from service import watch
from service.mode import Busy, Conflict

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
TRIES_MAX = 50
PAUSE_S = 0.001
"""The bound of the first pause."""
PAUSE_S_MAX = 0.1


def again(attempt: Callable[[], T], wait_s: float) -> T:
    """Return what ``attempt`` returns, trying again for ``wait_s`` seconds where it raises ``Conflict``.

    Raises ``Busy`` when the time, or TRIES_MAX, is used up: certainly nothing was done.
    """
    began = time.monotonic()
    deadline = began + wait_s
    bound_s = PAUSE_S
    for _ in range(TRIES_MAX):
        try:
            return attempt()
        except Conflict:
            pause_s = random.uniform(0, bound_s)  # noqa: S311  # nobody gains by guessing it
            if time.monotonic() + pause_s >= deadline:
                break
            watch.here.tried_again()
            time.sleep(pause_s)
            bound_s = min(2 * bound_s, PAUSE_S_MAX)
    raise Busy(round(time.monotonic() - began, 1))
