"""What a mode is, what it claims, and the ways in which it may fail.

A mode is one way to run ``decide`` on durable state as if each command were alone:

    read the page, decide, write the page, and keep the others out meanwhile.

Two moments matter. ``__init__`` runs before gunicorn forks its workers: a ``multiprocessing.Lock`` must exist by then.
``open()`` runs in each worker after the fork: threads, connections and file descriptors must not exist before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from service.commands import Command
from service.outcomes import NoSuchEvent, NoSuchOrder, Reply
from service.rules import Decision, Page

if TYPE_CHECKING:
    from service.values import Event, Order, TicketMap

Reach = Literal["nowhere", "threads", "processes", "hosts"]
Mishap = Literal["killed holder", "paused holder", "power loss"]
Wait = Literal["does not wait", "polls", "sleeps in the kernel", "queues", "retries"]

Decide = Callable[[Page, Command], Decision]
"""``rules.decide`` with the clock bound, and with the pause of ``think_s`` before it."""

Answer = Callable[[Reply | Exception], None]
"""What is called once with the outcome of a command, in whatever thread has it. It must not raise, nor wait."""

Leave = Callable[[], bool]
"""Leave the queue. True: certainly nothing was done, and nothing will be answered. False: it is too late for that."""

Begin = Callable[[Command, Answer], Leave]
"""Begin a command, and return without its outcome. What is raised is the outcome, and nothing will be answered."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a mode promises. The tables, the web page and the load test's expectation are made from it."""

    reach: Reach
    """How far apart two sellers may stand and still never sell one ticket twice."""
    survives: tuple[Mishap, ...]
    """What may happen to the one inside, with nothing lost and nobody stuck."""
    waits: Wait
    """How the others wait."""
    fair: bool
    """First come, first served."""
    price: str
    """What it costs or leaves undone, in one sentence."""


class Store(Protocol):
    """Where pages are kept, for who looks. How pages are read and written is between a mode and its store."""

    def open(self) -> None:
        """Open what a worker needs, after the fork."""

    def look(self, name: str) -> Event | NoSuchEvent:
        """Return an event as the last completed write left it, without waiting for anyone."""

    def find(self, order: str) -> Order | NoSuchOrder:
        """Return an order by its identifier, without waiting for anyone."""

    def tickets(self, name: str, first: int, last: int) -> TicketMap | NoSuchEvent:
        """Return which tickets of an event are sold and held, from ``first`` to ``last``."""

    def names(self, after: str, limit: int) -> list[str]:
        """Return the names of events behind ``after``, in their order, at most ``limit``."""

    def create(self, name: str, capacity: int) -> bool:
        """Make an event that is called so, and tell whether it was not there before. Raises ``NotWritten``."""

    def overdue(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield each event of which a hold has ended by ``now`` and is not swept, and when the first of them did."""

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        """Return an event's recorded changes with a version above ``after``: JSON lines, in the order of writing."""


class Mode(Protocol):
    """One way to keep the others out."""

    name: str
    claim: Claim

    @property
    def store(self) -> Store:
        """Where its pages are kept."""

    def open(self) -> None:
        """Make what must not exist before the fork."""

    def execute(self, command: Command) -> Reply:
        """Run one command as if it were alone. Raises ``Busy``, ``NotWritten``, ``Damaged`` or ``Unknown``."""


def begin_of(mode: object) -> Begin | None:
    """Return how ``mode`` begins a command without waiting for it. Modes without a queue of orders cannot."""
    begin: Begin | None = getattr(mode, "begin", None)
    return begin


def end_of(mode: Mode) -> Callable[[], None]:
    """Return what is done with the store of ``mode`` when nobody sells from it any more. For most stores, nothing."""
    end: Callable[[], None] = getattr(mode.store, "end", lambda: None)
    return end


class Busy(Exception):
    """The wait for the others ended at its deadline. Certainly nothing was done."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        waited = f" for {wait_s:g} s" if wait_s else ""
        super().__init__(f"the counter was busy{waited}, so the order was not placed")

    def __reduce__(self) -> tuple[type[Busy], tuple[float]]:
        """Let it come out of a pipe as it is: else it would be made of its sentence there."""
        return Busy, (self.wait_s,)


class Conflict(Exception):
    """Somebody else's change came between reading and writing. Certainly nothing was done: decide again."""

    def __init__(self, why: str = "somebody else's change came first") -> None:
        super().__init__(f"{why}, so the order was not placed")


class _Failed(Exception):
    """What a store could not do. ``str`` says what became of the order, and buyers may read it.

    ``why`` is for who runs the service: what an engine or its client said, which may name addresses and accounts.
    """

    def __init__(self, what: str, why: object = "") -> None:
        super().__init__(what)
        self.why = str(why).strip().partition("\n")[0]


class NotWritten(_Failed):
    """The store could not take the change and took back what it had begun. Certainly nothing was done."""


class Damaged(Exception):
    """What was read is not what was written: half a file, a wrong checksum, a version out of order."""


class Unknown(_Failed):
    """Nobody can say whether the order was done: whoever had it in hand died, or stood still."""


def told(error: Exception) -> str:
    """Return all that is known of an error, for a log: what happened, and why."""
    why = error.why if isinstance(error, _Failed) else ""
    return f"{error} ({why})" if why else str(error)
