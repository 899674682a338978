"""A ticket service in slow motion: clients and workers are generators, and a die decides who takes the next step.

Every ``yield`` is a moment at which somebody else may go on, and the clock counts steps. The same seed gives the same
run, on every version of Python: of the random generator only ``random()`` is used, which is kept the same for ever.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeVar

from loadtest.check import Start, check
from loadtest.history import Change, Operation, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.findings import Anomaly
    from loadtest.history import Kind

Steps = Generator[None]
Some = TypeVar("Some")

CAPACITY = 10
CLIENTS = 4
TURNS = 6
TRIES = 3
LONGEST_RUN = 100_000
STEP_S = 0.1
"""How long a step takes, on everybody's clock."""
TTL_STEPS = 150
"""How long tickets are held."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client gets to read."""

    status: int
    version: int | None = None
    count: int | None = None
    tickets: tuple[int, ...] = ()
    order: str = ""
    problem: str = ""


@dataclass(slots=True)
class Call:
    """A request on its way to a worker of ``process``, and the reply as soon as there is one."""

    kind: Kind
    name: str
    process: int
    quantity: int = 0
    partial: bool = False
    order: str = ""
    key: str = ""
    buyer: str = ""
    reply: Reply | None = None


class Serves(Protocol):
    """A server: all that a client knows of it, and its broom for holds that are old."""

    journal: list[Change]

    def serve(self, call: Call) -> Steps:
        """Answer a call that may change something."""

    def look(self, call: Call) -> Steps:
        """Answer a look."""

    def expire(self) -> Steps:
        """Let a hold end whose time is over."""


@dataclass(slots=True)
class World:
    """The die, the clock, and everybody who has still something to do."""

    chance: Random
    now: int = 0
    tasks: list[Steps] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def luck(self, probability: float) -> bool:
        """Throw the die."""
        return self.chance.random() < probability

    def below(self, bound: int) -> int:
        """Return a number from 0 to ``bound`` - 1."""
        return int(self.chance.random() * bound)

    def one_of(self, things: Sequence[Some]) -> Some:
        """Return one of ``things``."""
        return things[self.below(len(things))]

    def run(self) -> None:
        """Let one after the other take a step until nobody has anything left to do."""
        while self.tasks:
            self.now += 1
            if self.now > LONGEST_RUN:
                raise RuntimeError("somebody waits for ever")
            place = self.below(len(self.tasks))
            if next(self.tasks[place], self) is self:
                del self.tasks[place]


@dataclass(slots=True)
class Client:
    """A client: what it does one after the other, and the orders it may confirm or cancel."""

    world: World
    server: Serves
    number: int
    orders: list[str] = field(default_factory=list)

    def live(self) -> Steps:
        """Ask for one thing after the other; what was not answered is asked for again, with the same key."""
        for turn in range(TURNS):
            wish = self._wish(f"client {self.number} turn {turn}")
            for attempt in range(TRIES):
                call = Call(
                    wish.kind, f"{wish.name} try {attempt + 1}" if attempt else wish.name, self.world.below(2),
                    wish.quantity, wish.partial, wish.order, wish.key, wish.name,
                )  # fmt: skip
                yield from self._ask(call)
                status = call.reply.status if call.reply else 0
                if status < 500 or (status == 503 and self.world.luck(0.5)):
                    break
            yield

    def _wish(self, name: str) -> Call:
        if self.orders and self.world.luck(0.5):
            kinds: tuple[Kind, ...] = ("confirm", "cancel")
            key = f"key of {name}" if self.world.luck(0.5) else ""
            return Call(self.world.one_of(kinds), name, 0, order=self.world.one_of(self.orders), key=key)
        if self.world.luck(0.25):
            return Call("look", name, 0)
        more: tuple[Kind, ...] = ("buy", "hold")
        size = 1 + self.world.below(4)
        return Call(self.world.one_of(more), name, 0, size, self.world.luck(0.2), key=f"key of {name}")

    def _ask(self, call: Call) -> Steps:
        """Send one call, wait for the reply as long as patience lasts, and write down what came of it."""
        called = self.world.now
        self.world.tasks.append(self.server.look(call) if call.kind == "look" else self.server.serve(call))
        patience = self.world.below(12) if self.world.luck(0.25) else LONGEST_RUN
        yield
        while call.reply is None and patience:
            patience -= 1
            yield
        # A reply that comes later than this is lost: the worker need not know.
        call.reply = reply = call.reply or Reply(504)
        if reply.status == 201:
            self.orders.append(reply.order)
        self.world.operations.append(
            Operation(
                call.kind, call.name, self.number, at(called), at(called), at(self.world.now),
                outcome(reply.status), reply.status, call.quantity, call.partial, reply.version, reply.count,
                reply.tickets, call.order or reply.order, call.key, f"process {call.process}", reply.problem,
                call.buyer, TTL_STEPS * STEP_S if call.kind == "hold" else 0.0,
            )
        )  # fmt: skip


def at(step: int) -> int:
    """Return the moment of a step in nanoseconds."""
    return int(step * STEP_S * 1e9)


def broom(server: Serves) -> Steps:
    """Let holds expire from time to time."""
    for _ in range(5):
        for _ in range(30):
            yield
        yield from server.expire()


def simulated(make: Callable[[World], Serves], seed: int) -> tuple[list[Operation], list[Change], Operation]:
    """Run the server that ``make`` makes; return the calls, the journal, and a look at the end."""
    world = World(Random(seed))  # a run that can be had again, not a secret
    server = make(world)
    clients = [Client(world, server, number) for number in range(CLIENTS)]
    world.tasks += [client.live() for client in clients] + [broom(server)]
    world.run()
    operations, world.operations = world.operations, []
    world.tasks.append(_last_look(world, server))
    world.run()
    return operations, server.journal, world.operations[0]


def _last_look(world: World, server: Serves) -> Steps:
    call = Call("look", "last", 0)
    called = world.now
    yield from server.look(call)
    reply = call.reply or Reply(504)
    told = (reply.version, reply.count)
    world.operations.append(
        Operation(
            "look", "last", CLIENTS, at(called), at(called), at(world.now + 1), outcome(reply.status), reply.status,
            version=told[0], count=told[1],
        )
    )  # fmt: skip


def found(make: Callable[[World], Serves], seed: int) -> dict[Anomaly, int]:
    """Run a server, check what happened, and return the anomalies."""
    operations, journal, last = simulated(make, seed)
    checked = check(operations, journal, Start(CAPACITY, CAPACITY), last)
    return {finding.anomaly: finding.times for finding in checked.findings}
