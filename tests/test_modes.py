"""Every mode against every promise within its reach, and each mode caught beyond it.

A mode is built once and then shared by threads, or by processes that are forked as gunicorn forks its workers.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter as Tally
from typing import TYPE_CHECKING

import pytest

from service.catalogue import CLAIMS, SCHEMES
from service.mode import Busy, Unknown
from service.outcomes import NoSuchEvent, Reply, Sold, SoldOut
from service.stores import postgres_link
from service.values import Event
from tests.counter import ON_FILES, EngineCounter, buying, decide_now
from tests.processes import state
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.commands import Command
    from service.mode import Mode
    from service.rules import Decision, Page
    from tests.counter import AnyCounter, Counter

REACHES = ("nowhere", "threads", "processes", "hosts")
ORDERS_EACH = 12
SELLERS = 4
GATE_S = 1.0
FORK = multiprocessing.get_context("fork")

IN_THE_ENGINE = {"postgres_conditional", "redis_script", "redis_group"}
"""Modes in which the engine decides, so that nobody can be stopped between read and write."""

ONE_WRITER = {"sqlite"}
"""Modes whose engine lets one write at a time, whatever the event; their price says so."""

each_mode = pytest.mark.parametrize("name", CLAIMS)
DECIDING = {name: claim for name, claim in CLAIMS.items() if name not in IN_THE_ENGINE}
each_deciding_mode = pytest.mark.parametrize("name", DECIDING)
each_distance = pytest.mark.parametrize("distance", ["threads", "processes"])


@pytest.fixture
def counter(counter: Counter, fresh_url: Callable[[str], str], name: str) -> Iterator[AnyCounter]:
    """A counter with ten tickets that is fit for the mode: on files, or on a fresh database of its engine."""
    if name not in SCHEMES:
        yield counter
        return
    made = EngineCounter(fresh_url(SCHEMES[name]))
    yield made
    made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stands still inside, as a test has it, is not taken for one who is paused."""
    monkeypatch.setattr(postgres_link, "PAUSED_S", 60.0)


def reaches(name: str, distance: str) -> bool:
    """Tell whether a mode claims to keep sellers apart that stand at ``distance``."""
    return REACHES.index(CLAIMS[name].reach) >= REACHES.index(distance)


def run_apart(distance: str, mode: Mode, work: Callable[[Mode], list[Reply]], sellers: int) -> list[Reply]:
    """Let ``sellers`` do ``work`` at once, each a thread of this process or a process of its own."""
    if distance == "threads":
        mode.open()
        replies: list[Reply] = []
        threads = [threading.Thread(target=lambda: replies.extend(work(mode))) for _ in range(sellers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return replies
    pipes = [FORK.Pipe(duplex=False) for _ in range(sellers)]

    def be_worker(number: int) -> None:
        mode.open()
        pipes[number][1].send(work(mode))

    workers = [FORK.Process(target=be_worker, args=(number,)) for number in range(sellers)]
    for worker in workers:
        worker.start()
    told = [reply for receiver, _ in pipes for reply in receiver.recv()]
    for worker in workers:
        worker.join()
    return told


@pytest.mark.usefixtures("patient")
@each_deciding_mode
@each_distance
def test_two_are_inside_at_once_exactly_where_the_claim_ends(counter: AnyCounter, name: str, distance: str) -> None:
    """Within its reach nobody enters while another is between read and write; beyond it, somebody does, and a ticket
    is sold twice.
    """
    gate = (threading if distance == "threads" else FORK).Barrier(2)

    def decide(page: Page, command: Command) -> Decision:
        # A second one inside opens the gate at once; kept out, it lets the first one go on after GATE_S.
        with contextlib.suppress(threading.BrokenBarrierError):
            gate.wait(GATE_S)
        return decide_now(page, command)

    mode = counter.build(name, decide)
    replies = run_apart(distance, mode, lambda shared: [shared.execute(buying(2))], sellers=2)
    sold = [reply.order for reply in replies if isinstance(reply, Sold)]
    assert len(sold) == 2
    if reaches(name, distance):
        assert sorted(order.version for order in sold) == [1, 2]
        assert not set(sold[0].tickets) & set(sold[1].tickets)
    else:
        assert [order.version for order in sold] == [1, 1]
        assert sold[0].tickets == sold[1].tickets


@pytest.mark.parametrize(
    ("name", "distance"),
    [(name, distance) for name in CLAIMS for distance in ("threads", "processes") if reaches(name, distance)],
)
def test_no_ticket_is_sold_twice_and_none_is_lost_within_reach(counter: AnyCounter, name: str, distance: str) -> None:
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


@each_mode
def test_alone_every_mode_gives_the_same_answers(counter: AnyCounter, name: str) -> None:
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


@pytest.mark.parametrize("name", ON_FILES)
def test_a_refusal_writes_nothing(counter: Counter, name: str) -> None:
    """A command that is refused leaves both files as they were, byte for byte."""
    mode = counter.opened(name)
    before = [(counter.directory / file).read_bytes() for file in ("default.json", "default.jsonl")]
    assert isinstance(mode.execute(buying(11)), SoldOut)
    assert [(counter.directory / file).read_bytes() for file in ("default.json", "default.jsonl")] == before


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "name",
    [name for name, claim in DECIDING.items() if claim.waits not in {"does not wait", "retries"}],
)
def test_a_wait_ends_at_its_deadline_with_nothing_done(counter: AnyCounter, name: str) -> None:
    """Who cannot get in within ``wait_s`` is told so, and nothing was sold to them."""
    inside, leave = FORK.Event(), FORK.Event()

    def decide(page: Page, command: Command) -> Decision:
        inside.set()
        assert leave.wait(30)
        return decide_now(page, command)

    mode = counter.opened(name, decide, wait_s=0.05)
    holder = threading.Thread(target=mode.execute, args=(buying(1),))
    holder.start()
    assert inside.wait(30)
    with pytest.raises(Busy, match=r"busy for 0\.05 s"):
        mode.execute(buying(1))
    leave.set()
    holder.join()
    event = mode.store.look("default")
    assert not isinstance(event, NoSuchEvent)
    assert event.version == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "name", [name for name, claim in DECIDING.items() if claim.reach != "nowhere" and name not in ONE_WRITER]
)
def test_a_slow_buyer_of_one_event_does_not_hold_up_another(counter: AnyCounter, name: str) -> None:
    """While one stands inside for as long as it likes, tickets of another event are sold."""
    counter.event("concert", 5)
    inside, leave = FORK.Event(), FORK.Event()

    def decide(page: Page, command: Command) -> Decision:
        if command.event == "default":
            inside.set()
            assert leave.wait(30)
        return decide_now(page, command)

    mode = counter.opened(name, decide)
    slow = threading.Thread(target=mode.execute, args=(buying(1),))
    slow.start()
    assert inside.wait(30)
    assert isinstance(mode.execute(buying(event="concert")), Sold)
    assert mode.execute(buying(event="nowhere")) == NoSuchEvent("nowhere")
    leave.set()
    slow.join()
    assert [mode.store.look(event) for event in ("default", "concert")] == [
        Event("default", 10, 9, 1),
        Event("concert", 5, 4, 1),
    ]


