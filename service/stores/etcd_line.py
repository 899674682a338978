"""A line of those who want to change an event: whoever is first in it is alone inside. It is kept in etcd.

A *place* in the line is a key of one's own, created under a lease that a thread of this worker keeps. etcd numbers
all that it does, so the revision that created a key says who came before whom, and one waits for the key right before
one's own to end. Its owner deletes it, with what it writes, or etcd does, when nobody has kept its lease for LEASE_S.

The same revision is the *fence*: what is written is written only if one's place is still there. Whoever was paused for
longer than the lease lasts has lost it, and nothing of theirs is written any more, however late they come.

A place costs no transaction of its own: it is taken with the first look at the page, and left with the write. Alone:
2 round trips an order. Behind others: 4, for the wait and a second look, and 2 more for each time that whoever was
before one left the line without having been inside, or was inside for longer than WATCH_S.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.mode import Busy, Conflict, NotWritten, Unknown
from service.stores.etcd_cluster import EtcdCluster, Seen
from service.stores.etcd_gateway import CHANGE_S, LeaseEnded, created_at, delete, fetch, put, there

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service.commands import Command
    from service.rules import Page
    from service.stores.etcd_gateway import Kept, Op

LEASE_S = 2
"""How long a lease lasts that nobody keeps, in whole seconds; etcd makes it longer where its elections take longer."""
KEEP_S = 0.5
"""How often it is kept."""
WATCH_S = 1.0
"""How long one waits for the one before without looking: a member that is cut off from the others says nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in line: its key, the lease that it is under, and the revision that created it."""

    key: bytes
    lease: int
    created: int


@dataclass(slots=True)
class Turn:
    """To be inside, with the page as it is then, until it is written or left."""

    line: EtcdLine
    place: Place
    page: Seen
    over: bool = False

    def write(self, page: Page) -> None:
        """Write the page and leave, at one moment. Raises ``Conflict`` if the turn was lost before."""
        self.line.write_and_leave(self, page)


class EtcdLine(EtcdCluster):
    """The store while it sells, with a line for each event."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._lease = 0
        self._leasing = threading.Lock()
        self._numbers = itertools.count(1)
        self._keeper: threading.Thread | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """Keep the lease no longer, too."""
        self._closed.set()
        super().close()

    @contextlib.contextmanager
    def turn(self, command: Command, wait_s: float, ends: float = 0.0) -> Iterator[Turn]:
        """Wait in line, and be inside; until ``ends`` at most, where it is not the first place in this order's line.

        Raises ``Busy``, ``NotWritten``, or ``Conflict`` when the place was lost. There is no line for an event that is
        not there: its page says so.
        """
        turn, ahead = self._joined(command)
        try:
            if ahead:
                turn.page = self._waited(turn.place, ahead, command, wait_s, ends or time.monotonic() + wait_s)
            yield turn
        finally:
            if not turn.over:
                self._left(turn.place)

    def write_and_leave(self, turn: Turn, page: Page) -> None:
        """Write a page and leave the line, at one moment. Raises ``Conflict``, ``NotWritten`` or ``Unknown``."""
        place, leaving = turn.place, delete(turn.place.key)
        conditions, steps = self.steps(page, turn.page)
        try:
            outcome = self.gateway.change([_fence(place), *conditions], [*steps, leaving], [leaving])
        except Unknown:
            turn.over = True
            # A place that is still there can be taken away: then what was sent will not be done, whenever it arrives.
            if self._left(place):
                raise NotWritten("etcd did not answer, and the order was called back, so nothing was done") from None
            raise
        turn.over = True
        if not outcome.held:
            raise Conflict("the lease had ended, or another changed the event without standing in line")

    def _joined(self, command: Command) -> tuple[Turn, Sequence[Kept]]:
        """Join the line: return the turn that one will have, and who is right before one, if there is somebody."""
        keys, lease = self.keys, self._leased()
        key = keys.place(command.event, f"{lease:016x}-{next(self._numbers)}")
        steps = [self._last(command.event), put(key, b"", lease), *self.sight(command)]
        try:
            outcome = self.gateway.change([there(keys.event(command.event))], steps)
        except LeaseEnded:
            self._let_go(lease)
            raise Conflict("the lease had ended") from None
        except Unknown as error:
            self._let_go(lease)  # the place may be there, or come yet, and would be waited for as long as it is kept
            raise NotWritten(f"{error}, but that was to stand in line, so nothing was done", error.why) from error
        place = Place(key, lease, outcome.revision)
        if not outcome.held:
            return Turn(self, place, Seen(None, command=command), over=True), ()
        ahead, *found = outcome.found
        try:
            return Turn(self, place, self.seen(command, found)), ahead
        except BaseException:  # else the place would hold up all others for as long as this worker lives
            self._left(place)
            raise

    def _waited(self, place: Place, ahead: Sequence[Kept], command: Command, wait_s: float, ends: float) -> Seen:
        """Wait until nobody is before one, and return the page as it is then."""
        last = self._last(command.event, place.created - 1)
        while ahead:
            left_s = ends - time.monotonic()
            if left_s <= 0:
                raise Busy(wait_s)
            self.gateway.await_end(ahead[0].key, place.created, min(left_s, WATCH_S))
            mine, ahead, *found = self.gateway.look(fetch(place.key), last, *self.sight(command)).found
            if not mine:
                raise Conflict("the lease ended in line")
        return self.seen(command, found)

    def _last(self, event: str, created_max: int = 0) -> Op:
        """Return the step that finds who is last in line; of those who came no later than ``created_max``, if given."""
        start, end = self.keys.line(event)
        return fetch(start, end, 1, sort_target="CREATE", sort_order="DESCEND", max_create_revision=created_max)

    def _left(self, place: Place) -> bool:
        """Leave the line, and tell whether the place was there until now."""
        try:
            return self.gateway.change([_fence(place)], [delete(place.key)]).ended > 0
        except (NotWritten, Unknown):
            self._let_go(place.lease)  # it ends by itself then, and the place with it
            return False

    def _leased(self) -> int:
        """Return the lease of this worker, taken and kept from when it is first needed. Raises ``NotWritten``."""
        # Without an end, all threads would ask one after the other while no majority answers, CHANGE_S each.
        if not self._leasing.acquire(timeout=CHANGE_S):
            raise NotWritten("etcd gives no lease, so nothing was done")
        try:
            if not self._lease:
                try:
                    self._lease = self.gateway.lease(LEASE_S)
                except Unknown as error:
                    raise NotWritten(f"{error}, but that was for a lease, so nothing was done", error.why) from error
            if not self._keeper or not self._keeper.is_alive():
                self._keeper = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)
                self._keeper.start()
            return self._lease
        finally:
            self._leasing.release()

    def _let_go(self, lease: int) -> None:
        """Keep a lease no longer: the next turn takes another. Who stands in line under it has until it ends."""
        if self._lease == lease:  # only ``_leased`` writes another one, and only where there is none
            self._lease = 0

    def _keep(self) -> None:
        while not self._closed.wait(KEEP_S):
            lease = self._lease
            with contextlib.suppress(NotWritten):  # the next time; until it has ended, nothing is lost
                if lease and not self.gateway.keep(lease):
                    self._let_go(lease)


def _fence(place: Place) -> Op:
    """Return the condition that a place is still there."""
    return created_at(place.key, place.created)
