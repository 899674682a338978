"""Servers that are broken on purpose: each gets one step wrong, as real ones did, and the check must find it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.counter_simulator import CAPACITY, TTL_STEPS, Reply
from tests.ticket_server import BUSY, PATIENCE, Decision, Document, Server

if TYPE_CHECKING:
    from collections.abc import Generator

    from loadtest.history import Status
    from tests.counter_simulator import Call, Steps, World


class NoLock(Server):
    """Nobody keeps anybody out."""

    def locked(self, lock: object) -> Generator[None, None, bool]:  # noqa: ARG002  # there is none
        yield
        return True


class LockAfterRead(Server):
    """The lock is taken when the document has been read already."""

    def serve(self, call: Call) -> Steps:
        document = yield from self.read()
        lock = self.lock_of(call)
        if not document or not (yield from self.locked(lock)):
            self.reply(call, BUSY)
            return
        decision = self.decide(document, call)
        yield from self.write(decision)
        self.unlock(lock)
        self.reply(call, decision.reply)


class LockPerProcess(Server):
    """Each process has a lock of its own, and there are two processes."""

    def lock_of(self, call: Call | None) -> object:
        return call.process if call else 0


class ReleasedBeforeWrite(Server):
    """The lock is given back before the document is written."""

    def write(self, decision: Decision) -> Steps:
        super().unlock(self.lock_of(None))
        yield
        yield from super().write(decision)

    def unlock(self, lock: object) -> None:
        """Do nothing: it was given back already."""


class HalfWritten(Server):
    """The document is written in place, so that a reader without the lock may find half of it."""

    def write(self, decision: Decision) -> Steps:
        self.document = None
        yield
        yield from super().write(decision)


class CachedLook(Server):
    """Looks are answered from a cache that is filled again at every third look only."""

    cache = Document()
    looks = 0

    def look(self, call: Call) -> Steps:
        yield
        if self.looks % 3 == 0:
            self.cache = self.document or self.cache
        self.looks += 1
        self.reply(call, Reply(200, self.cache.version, self.cache.count))


class TwiceOnRetry(Server):
    """The key is ignored: who asks again, because the reply was lost, buys again."""

    def questions(self, call: Call, document: Document) -> list[str]:
        return super().questions(replace(call, key=""), document)


class RetryRefused(Server):
    """The attempt is part of what is compared, so who asks again with a key is told that it was used for another."""

    def decide(self, document: Document, call: Call) -> Decision:
        if call.key in document.answers and call.name != call.buyer:
            return Decision(document, Reply(422, document.version, document.count, problem="key-reused"))
        return super().decide(document, call)


class StaleSoldOut(Server):
    """Once somebody was refused, others are refused from memory, though tickets have come back since."""

    memory: tuple[int, Reply] | None = None

    def serve(self, call: Call) -> Steps:
        if self.memory and call.quantity >= self.memory[0] and not call.partial:
            yield
            self.reply(call, self.memory[1])
            return
        yield from super().serve(call)
        if call.quantity and call.reply and call.reply.status == 409 and not call.partial:
            self.memory = (call.quantity, call.reply)


class LockFileDeleted(Server):
    """The lock file is deleted now and then: who comes next makes a new one, and two are inside."""

    file = 0

    def lock_of(self, call: Call | None) -> object:  # noqa: ARG002  # the same for all
        self.file += self.world.luck(0.2)
        return self.file


class VersionNotRaised(Server):
    """One change in ten leaves the version as it was."""

    def next_version(self, document: Document, call: Call | None) -> int:
        return document.version if self.world.luck(0.1) else super().next_version(document, call)


class ReplyBeforeCommit(Server):
    """The reply is sent before the write, and one worker in ten dies between the two."""

    def decide(self, document: Document, call: Call) -> Decision:
        decision = super().decide(document, call)
        self.reply(call, decision.reply)
        return decision

    def write(self, decision: Decision) -> Steps:
        yield
        if self.world.luck(0.9):
            yield from super().write(decision)


class StaleLease(Server):
    """The lock is lent for a time. One holder in ten is stopped for longer, and then writes what it had decided."""

    def write(self, decision: Decision) -> Steps:
        if self.world.luck(0.1):
            self.held.clear()
            for _ in range(PATIENCE):
                yield
        yield from super().write(decision)


class LastOneRefused(Server):
    """Who asks for exactly what is left is told that it is not enough."""

    def enough(self, document: Document, quantity: int) -> bool:
        return quantity < document.count


class BusyAfterAll(Server):
    """One call in ten is answered 503 although it was done: the time limit is looked at too late."""

    def serve(self, call: Call) -> Steps:
        inner = replace(call)
        yield from super().serve(inner)
        if inner.reply:
            self.reply(call, BUSY if self.world.luck(0.1) else inner.reply)


class SellsOnCredit(Server):
    """Nobody looks whether enough tickets are left."""

    def enough(self, document: Document, quantity: int) -> bool:  # noqa: ARG002  # that is the fault
        return True


class LineForgotten(Server):
    """One refused call in five changes the count all the same, and no line of the journal says so."""

    def decide(self, document: Document, call: Call) -> Decision:
        decision = super().decide(document, call)
        if decision.reply.status == 409 and self.world.luck(0.2):
            stray = replace(decision.document, version=document.version + 1, count=document.count + 1)
            return replace(decision, document=stray)
        return decision


class VersionsInBlocks(Server):
    """Each process takes two versions at a time from a sequence, as a database's cached sequence gives them out."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.blocks: dict[int, list[int]] = {0: [], 1: []}
        self.given = 0

    def next_version(self, document: Document, call: Call | None) -> int:  # noqa: ARG002  # not its successor
        block = self.blocks[call.process if call else 0]
        if not block:
            block += [self.given + 1, self.given + 2]
            self.given += 2
        return block.pop(0)


