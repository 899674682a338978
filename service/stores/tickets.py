"""Which tickets are sold and held, for who only looks: from the journal, as far as it is known to be on disk."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import disk
from service.stores.document import parsed
from service.stores.following import Following
from service.stores.journal import closed_path
from service.stores.stopped import is_stopped, synced
from service.values import TicketMap

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from service.stores.document import Checkpoint

FOLLOWED_MAX = 100
"""Most events whose tickets a worker knows. Those that it was not asked for longest are read again."""


class Tickets:
    """The tickets of all events of a directory. Make it in each worker, after the fork."""

    def __init__(self, *, to_the_end: bool = False) -> None:
        """``to_the_end``: the document may be an old one, so read the journal behind it too."""
        self._to_the_end = to_the_end
        self._one = threading.Lock()
        self._followed: OrderedDict[Path, Following] = OrderedDict()

    def look(self, document: Path, journal: Path, first: int, last: int) -> TicketMap:
        """Return which of the tickets from ``first`` to ``last`` are sold, and which held. Raises ``Damaged``."""
        with self._one:
            known = self._known(document, journal)
            standing = known.standing
            held, tickets = standing.held, range(first, min(last, standing.event.capacity) + 1)
            taken = [ticket for ticket in tickets if ticket not in standing.free]
            return TicketMap(
                standing.event,
                runs(ticket for ticket in taken if ticket not in held),
                runs(ticket for ticket in taken if ticket in held),
            )

    def _known(self, document: Path, journal: Path) -> Following:
        at = parsed(document)
        # Whoever closes a journal may stand, or have died, between the new one and its document: that speaks of the
        # old one then, which has its second name already.
        for path in (journal, closed_path(journal, at.since)):
            with contextlib.suppress(FileNotFoundError):
                known = self._caught_up(journal, path, at)
                if known.standing.since == at.since:
                    return known
        raise Damaged(f"{document.name} is not of the journal beside it")

    def _caught_up(self, journal: Path, path: Path, at: Checkpoint) -> Following:
        descriptor = disk.private(path, os.O_RDONLY)
        try:
            known = self._followed.get(journal)
            if known is None or known.file != os.fstat(descriptor).st_ino:
                known = Following(descriptor)
            if known.standing.since == at.since:
                to_the_end = self._to_the_end and not is_stopped(journal)
                known.catch_up(descriptor, None if to_the_end else max(at.covered, known.read))
                if to_the_end and known.counted > at.covered:
                    synced(descriptor, journal)  # what is shown is on disk
        finally:
            os.close(descriptor)
        self._followed[journal] = known
        self._followed.move_to_end(journal)
        if len(self._followed) > FOLLOWED_MAX:
            self._followed.popitem(last=False)
        return known


def runs(tickets: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return tickets, lowest first, as runs of ``(first, last)``."""
    found: list[tuple[int, int]] = []
    for ticket in tickets:
        if found and found[-1][1] == ticket - 1:
            found[-1] = found[-1][0], ticket
        else:
            found.append((ticket, ticket))
    return tuple(found)