@pytest.mark.parametrize("name", [name for name, claim in DECIDING.items() if claim.reach != "nowhere"])
def test_a_killed_holder_blocks_the_others_unless_the_claim_says_it_does_not(counter: AnyCounter, name: str) -> None:
    """SIGKILL of the one inside: the next one sells, or, where the claim leaves it out, is seen to wait in vain."""
    receiver, sender = FORK.Pipe(duplex=False)
    first = FORK.Lock()  # nobody gives it back

    def decide(page: Page, command: Command) -> Decision:
        if first.acquire(block=False):
            sender.send(os.getpid())
            signal.pause()
        return decide_now(page, command)

    survives = "killed holder" in CLAIMS[name].survives
    mode = counter.build(name, decide, wait_s=30 if survives else 0.5)

    def be_worker() -> None:
        mode.open()
        with contextlib.suppress(Unknown):  # the one inside is not the worker, but a process of the mode's own
            mode.execute(buying(1))

    worker = FORK.Process(target=be_worker)
    worker.start()
    holder = receiver.recv()
    os.kill(holder, signal.SIGKILL)
    worker.join()
    counter.keep()
    mode.open()
    if survives:
        assert isinstance(mode.execute(buying(1)), Sold)
    else:
        with pytest.raises(Busy):
            mode.execute(buying(1))


@pytest.mark.parametrize("name", [name for name in DECIDING if reaches(name, "processes")])
def test_a_paused_holder_blocks_the_others_unless_the_claim_says_it_does_not(counter: AnyCounter, name: str) -> None:
    """SIGSTOP of the one inside: the next one sells, or, where the claim leaves it out, is seen to wait in vain."""
    receiver, sender = FORK.Pipe(duplex=False)
    first = FORK.Lock()  # nobody gives it back

    def decide(page: Page, command: Command) -> Decision:
        if first.acquire(block=False):
            sender.send(os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)
        return decide_now(page, command)

    survives = "paused holder" in CLAIMS[name].survives
    mode = counter.build(name, decide, wait_s=30 if survives else 0.5)

    def be_worker() -> None:
        mode.open()
        with contextlib.suppress(Unknown):  # as above
            mode.execute(buying(1))

    worker = FORK.Process(target=be_worker)
    worker.start()
    holder = receiver.recv()
    try:
        until(lambda: state(holder) == "T")
        mode.open()
        if survives:
            assert isinstance(mode.execute(buying(1)), Sold)
        else:
            with pytest.raises(Busy):
                mode.execute(buying(1))
    finally:
        os.kill(holder, signal.SIGKILL)
        worker.join()
