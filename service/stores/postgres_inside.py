"""A transaction in PostgreSQL, and what its failures mean.

Until COMMIT has been sent, certainly nothing was done. Once it has, it was done if the server says so, and not if it
says that it failed; if the connection ends first, nobody knows.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.commands import Command, Resize, Sweep
from service.mode import Busy, Conflict, NotWritten, Unknown
from service.rules import Page
from service.stores.postgres_link import PAUSED_S, Lost, Refusal
from service.stores.postgres_values import asked, known, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from service.stores.known import Known
    from service.stores.postgres_link import Link, Rows, Step

CAME_SECOND = {"TS001", "40001", "40P01"}
"""Of this project, serialization_failure, deadlock_detected: decide again."""
LOCKED = "55P03"
STAY_S = PAUSED_S / 2
"""A batch that has said nothing for so long says that it is still there."""


class Inside:
    """A transaction on one connection, from its first statement to its end. The lock goes with it."""

    def __init__(self, link: Link, wait_s: float, begin: str, lock: str = "") -> None:
        """``begin`` and ``lock`` name statements; ``lock`` is carried out on the event that is read first."""
        self._link = link
        self._wait_s = wait_s
        self._begin = begin.encode()
        self._lock = lock.encode()
        self._open = False

    def enter(self, event: str) -> None:
        """Wait for the lock of an event. Raises ``Busy`` or ``NotWritten``."""
        self._asked(*self._first(event))

    def read(self, command: Command) -> Page:
        """Return the page that ``command`` touches. Raises ``Busy``, ``Conflict`` or ``NotWritten``."""
        found = self.known([command])
        return found.page(command) if found else Page(None)

    def known(self, commands: Sequence[Command]) -> Known | None:
        """Return what commands of one event touch. Raises as ``read``."""
        first = [] if self._open else self._first(commands[0].event)
        return known(commands, self._asked(*first, (b"page", asked(commands)))[-1])

    def stay(self) -> None:
        """Say that we are still here: the server ends a transaction in which nothing is said for long."""
        self._asked()

    def put(self, pages: Sequence[Page]) -> None:
        """Write pages of one event that follow each other, and stay inside. Raises as ``read``."""
        self._asked(recorded(pages))

    def write(self, *pages: Page) -> None:
        """Write pages, and commit: one round trip. Raises ``Conflict``, ``Busy``, ``NotWritten`` or ``Unknown``."""
        self._last((recorded(pages), (b"commit", [])) if pages else ((b"commit", []),))

    def commit(self) -> None:
        """Commit what was put, or only read: until then, what was read may not have been so. Raises as ``write``."""
        self.write()

    def end(self) -> None:
        """Undo what was not committed, if there is anything."""
        if self._open:
            self._open = False
            try:
                self._link.exchange((b"rollback", []))
            except (Refusal, Lost):
                self._link.close()  # the server undoes it then

    def _first(self, event: str) -> list[Step]:
        self._open = True
        lock: list[Step] = [(self._lock, [event.encode()])] if self._lock else []
        return [(self._begin, []), *lock]

    def _asked(self, *steps: Step) -> Rows:
        try:
            return self._link.exchange(*steps)
        except Refusal as refusal:
            raise refused(refusal, self._wait_s) from None
        except Lost as lost:
            raise not_sent(lost) from lost

    def _last(self, steps: Sequence[Step]) -> None:
        if not self._link.alive():  # it was ended while we decided, and what is not sent is not done
            self._link.close()
            raise not_sent("it ended the transaction, as it does when nothing was said in it for too long")
        try:
            self._link.exchange(*steps)
        except Refusal as refusal:
            raise refused(refusal, self._wait_s) from None
        except Lost as lost:
            raise unknown(lost) from lost
        self._open = False


class Batch:
    """Commands of one event in one transaction, read together: what was decided is expected, and written at the end.

    Where what was read is not enough for a command, what was decided before it is put, and the rest is read anew.
    """

    def __init__(self, inside: Inside, commands: Sequence[Command]) -> None:
        self._inside = inside
        self._left = list(commands)
        self._covered = 0
        """For so many of these was read what is known."""
        self._known: Known | None = None
        self._pages: list[Page] = []
        self._said = 0.0

    def page(self, command: Command) -> Page:
        """Return the page of the next of the commands."""
        if not self._covered or (self._known and not self._known.suffices(command)):
            if self._pages:
                self._inside.put(self._pages)
                self._pages.clear()
            together = _together(self._left)
            self._known, self._covered = self._inside.known(together), len(together)
            self._said = time.monotonic()
        elif time.monotonic() - self._said > STAY_S:  # many who pause before they decide (``think_s``), one by one
            self._inside.stay()
            self._said = time.monotonic()
        self._left.pop(0)
        self._covered -= 1
        return self._known.page(command) if self._known else Page(None)

    def expect(self, page: Page) -> None:
        """Let the next command find what was decided."""
        if self._known:
            self._known.expect(page)
        self._pages.append(page)

    def write_all(self, _pages: Sequence[Page]) -> None:
        """Write what was expected and is not put yet, and commit all of it."""
        self._inside.write(*self._pages)

    def take_back(self, _name: str) -> None:
        """Do nothing: whoever began the transaction ends it."""

    def forget(self, _name: str) -> None:
        """Do nothing, as above."""


class LockedRow:
    """An event's row, locked for one batch after the other: by one thread at a time."""

    def __init__(self, transaction: Callable[..., AbstractContextManager[Inside]], event: str) -> None:
        self._transaction = transaction
        self._event = event
        self._inside: Inside

    @contextmanager
    def turn(self, *, wait: bool) -> Iterator[None]:
        """Have the row locked; if it is not ``wait``, ``Busy`` at once where another has it."""
        lock = "lock_row" if wait else "lock_row_at_once"
        with self._transaction(lock=lock, wait=wait) as self._inside:
            self._inside.enter(self._event)
            yield

    def batch(self, commands: Sequence[Command]) -> Batch:
        """Return what reads and writes ``commands``, while it is one's turn."""
        return Batch(self._inside, commands)


def refused(refusal: Refusal, wait_s: float) -> Exception:
    """Return what to raise when the server said that a statement failed."""
    match refusal.state:
        case state if state in CAME_SECOND:
            return Conflict()
        case state if state == LOCKED:
            return Busy(wait_s)
    return NotWritten("PostgreSQL refused the order, so nothing was done", refusal)


def not_sent(why: object) -> NotWritten:
    """Return what to raise when the connection ended before anything could be done."""
    return NotWritten("the connection to PostgreSQL ended, so nothing was done", why)


def unknown(why: object) -> Unknown:
    """Return what to raise when the connection ended after COMMIT was sent."""
    return Unknown("the connection to PostgreSQL ended while the order was committed", why)


def _together(commands: Sequence[Command]) -> Sequence[Command]:
    """Return the commands that can be read together: of those that look at all tickets, each alone."""
    for place, command in enumerate(commands):
        if isinstance(command, Resize | Sweep):
            return commands[: max(place, 1)]
    return commands
