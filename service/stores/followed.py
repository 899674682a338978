"""The events that a worker follows, and how each of them stands."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from service.stores.following import Following

if TYPE_CHECKING:
    from service.stores.document import Checkpoint

FOLLOWED_MAX = 10_000
"""Most events of which a worker knows how they stand. Those that it has not been asked for longest are read again."""


class Followed(OrderedDict[str, Following]):
    """What is known of events, by their names; last the one that was asked for last."""

    def __init__(self) -> None:
        super().__init__()
        self._making = threading.Lock()

    def known(self, name: str) -> Following | None:
        """Return what is known of an event."""
        with self._making:
            if known := self.get(name):
                self.move_to_end(name)  # else one that is always up to date is let go in the midst of a batch
        return known

    def of(self, name: str, descriptor: int, believed: Checkpoint | None) -> Following:
        """Return what is known of an event with the journal that is open there, and at least how that begins."""
        with self._making:
            known = self.get(name)
            if known is None or known.file != os.fstat(descriptor).st_ino:
                known = self[name] = Following(descriptor, believed)
            self.move_to_end(name)
            if len(self) > FOLLOWED_MAX:
                self.popitem(last=False)
            return known

    def take_back(self, name: str) -> None:
        """Let an event stand as before what was expected of it, of which certainly nothing is there."""
        if (known := self.get(name)) and known.expected:
            with known.lock:
                known.take_back()

    def forget(self, name: str) -> None:
        """Read again from its first line how an event stands."""
        self.pop(name, None)
