"""A journal that is followed: read once, and then only what is new.

Whoever is inside knows by it how the event stands. A line that does not follow from those before it was written by
someone whom nobody kept out, or who came too late: it changes nothing, for anybody.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import fencing
from service.stores.document import Checkpoint
from service.stores.fencing import START, DoesNotFollow
from service.stores.lines import CARRIED
from service.stores.standing import begun
from service.values import Order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.rules import Page, Used
    from service.stores.standing import Before
    from service.values import Change

PIECE_BYTES = 1 << 20
HALF_LINE_TRIES, HALF_LINE_S = 20, 0.001
"""How often, and how long, half a line is waited for, until its writer is taken to be dead."""


class Following:
    """What is known of the journal of an event, by a worker."""

    def __init__(self, descriptor: int, believed: Checkpoint | None = None) -> None:
        """Begin with the first line of an open journal. Raises ``Damaged``.

        A start that did not read this journal believed its document: whoever reads it first finds out.
        """
        self.file = os.fstat(descriptor).st_ino
        self.lock = threading.Lock()
        """For modes that let several threads inside."""
        line, end, _ = _text(descriptor, 0).partition(b"\n")
        self.standing = begun(line + end)
        self.place, _ = fencing.after(START, line + end)
        self.read = self.counted = len(line) + 1
        """Where the last whole line ends, and the last one that counts."""
        self.began = self.read
        """Where what the journal began with ends."""
        self.expected = False
        """Something was decided that is not written yet: it stands in ``standing`` already, and in these."""
        self.orders: dict[str, Order] = {}
        self.used: dict[str, Used] = {}
        self._undo: list[tuple[Change, Before]] = []
        if believed and believed.since == self.standing.since:
            self.catch_up(descriptor, believed.covered)
            if self.standing.event != believed.event:
                # What lines that do not follow are passed over for, as if their writer had come late, was acknowledged.
                raise Damaged(
                    f"the first {believed.covered} bytes of the journal of {believed.event.name} do not give what its "
                    f"document says: stop the service and verify the store"
                )

    def catch_up(self, descriptor: int, end: int | None = None) -> None:
        """Read the whole lines that are new, as far as ``end``. Raises ``Damaged`` where one is damaged."""
        while piece := os.pread(descriptor, PIECE_BYTES if end is None else end - self.read, self.read):
            whole = piece.rfind(b"\n") + 1
            if not whole:
                break
            for part in piece[:whole].split(b"\n")[:-1]:
                self._line(part + b"\n")

    def catch_up_to_the_end(self, descriptor: int) -> int:
        """Read what is new, and return how long the journal is: longer than what was read if half a line is left there.

        Where nobody is kept out, somebody may be writing that line at this moment, and gets the time for it.
        """
        for _ in range(HALF_LINE_TRIES):
            size = os.fstat(descriptor).st_size
            self.catch_up(descriptor, max(size, self.read))
            if self.read >= size:
                break
            time.sleep(HALF_LINE_S)
        return size

    def checkpoint(self) -> Checkpoint:
        """Return what the document is to say."""
        standing = self.standing
        return Checkpoint(standing.event, standing.since, self.read, standing.ends)

    def expect(self, page: Page) -> None:
        """Go on by what was decided, before it is written: the next one of its batch finds it."""
        self.expected = True
        for change in page.changes:
            before = self.standing.before(change)
            self.standing.change(change)
            self._undo.append((change, before))
            if isinstance(change, Order):
                self.orders[change.id] = change
        if page.used:
            self.used[page.used.key] = page.used

    def take_back(self) -> None:
        """Stand as before what was expected, of which certainly nothing is there. The journal is not read for that."""
        for change, before in reversed(self._undo):
            self.standing.undo(change, before)
        self._nothing_expected()

    def wrote(self, start: int, lines: bytes, pages: Sequence[Page]) -> None:
        """Go on by lines of one's own, which stand from ``start`` on, unless others came before them."""
        if self.read != start:
            if self.expected:  # what stands here is not what stands there: to be read anew
                self.file, self.expected = 0, False
            return
        if not self.expected:
            try:
                for change in [change for page in pages for change in page.changes]:
                    self.standing.change(change)
            except DoesNotFollow:  # nobody kept others out: to be read as it stands there
                return
        self._nothing_expected()
        self.read = self.counted = start + len(lines)
        self.place = fencing.Place(self.standing.event.version, self.place.fence)

    def _nothing_expected(self) -> None:
        self.expected = False
        self.orders.clear()
        self.used.clear()
        self._undo.clear()

    def _line(self, line: bytes) -> None:
        try:
            place, change = fencing.after(self.place, line)
        except Damaged as error:
            why = f"the journal of {self.standing.event.name} is damaged at byte {self.read}: {error}"
            raise Damaged(f"{why}: stop the service and verify the store") from None
        self.read += len(line)
        if change is None:
            self.place = place
            return
        try:
            self.standing.follow(change)
        except DoesNotFollow:
            return
        self.place = place
        self.counted = self.read
        if change["status"] == CARRIED:
            self.began = self.read


def _text(descriptor: int, start: int) -> bytes:
    """Return what stands from ``start`` on, up to the end of a line at least."""
    text = b""
    while piece := os.pread(descriptor, PIECE_BYTES, start + len(text)):
        text += piece
        if b"\n" in piece:
            break
    return text
