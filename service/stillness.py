"""Standing still, as seen by one who looks regularly.

Who was paused itself, as all processes of a paused machine are, holds nothing against the others: what stood still
meanwhile has all of its time again.
"""

from __future__ import annotations

import time

GAP_S = 5.0
"""Who has not looked for so long has been paused, or had no processor."""


class Looker:
    """Somebody who looks at least once in ``GAP_S``. For one thread."""

    def __init__(self) -> None:
        self._looked = self._awake_since = time.monotonic()

    def look(self) -> None:
        """Be here."""
        now = time.monotonic()
        if now - self._looked > GAP_S:
            self._awake_since = now
        self._looked = now

    def still_s(self, since: float) -> float:
        """Return for how long something has stood still under our eyes that last moved at ``since``."""
        return self._looked - max(since, self._awake_since)


class Pending:
    """What was asked for and has no outcome yet, and since when. For any thread."""

    def __init__(self) -> None:
        self._since: dict[object, float] = {}

    def begin(self, asked: object) -> None:
        """Note that it begins now."""
        self._since[asked] = time.monotonic()

    def over(self, asked: object) -> None:
        """Note that it has its outcome. More than once does not hurt."""
        self._since.pop(asked, None)

    def beginnings(self) -> list[float]:
        """Return since when each has been waited for."""
        return list(self._since.values())  # one step: no other thread adds to it meanwhile
