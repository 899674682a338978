"""A right ticket server for the simulator: lock, read, decide, write, unlock, reply, each a step of its own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from loadtest.history import Change
from tests.counter_simulator import CAPACITY, TTL_STEPS, Reply

if TYPE_CHECKING:
    from loadtest.history import Status
    from tests.counter_simulator import Call, Steps, World

PATIENCE = 60
"""How many times a worker tries to get the lock before it answers 503."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is stored, all in one. An answer is kept under the key of the call, so that it can be given again."""

    version: int = 0
    count: int = CAPACITY
    free: tuple[int, ...] = tuple(range(1, CAPACITY + 1))
    orders: dict[str, tuple[Status, tuple[int, ...]]] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Reply] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The document as it is to be, what to answer, and the line for the journal, if there is one."""

    document: Document
    reply: Reply
    change: Change | None = None


Read = Generator[None, None, Document | None]
TORN = Reply(500, problem="torn-read")
BUSY = Reply(503)


class Server:
    """The right one. A broken one overrides the one step that it gets wrong."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.document: Document | None = Document()
        self.journal: list[Change] = []
        self.held: set[object] = set()

    def serve(self, call: Call) -> Steps:
        """Answer a call that may change something."""
        lock = self.lock_of(call)
        if not (yield from self.locked(lock)):
            self.reply(call, BUSY)
            return
        document = yield from self.read()
        if document is None:
            self.unlock(lock)
            self.reply(call, TORN)
            return
        if self.wants_more(document, call):
            for order in [order for order in document.orders if self.overdue(document, order, call)]:
                ended = self.given_back(document, order, "expired", None)
                yield from self.write(ended)
                document = ended.document
        decision = self.decide(document, call)
        yield
        yield from self.write(decision)
        self.unlock(lock)
        yield
        self.reply(call, decision.reply)

    def look(self, call: Call) -> Steps:
        """Answer a look. It needs no lock: the document is always a whole one."""
        document = yield from self.read()
        self.reply(call, Reply(200, document.version, document.count) if document else TORN)

    def expire(self) -> Steps:
        """Let a hold end whose time is over."""
        lock = self.lock_of(None)
        if not (yield from self.locked(lock)):
            return
        document = yield from self.read()
        over = [order for order in document.orders if self.overdue(document, order)] if document else []
        if document and over:
            yield from self.write(self.given_back(document, over[0], "expired", None))
        self.unlock(lock)

    def overdue(self, document: Document, order: str, call: Call | None = None) -> bool:  # noqa: ARG002  # see above
        """Tell whether an order is a hold whose time is over; ``call`` asks for it, or the broom."""
        status, _ = document.orders.get(order, ("", ()))
        return status == "held" and document.ends[order] <= self.world.now

    def lock_of(self, call: Call | None) -> object:  # noqa: ARG002  # a broken server's lock depends on it
        """Return which lock keeps others out."""
        return "the lock"

    def locked(self, lock: object) -> Generator[None, None, bool]:
        """Take a lock; tell whether it was got in time."""
        for _ in range(PATIENCE):
            if lock not in self.held:
                self.held.add(lock)
                yield
                return True
            yield
        return False

    def unlock(self, lock: object) -> None:
        """Give a lock free."""
        self.held.discard(lock)

    def read(self) -> Read:
        """Return the document, or ``None`` for half of one."""
        yield
        return self.document

    def write(self, decision: Decision) -> Steps:
        """Store a decision: the line to the journal and the whole document, at one moment."""
        yield
        self.store(decision)

    def store(self, decision: Decision) -> None:
        """Do so now."""
        if decision.change:
            self.journal.append(decision.change)
        self.document = decision.document

    @staticmethod
    def reply(call: Call, reply: Reply) -> None:
        """Send the reply, if the client is still there."""
        call.reply = call.reply or reply

    def decide(self, document: Document, call: Call) -> Decision:
        """Return what comes of a call. What was answered before is answered again."""
        for question in self.questions(call, document):
            if question in document.answers:
                return Decision(document, document.answers[question])
        if call.kind in {"buy", "hold"}:
            decision = self.taken(document, call)
        elif self.overdue(document, call.order, call):
            ended = self.given_back(document, call.order, "expired", None)
            decision = replace(ended, reply=self.refusal(ended.document, call))
        elif self.may_follow(call, document):
            status: Status = "sold" if call.kind == "confirm" else "cancelled"
            decision = self.given_back(document, call.order, status, call)
        else:
            decision = Decision(document, self.refusal(document, call))
        done = decision.reply.status < HTTPStatus.BAD_REQUEST
        questions = [each for each in self.questions(call, decision.document) if done or each == call.key]
        kept = decision.document.answers | dict.fromkeys(questions, decision.reply)
        return replace(decision, document=replace(decision.document, answers=kept))

    def questions(self, call: Call, document: Document) -> list[str]:
        """Return under what an answer is kept: the key, and what an order has become."""
        status, _ = document.orders.get(call.order, ("", ()))
        became = (call.kind, status) in {("confirm", "sold"), ("cancel", "cancelled")}
        return [question for question in (call.key, f"{call.kind} {call.order}" if became else "") if question]

    @staticmethod
    def refusal(document: Document, call: Call) -> Reply:
        """Return the refusal to confirm or to cancel, with its reason."""
        status, _ = document.orders.get(call.order, ("", ()))
        problem = {"expired": "hold-expired", "cancelled": "order-cancelled"}.get(status, "")
        return Reply(409 if status else 404, document.version, document.count, problem=problem)

    def may_follow(self, call: Call, document: Document) -> bool:
        """Tell whether an order can still be confirmed or cancelled."""
        status, _ = document.orders.get(call.order, ("", ()))
        return status == "held" or (status, call.kind) == ("sold", "cancel")

    def wants_more(self, document: Document, call: Call) -> bool:
        """Tell whether more is asked for than is left, and nothing was answered to that yet."""
        return call.quantity > document.count and call.key not in document.answers

    def enough(self, document: Document, quantity: int) -> bool:
        """Tell whether so many tickets are left."""
        return quantity <= document.count

    def numbers(self, document: Document, quantity: int) -> tuple[int, ...]:
        """Return which tickets to give away."""
        beyond = range(CAPACITY + 1, CAPACITY + 1 + quantity)
        return (*document.free, *beyond)[:quantity]

    def next_version(self, document: Document, call: Call | None) -> int:  # noqa: ARG002  # a broken one needs it
        """Return the version that a change makes."""
        return document.version + 1

    def taken(self, document: Document, call: Call) -> Decision:
        """Sell or hold tickets, or refuse."""
        quantity = min(call.quantity, document.count) if call.partial else call.quantity
        if quantity < 1 or not self.enough(document, quantity):
            return Decision(document, Reply(409, document.version, document.count))
        tickets = self.numbers(document, quantity)
        version, count, order = self.next_version(document, call), document.count - quantity, f"order of {call.name}"
        status: Status = "sold" if call.kind == "buy" else "held"
        after = replace(
            document,
            version=version,
            count=count,
            free=tuple(ticket for ticket in document.free if ticket not in tickets),
            orders=document.orders | {order: (status, tickets)},
            ends=document.ends | {order: self.world.now + TTL_STEPS},
        )
        change = Change(version, order, call.buyer or call.name, tickets, count, status)
        return Decision(after, Reply(201, version, count, tickets, order), change)

    def given_back(self, document: Document, order: str, status: Status, call: Call | None) -> Decision:
        """Confirm, cancel, or let expire."""
        _, tickets = document.orders[order]
        back = () if status == "sold" else tickets
        version, count = self.next_version(document, call), document.count + len(back)
        after = replace(
            document,
            version=version,
            count=count,
            free=tuple(sorted((*document.free, *back))),
            orders=document.orders | {order: (status, tickets)},
        )
        change = Change(version, order, "", tickets, count, status)
        return Decision(after, Reply(200, version, count, tickets, order), change)