class NumbersByCount(Server):
    """Tickets are numbered by how many are sold, which is wrong as soon as one is given back."""

    def numbers(self, document: Document, quantity: int) -> tuple[int, ...]:
        sold = CAPACITY - document.count
        return tuple(range(sold + 1, sold + 1 + quantity))


class ExpiredConfirmed(Server):
    """A hold is confirmed although it has expired."""

    def may_follow(self, call: Call, document: Document) -> bool:
        status, _ = document.orders.get(call.order, ("", ()))
        return (status, call.kind) == ("expired", "confirm") or super().may_follow(call, document)


class CancelledTwice(Server):
    """An order that is cancelled again gives its tickets back again."""

    def questions(self, call: Call, document: Document) -> list[str]:
        return [] if call.kind == "cancel" else super().questions(call, document)

    def may_follow(self, call: Call, document: Document) -> bool:
        status, _ = document.orders.get(call.order, ("", ()))
        return (status, call.kind) == ("cancelled", "cancel") or super().may_follow(call, document)


class TicketKept(Server):
    """Who gives back two tickets or more gets them counted as one less."""

    def given_back(self, document: Document, order: str, status: Status, call: Call | None) -> Decision:
        decision = super().given_back(document, order, status, call)
        if status == "sold" or decision.change is None or len(decision.change.tickets) < 2:
            return decision
        count = decision.document.count - 1
        return Decision(
            replace(decision.document, count=count),
            replace(decision.reply, count=count),
            replace(decision.change, count=count),
        )


class OtherAnswer(Server):
    """Who asks again with the same key is told of the order as it was, and of the event as it is now."""

    def decide(self, document: Document, call: Call) -> Decision:
        decision = super().decide(document, call)
        if call.key in document.answers:
            now = replace(decision.reply, version=document.version, count=document.count)
            return replace(decision, reply=now)
        return decision


class LateConfirmed(Server):
    """A hold is confirmed after its time, as long as the broom has not come by."""

    def overdue(self, document: Document, order: str, call: Call | None = None) -> bool:
        return call is None and super().overdue(document, order)


class LeftToTheBroom(Server):
    """Tickets of holds that have ended are sold again only when the broom has come by."""

    def wants_more(self, document: Document, call: Call) -> bool:  # noqa: ARG002  # that is the fault
        return False


class ConfirmedFromMemory(Server):
    """Who was told once that an order is confirmed is told so again, though it was cancelled since."""

    def questions(self, call: Call, document: Document) -> list[str]:
        questions, memory = super().questions(call, document), f"confirm {call.order}"
        return questions if call.kind != "confirm" or memory in questions else [*questions, memory]


class SweptTooEarly(Server):
    """The broom ends a hold when a third of its time is over."""

    def overdue(self, document: Document, order: str, call: Call | None = None) -> bool:
        status, _ = document.orders.get(order, ("", ()))
        early = status == "held" and document.ends[order] - 2 * TTL_STEPS // 3 <= self.world.now
        return early if call is None else super().overdue(document, order, call)


class BothWin(Server):
    """The broom looks for a hold before it has the lock, and ends it though it has been confirmed meanwhile."""

    def expire(self) -> Steps:
        before = yield from self.read()
        over = [order for order in before.orders if self.nearly_over(before, order)] if before else []
        lock = self.lock_of(None)
        if not (yield from self.locked(lock)):
            return
        document = yield from self.read()
        if document and over:
            yield from self.write(self.given_back(document, over[0], "expired", None))
        self.unlock(lock)

    def nearly_over(self, document: Document, order: str) -> bool:
        """Tell whether a hold will be over by the time that the lock can be had."""
        status, _ = document.orders[order]
        return status == "held" and document.ends[order] <= self.world.now + PATIENCE


class HeldSold(Server):
    """Tickets that are only held are sold to others."""

    def numbers(self, document: Document, quantity: int) -> tuple[int, ...]:
        held = [ticket for status, tickets in document.orders.values() if status == "held" for ticket in tickets]
        return (*held, *super().numbers(document, quantity))[:quantity]


class NumberKept(Server):
    """A cancelled ticket is counted as free, but its number is kept, so that a new one must be made up."""

    def given_back(self, document: Document, order: str, status: Status, call: Call | None) -> Decision:
        decision = super().given_back(document, order, status, call)
        if status != "cancelled":
            return decision
        return replace(decision, document=replace(decision.document, free=document.free))


class LiveRefused(Server):
    """One confirmation in three is refused as too late, although the hold is live."""

    def decide(self, document: Document, call: Call) -> Decision:
        status, _ = document.orders.get(call.order, ("", ()))
        if call.kind == "confirm" and status == "held" and self.world.luck(0.3):
            return Decision(document, Reply(409, document.version, document.count, problem="hold-expired"))
        return super().decide(document, call)
