"""The free tickets of an event: those that came back, and all from some number on that were never given out."""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import neg
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence


class Free:
    """Numbers from 1 to ``capacity``. The lowest are given out first, so that few come back in the middle."""

    def __init__(self, capacity: int, given: int, runs: Sequence[Sequence[int]] = ()) -> None:
        """All numbers up to ``given`` are taken but for those of ``runs``, ``[first, last]`` each, lowest first."""
        self.capacity = capacity
        self.given = given
        # Highest first: the lowest are at the end, where taking them costs nothing.
        self._returned = [ticket for first, last in reversed(runs) for ticket in range(last, first - 1, -1)]

    def lowest(self, quantity: int) -> tuple[int, ...]:
        """Return the lowest free numbers: ``quantity``, or all where there are fewer."""
        back = self._returned[: -quantity - 1 : -1]
        fresh = range(self.given + 1, min(self.given + quantity - len(back), self.capacity) + 1)
        return (*back, *fresh)

    def __contains__(self, ticket: int) -> bool:
        """Tell whether a number is free."""
        if ticket > self.given:
            return ticket <= self.capacity
        place = self._place(ticket)
        return place < len(self._returned) and self._returned[place] == ticket

    def take(self, tickets: Iterable[int]) -> None:
        """Take numbers that are free."""
        for ticket in tickets:
            if ticket > self.given:
                self._returned[:0] = range(ticket - 1, self.given, -1)
                self.given = ticket
            else:
                del self._returned[self._place(ticket)]

    def untake(self, tickets: Iterable[int], given: int) -> None:
        """Undo what was done last: these were taken, when all numbers above ``given`` had never been given out."""
        if given < self.given:
            del self._returned[: self._place(given)]
            self.given = given
        self.give_back(ticket for ticket in tickets if ticket <= given)

    def give_back(self, tickets: Iterable[int]) -> None:
        """Give back numbers that are taken."""
        for ticket in tickets:
            insort(self._returned, ticket, key=neg)

    def resize(self, capacity: int) -> None:
        """Let there be ``capacity`` numbers; those above are free, if there are any."""
        self.capacity = capacity
        self.given = min(self.given, capacity)
        self._returned = [ticket for ticket in self._returned if ticket <= capacity]

    def unsize(self, capacity: int, given: int) -> None:
        """Undo what was done last: there were ``capacity`` numbers, and those above ``given`` never given out."""
        self._returned[:0] = range(given, self.given, -1)  # whatever went with a lower capacity was free
        self.capacity = capacity
        self.given = given

    def highest(self, but: Container[int] = ()) -> int:
        """Return the highest number that is taken, ``but`` for these; 0 if none is."""
        highest, place = self.given, 0
        while highest:
            if place < len(self._returned) and self._returned[place] == highest:
                place += 1
            elif highest not in but:
                break
            highest -= 1
        return highest

    def runs(self) -> list[list[int]]:
        """Return what came back as runs, ``[first, last]``, lowest first."""
        runs: list[list[int]] = []
        for ticket in reversed(self._returned):
            if runs and runs[-1][1] == ticket - 1:
                runs[-1][1] = ticket
            else:
                runs.append([ticket, ticket])
        return runs

    def _place(self, ticket: int) -> int:
        return bisect_left(self._returned, -ticket, key=neg)
