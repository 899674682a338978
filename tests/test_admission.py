"""The door: a burst is let in, and while many come, no more than are served in a moment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from service.admission import LOOK_S, WAITING_MIN, WAITING_SHARE, Door

THREADS, MOST, WAIT_S = 8, 512, 5.0
LEAST = THREADS + WAITING_MIN


def stormed(door: Door, rate: float, seconds: float, offered: float, inside: float = 0, began: float = 1.0) -> float:
    """Let purchases come and be served evenly; return how many are inside at the end."""
    now, step = began, 0.02
    served = 0.0
    while now < began + seconds:
        came = offered * step
        while came >= 1 and door.lets_in(int(inside)):
            inside, came = inside + 1, came - 1
        served += min(inside, rate * step)
        inside -= min(inside, rate * step)
        while served >= 1:
            door.leaves()
            served -= 1
        now += step
        door.look(now, int(inside))
    return inside


def test_a_burst_is_let_in_up_to_the_most() -> None:
    """Nothing is known yet of how fast it will be served."""
    door = Door(THREADS, MOST, WAIT_S)
    assert sum(door.lets_in(inside) for inside in range(2 * MOST)) == THREADS + MOST


@settings(max_examples=20)
@given(st.floats(100, 2000), st.floats(2, 20))
def test_while_many_come_no_more_wait_than_are_served_in_a_moment(rate: float, times: float) -> None:
    """However fast they are served and however many come; and never so few that the worker has nothing to do."""
    door = Door(THREADS, MOST, WAIT_S)
    inside = stormed(door, rate, 10.0, times * max(rate, 300))
    bound = min(max(LEAST, rate * WAITING_SHARE * WAIT_S), THREADS + MOST)
    assert 0.7 * bound - 3 <= door.inside_max <= 1.3 * bound + 3
    assert inside <= door.inside_max + 1


def test_when_the_storm_is_over_a_burst_is_let_in_again() -> None:
    """As soon as few wait."""
    door = Door(THREADS, MOST, WAIT_S)
    inside = stormed(door, 100.0, 5.0, 1000.0)
    assert door.inside_max < LEAST + 10
    stormed(door, 100.0, LEAST / 100 + 3 * LOOK_S, 0.0, inside, began=10.0)
    assert door.inside_max == THREADS + MOST


@settings(max_examples=20)
@given(st.integers(1, 8), st.integers(0, 100), st.integers(0, 300))
def test_the_bounds_that_were_set_hold_always(threads: int, waiting_max: int, rate: int) -> None:
    """None more than may wait, and a thread for each that has one."""
    door = Door(threads, waiting_max, WAIT_S)
    stormed(door, rate, 3.0, 2000.0)
    assert threads <= door.inside_max <= threads + waiting_max


def test_where_nobody_is_served_a_few_may_wait() -> None:
    """A holder that stands still: they are as many as may wait always, and they have their patience."""
    door = Door(THREADS, MOST, WAIT_S)
    stormed(door, 0.0, 5.0, 1000.0)
    assert door.inside_max == LEAST
