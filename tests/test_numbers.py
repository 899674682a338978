"""The free tickets of an event, against a plain set."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from service.stores.numbers import Free

CAPACITY_MAX = 30
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["lowest", "any", "back", "resize", "again"]), st.integers(0, CAPACITY_MAX)),
    max_size=40,
)


@dataclass
class Taken:
    """The same, as a set of what is taken."""

    capacity: int
    taken: set[int]

    def free(self) -> list[int]:
        return [ticket for ticket in range(1, self.capacity + 1) if ticket not in self.taken]


@settings(max_examples=500)
@given(capacity=st.integers(0, CAPACITY_MAX), actions=ACTIONS)
def test_it_knows_what_is_free_whatever_is_taken_and_comes_back(capacity: int, actions: list[tuple[str, int]]) -> None:
    """The lowest are taken, or any as a journal may say; they come back, the capacity changes; and it is made again
    from what a journal begins with.
    """
    free, model = Free(capacity, 0), Taken(capacity, set())
    for action, number in actions:
        left, taken = model.free(), sorted(model.taken)
        if action == "lowest":
            tickets = free.lowest(number)
            free.take(tickets)
            model.taken |= set(tickets)
        elif action == "any" and left:
            tickets = tuple(left[number % len(left) :: 2])
            free.take(tickets[::-1])
            model.taken |= set(tickets)
        elif action == "back" and taken:
            tickets = tuple(taken[number % len(taken) :: 3])
            free.give_back(tickets)
            model.taken -= set(tickets)
        elif action == "resize" and number >= max(taken, default=0):
            free.resize(number)
            model.capacity = number
        elif action == "again":
            free = Free(model.capacity, free.given, free.runs())
        left = model.free()
        assert [ticket for ticket in range(1, CAPACITY_MAX + 2) if ticket in free] == left
        for quantity in (0, 1, 3, CAPACITY_MAX):
            assert list(free.lowest(quantity)) == left[:quantity]
        assert free.highest() == max(model.taken, default=0)
        assert max(model.taken, default=0) <= free.given <= model.capacity


@given(numbers=st.sets(st.integers(1, CAPACITY_MAX)))
def test_what_came_back_is_told_as_runs(numbers: set[int]) -> None:
    """As few runs as there can be, lowest first, of exactly those numbers that are below one that was given."""
    free = Free(CAPACITY_MAX, CAPACITY_MAX)
    free.give_back(numbers)
    runs = free.runs()
    assert [ticket for first, last in runs for ticket in range(first, last + 1)] == sorted(numbers)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(runs))
