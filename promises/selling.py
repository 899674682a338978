"""What a mode promises of sales: none twice within its reach, and caught beyond it; the same answers as any other mode.

A mode is built once and then shared by threads, or by processes that are forked as gunicorn forks its workers.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter as Tally
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from promises.apart import FORK, PATIENCE_S, run_apart
from promises.counter import buying, decide_now
from promises.suite import Suite, of
from service.commands import Cancel, Confirm, Hold, key_of
from service.outcomes import Cancelled, Confirmed, Held, KeyReused, NoSuchEvent, Reply, Sold, SoldOut
from service.values import Event

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Mode
    from service.rules import Decision, Page

ORDERS_EACH = 12
SELLERS = 4
GATE_S = 1.0
"""How long the one inside waits where no other may come in: a moment, for nobody comes."""


class Selling(Suite):
    """Sales."""

    @pytest.mark.usefixtures("patient")
    @of(lambda suite, name, _: suite.decides(name))
    def test_two_are_inside_at_once_exactly_where_the_claim_ends(self, counter: Any, name: str, distance: str) -> None:
        """Within its reach nobody enters while another is between read and write; beyond it, somebody does, and a
        ticket is sold twice.
        """
        gate = (threading if distance == "threads" else FORK).Barrier(2)
        wait_s = GATE_S if self.reaches(name, distance) else PATIENCE_S

        def decide(page: Page, command: Command) -> Decision:
            # A second one inside opens the gate at once; kept out, it lets the first one go on after ``wait_s``.
            with contextlib.suppress(threading.BrokenBarrierError):
                gate.wait(wait_s)
            return decide_now(page, command)

        mode = counter.build(name, decide)
        replies = run_apart(distance, mode, lambda shared: [shared.execute(buying(2))], sellers=2)
        sold = [reply.order for reply in replies if isinstance(reply, Sold)]
        assert len(sold) == 2
        if self.reaches(name, distance):
            assert sorted(order.version for order in sold) == [1, 2]
            assert not set(sold[0].tickets) & set(sold[1].tickets)
        else:
            assert [order.version for order in sold] == [1, 1]
            assert sold[0].tickets == sold[1].tickets

    @pytest.mark.usefixtures("patient")
    @of(lambda suite, name, distance: suite.reaches(name, distance))
    def test_no_ticket_is_sold_twice_and_none_is_lost_within_reach(
        self, counter: Any, name: str, distance: str
    ) -> None:
        """At full speed: versions 1..n without a gap, tickets distinct, the sum right, and on disk what was told."""
        counter.event("default", 60)
        mode = counter.build(name)

        def work(shared: Mode) -> list[Reply]:
            return [shared.execute(buying(2, partial=True)) for _ in range(ORDERS_EACH)]

        replies = run_apart(distance, mode, work, SELLERS)
        assert len(replies) == SELLERS * ORDERS_EACH
        sold = [reply.order for reply in replies if isinstance(reply, Sold)]
        assert sorted(order.version for order in sold) == list(range(1, len(sold) + 1))
        assert Tally(ticket for order in sold for ticket in order.tickets) == Tally(range(1, 61))
        again = counter.opened(name)
        event = again.store.look("default")
        assert not isinstance(event, NoSuchEvent)
        assert (event.count, event.version) == (0, len(sold))
        assert [again.store.find(order.id) for order in sold] == sold

    def test_alone_every_mode_gives_the_same_answers(self, counter: Any, name: str) -> None:
        """With nobody else about, modes cannot be told apart: same tickets, counts, versions and refusals."""
        mode = counter.opened(name)
        first = mode.execute(buying(3, buyer='a "quoted" buyer, 票'))
        assert isinstance(first, Sold)
        assert (first.order.tickets, first.order.count, first.order.version) == ((1, 2, 3), 7, 1)
        assert isinstance(mode.execute(buying(8)), SoldOut)
        rest = mode.execute(buying(8, partial=True))
        assert isinstance(rest, Sold)
        assert (rest.order.tickets, rest.order.count, rest.order.version) == (tuple(range(4, 11)), 0, 2)
        assert isinstance(mode.execute(buying(1, partial=True)), SoldOut)
        assert mode.execute(buying(1, event="elsewhere")) == NoSuchEvent("elsewhere")
        assert mode.store.find(first.order.id) == first.order

    def test_who_asks_again_with_a_key_gets_the_first_answer(self, counter: Any, name: str) -> None:
        """Done, or refused: a mode that writes only what was sold forgets what it refused."""
        mode = counter.opened(name)
        asked = [replace(buying(4), key=key_of("default", "a")), replace(buying(7), key=key_of("default", "b"))]
        first = [mode.execute(command) for command in asked]
        assert [type(reply) for reply in first] == [Sold, SoldOut]
        assert isinstance(mode.execute(Cancel(asked[0].order, "default")), Cancelled)
        assert [mode.execute(replace(command, order=buying().order)) for command in asked] == first
        again = counter.opened(name)
        assert [again.execute(replace(command, order=buying().order)) for command in asked] == first
        assert isinstance(again.execute(replace(buying(5), key=key_of("default", "b"))), KeyReused)
        assert again.store.look("default") == Event("default", 10, 10, 2)

    def test_a_hold_is_confirmed_and_cancelled(self, counter: Any, name: str) -> None:
        """Each is a change of its own, which the next start knows."""
        mode = counter.opened(name)
        held = mode.execute(Hold(buying().order, "default", 3, 60.0))
        assert isinstance(held, Held)
        confirmed = mode.execute(Confirm(held.order.id, "default"))
        assert isinstance(confirmed, Confirmed)
        assert mode.store.find(held.order.id) == confirmed.order
        again = counter.opened(name)
        assert isinstance(again.execute(Cancel(held.order.id, "default")), Cancelled)
        assert again.store.look("default") == Event("default", 10, 10, 3)

    @of(lambda suite, name, _: suite.on_files(name))
    def test_a_refusal_writes_nothing(self, counter: Any, name: str) -> None:
        """A command that is refused leaves both files as they were, byte for byte."""
        mode = counter.opened(name)
        before = [(counter.directory / file).read_bytes() for file in ("default.json", "default.jsonl")]
        assert isinstance(mode.execute(buying(11)), SoldOut)
        assert [(counter.directory / file).read_bytes() for file in ("default.json", "default.jsonl")] == before
