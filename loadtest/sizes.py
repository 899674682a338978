"""Sizes: how many tickets an event has, where that is changed while it is sold. Pure.

The counts are followed exactly. Ticket numbers are held to the largest capacity that there was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.history import Change


@dataclass(frozen=True, slots=True)
class Sizes:
    """The largest ``capacity``, and each change of it with what it added to the count."""

    capacity: int
    changes: tuple[tuple[Change, int], ...] = ()

    def grown(self, version: int | None = None) -> int:
        """Return how many tickets were added up to ``version`` (``None``: in all)."""
        return sum(more for change, more in self.changes if version is None or change.version <= version)


def sizes(capacity: int, journal: Iterable[Change]) -> Sizes:
    """Return the sizes of an event that began with ``capacity``."""
    largest, now = capacity, capacity
    changes = []
    for change in sorted((row for row in journal if row.status == "resized"), key=lambda row: row.version):
        changes.append((change, change.capacity - now))
        now = change.capacity
        largest = max(largest, now)
    return Sizes(largest, tuple(changes))


def orders(journal: Sequence[Change] | None) -> Sequence[Change] | None:
    """Return the changes of orders alone."""
    resized = any(row.status == "resized" for row in journal or ())
    return [row for row in journal or () if row.status != "resized"] if resized else journal
