"""What each event has for itself, such as a lock: made when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Each(dict[str, T]):
    """A dictionary by event that makes what it does not have."""

    def __init__(self, make: Callable[[str], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, event: str) -> T:
        """Make it. Two threads may both do so; ``setdefault`` lets both have the same."""
        return self.setdefault(event, self._make(event))
