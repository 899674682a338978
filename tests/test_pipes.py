"""Producers, pipes and the consumer: what each order is told, wherever it stands when something breaks.

The writer runs in a thread here, so that a test can hold it; ``test_single_writer.py`` has the process.
"""

from __future__ import annotations

import math
import os
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import wait

import pytest

from service import consumer, pipes, producer
from service.commands import Buy, Command
from service.committer import BATCH_ORDERS_MAX
from service.consumer import Consumer
from service.later import awaited
from service.mode import Busy, Damaged, NotWritten, Unknown, told
from service.outcomes import NoSuchEvent, Reply
from service.pipes import GREETING, Asked, Door, Noted, Pipes
from service.producer import WAY_S, Producer
from tests.counter import buying
from tests.waiting import PATIENCE_S, until, waiting


def ask(line: Producer, command: Command) -> Reply:
    """Ask, and wait for the reply as a thread of a worker may."""
    return awaited(line.begin, command, line._wait_s)  # noqa: SLF001  # what the mode knows, too


def served(line: Producer, event: str) -> None:
    """Ask until it is served: one with little patience may wait in vain before, and nothing is done then."""

    def asked() -> bool:
        try:
            return ask(line, buying(event=event)) == NoSuchEvent(event)
        except Busy:
            return False

    until(asked)


def line_to(
    door: Door, wait_s: float = PATIENCE_S, noted: Noted | None = None, waiting_orders_max: int = 9
) -> Producer:
    """Return a worker's way to the writer, with pipes of its own."""
    return Producer(Pipes(door), wait_s, {} if noted is None else noted, waiting_orders_max)


Ask = Callable[[Producer, str], Future[Reply]]


class Desk:
    """A writer in a thread, which commits what it gets while the gate is open, and notes in which batches."""

    def __init__(
        self, door: Door, fails: dict[str, Exception] | None = None, held: Collection[str] | None = None
    ) -> None:
        """``held`` are the events that wait at the gate; all, if it is not said."""
        self.gate, self.inside = threading.Event(), threading.Event()
        self.gate.set()
        self.batches: list[list[str]] = []
        self.noted: Noted = {}
        self.entered: set[str] = set()
        self.held = held
        self._fails = fails or {}
        self._lifeline, self._held = os.pipe()
        self._consumer = Consumer(door, self._commit, self.noted)
        self._thread = threading.Thread(target=self._consumer.run, args=(self._lifeline,))
        self._thread.start()

    def _commit(self, commands: Iterable[Command]) -> list[Reply]:
        events = []
        for command in commands:
            self.entered.add(command.event)
            self.inside.set()
            assert (self.held is not None and command.event not in self.held) or self.gate.wait(PATIENCE_S)
            self.noted[command.order] = {"version": 7}
            if command.event in self._fails:
                raise self._fails[command.event]
            events.append(command.event)
        if events:
            self.batches.append(events)
        return [NoSuchEvent(event) for event in events]

    def close(self) -> None:
        """End it, and close the pipes that it held, as the kernel does."""
        if self._thread.is_alive():
            os.write(self._held, b"\0")
            self.gate.set()
            self._thread.join(PATIENCE_S)
            os.close(self._held)
            os.close(self._lifeline)
        self._consumer._pipes.clear()  # noqa: SLF001  # the test has the process that holds them

    def sentinel(self) -> None:
        os.write(self._held, b"\0")


Desks = Callable[..., Desk]


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def desks(door: Door) -> Iterator[Desks]:
    made: list[Desk] = []

    def start(fails: dict[str, Exception] | None = None, held: Collection[str] | None = None) -> Desk:
        made.append(Desk(door, fails, held))
        return made[-1]

    yield start
    for desk in made:
        desk.close()


@pytest.fixture
def asking() -> Iterator[Ask]:
    """Ask in a thread."""
    with ThreadPoolExecutor(16) as pool:
        yield lambda line, event: pool.submit(ask, line, buying(event=event))


def read(desk: Desk, event: str) -> int:
    """Return how many batches of an event have been read, and wait for the one that is being written."""
    return len(desk._consumer._waiting.get(event, []))  # noqa: SLF001  # as above


def test_what_waits_in_every_pipe_is_committed_together(door: Door, desks: Desks, asking: Ask) -> None:
    """While one order is being written, others of its event come from two workers: they are one batch."""
    desk = desks()
    lines = [line_to(door) for _ in range(3)]
    for line in lines:
        assert ask(line, buying(event="first")) == NoSuchEvent("first")
    desk.gate.clear()
    desk.inside.clear()
    held = asking(lines[0], "held")
    assert desk.inside.wait(PATIENCE_S)
    others = [asking(lines[1], "held"), asking(lines[2], "held")]
    until(lambda: read(desk, "held") == 2)
    desk.gate.set()
    assert [each.result(PATIENCE_S) for each in [held, *others]] == [NoSuchEvent("held")] * 3
    assert desk.batches[3:] == [["held"], ["held", "held"]]


def test_a_failure_concerns_its_own_batch_only(door: Door, desks: Desks) -> None:
    """What failed says how, in the words of the writer; another event is served, and so is the next order."""
    fails = {"full": NotWritten("no room"), "torn": Damaged("torn"), "bug": OSError(5, "fsync")}
    desks(fails)
    line = line_to(door)
    for event, kind in (("full", NotWritten), ("torn", Damaged), ("bug", Unknown)):
        with pytest.raises(kind) as failed:
            ask(line, buying(event=event))
        assert any(word in told(failed.value) for word in ("no room", "torn", "fsync"))
    assert ask(line, buying(event="fine")) == NoSuchEvent("fine")
    del fails["full"]
    assert ask(line, buying(event="full")) == NoSuchEvent("full")


def test_an_event_does_not_wait_for_another(door: Door, desks: Desks, asking: Ask) -> None:
    """While one is held inside for as long as it likes, more of them than there were threads are served."""
    held = {f"slow-{number}" for number in range(5)}
    desk = desks(held=held)
    desk.gate.clear()
    slow = [asking(line_to(door), event) for event in held]
    until(lambda: desk.entered == held)
    assert ask(line_to(door), buying(event="quick")) == NoSuchEvent("quick")
    assert not any(each.done() for each in slow)
    desk.gate.set()
    assert {each.result(PATIENCE_S) for each in slow} == {NoSuchEvent(event) for event in held}


def test_events_beyond_the_bound_wait(door: Door, desks: Desks, asking: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are seen to when one of those inside has left; nobody is lost."""
    monkeypatch.setattr(consumer, "EVENTS_MAX", 2)
    desk = desks()
    desk.gate.clear()
    asked = [asking(line_to(door), event) for event in "ab"]
    until(lambda: desk.entered == {"a", "b"})
    asked += [asking(line_to(door), event) for event in "cd"]
    desk.gate.set()
    assert {each.result(PATIENCE_S) for each in asked} == {NoSuchEvent(event) for event in "abcd"}
    assert len(desk._consumer._others) == 1  # noqa: SLF001  # nothing else tells


def test_what_the_writer_comes_to_too_late_is_not_begun(door: Door, desks: Desks, asking: Ask) -> None:
    """Sent in time, and the writer was held until after the deadline: busy, and the commit never saw it."""
    desk = desks()
    first, hasty = line_to(door), line_to(door, 0.05)
    served(hasty, "greeted")
    desk.gate.clear()
    desk.inside.clear()
    held = asking(first, "held")
    assert desk.inside.wait(PATIENCE_S)
    late = asking(hasty, "held")
    until(lambda: read(desk, "held") == 1)
    too_late = time.monotonic() + 0.05 + WAY_S
    until(lambda: time.monotonic() > too_late)
    desk.gate.set()
    assert held.result(PATIENCE_S) == NoSuchEvent("held")
    with pytest.raises(Busy, match=r"0\.05 s"):
        late.result(PATIENCE_S)
    assert desk.batches == [["greeted"], ["held"]]
    served(hasty, "again")


def test_without_a_writer_nothing_leaves_the_queue(door: Door, desks: Desks) -> None:
    """Busy at the deadline; the next writer finds the worker at the door, and nothing of what was given up."""
    line = line_to(door, 0.05)
    for _ in range(2):
        with pytest.raises(Busy):
            ask(line, buying(event="nobody"))
    desk = desks()
    patient = line_to(door)
    assert ask(patient, buying(event="served")) == NoSuchEvent("served")
    served(line, "found")
    assert desk.batches == [["served"], ["found"]]


def test_a_pipe_to_a_writer_that_has_gone_is_no_turn(door: Door, desks: Desks) -> None:
    """So nobody is taken from the queue for it, where each can still leave at its own deadline."""
    line = line_to(door)
    desk = desks()
    assert ask(line, buying(event="1")) == NoSuchEvent("1")
    with line._turn(wait=False):  # noqa: SLF001  # what the queue asks for
        pass
    desk.close()
    with pytest.raises(Busy), line._turn(wait=False):  # noqa: SLF001  # as above
        pass


def test_who_waits_goes_to_the_next_writer(door: Door, desks: Desks, asking: Ask) -> None:
    """The pipe of the last one has broken while it was idle: nobody is told anything but a reply."""
    line = line_to(door)
    first = desks()
    assert ask(line, buying(event="1")) == NoSuchEvent("1")
    first.close()
    waits = asking(line, "2")
    second = desks()
    assert waits.result(PATIENCE_S) == NoSuchEvent("2")
    assert second.batches == [["2"]]


@pytest.mark.parametrize("writer_dies", [True, False])
def test_in_the_hand_of_a_writer_that_does_not_answer_is_unknown(
    door: Door, asking: Ask, monkeypatch: pytest.MonkeyPatch, *, writer_dies: bool
) -> None:
    """It has died, or is paused: within a bound the worker says that it does not know, and asks the next one anew."""
    monkeypatch.setattr(producer, "ANSWER_S", 3600.0 if writer_dies else 0.1)
    line = line_to(door, 3.0)  # more than a busy machine takes to greet it
    asked = asking(line, "1")
    assert wait([door.inside], PATIENCE_S)
    (pipe,) = door.admitted()
    pipe.send_bytes(GREETING)
    assert [each.command.event for each in pipe.recv()] == ["1"]
    if writer_dies:
        pipe.close()
    with pytest.raises(Unknown):
        asked.result(PATIENCE_S)
    asked = asking(line, "2")
    assert wait([door.inside], PATIENCE_S)
    with pytest.raises(Busy):  # not even greeted: certainly not sent
        asked.result(PATIENCE_S)


def test_a_worker_that_stands_still_in_the_middle_of_a_message_stops_nobody(
    door: Door, desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ``STALL_S`` its pipe is given up, and it sees the end of it; of half a batch nothing is done."""
    monkeypatch.setattr(pipes, "STALL_S", 0.1)
    desk = desks()
    still = door.knock()
    assert still.recv_bytes() == GREETING
    os.write(still.fileno(), struct.pack("!i", 1000) + b"half")
    line = line_to(door)
    assert ask(line, buying(event="goes on")) == NoSuchEvent("goes on")
    assert desk.batches == [["goes on"]]
    with pytest.raises((EOFError, ConnectionResetError)):
        still.recv_bytes()


def test_a_worker_that_has_gone_is_forgotten(door: Door, desks: Desks, asking: Ask) -> None:
    """At the door, or before its answer: its pipe is closed here too, and the others are served."""
    desk = desks()
    line, gone = line_to(door), door.knock()
    assert ask(line, buying(event="1")) == NoSuchEvent("1")
    assert gone.recv_bytes() == GREETING
    desk.gate.clear()
    desk.inside.clear()
    held = asking(line, "2")
    assert desk.inside.wait(PATIENCE_S)
    door.knock().close()
    gone.send([Asked(buying(event="gone"), math.inf)])
    gone.close()
    desk.gate.set()
    assert held.result(PATIENCE_S) == NoSuchEvent("2")
    until(lambda: sorted(desk.batches[1:]) == [["2"], ["gone"]])  # two events, so in either order
    assert ask(line, buying(event="3")) == NoSuchEvent("3")
    assert len(desk._consumer._pipes) == 1  # noqa: SLF001  # nothing else tells


def test_the_sentinel_comes_behind_what_was_sent_before_it(door: Door, desks: Desks, asking: Ask) -> None:
    """What lies in the pipes by then is committed and answered; what comes later is not begun, and is not sent."""
    desk = desks()
    first, second = line_to(door), line_to(door)
    for line in (first, second):
        ask(line, buying(event="greeted"))
    desk.gate.clear()
    desk.inside.clear()
    held = asking(first, "held")
    assert desk.inside.wait(PATIENCE_S)
    queued = asking(second, "held")
    until(lambda: read(desk, "held") == 1)
    desk.sentinel()
    desk.gate.set()
    assert held.result(PATIENCE_S) == NoSuchEvent("held")
    assert queued.result(PATIENCE_S) == NoSuchEvent("held")
    desk.close()
    with pytest.raises(Busy):
        ask(line_to(door, 0.05), buying(event="later"))
    assert desk.batches[2:] == [["held"], ["held"]]


def test_a_full_queue_says_so_at_once(door: Door, desks: Desks, asking: Ask) -> None:
    """``put_nowait`` fails: whatever the patience, nobody waits where there is no room, and nothing of it is done."""
    desk, line = desks(), line_to(door, waiting_orders_max=2)
    ask(line, buying(event="greeted"))
    desk.gate.clear()
    desk.inside.clear()
    asked = [asking(line, "held")]
    assert desk.inside.wait(PATIENCE_S)
    for number in range(3):
        asked.append(asking(line, "waits"))
        until(lambda: waiting(line) == (1, number))  # noqa: B023  # it is called at once
    with pytest.raises(Busy):
        ask(line, buying(event="no room"))
    desk.gate.set()
    assert [each.result(PATIENCE_S) for each in asked] == [NoSuchEvent(event) for event in ["held"] + ["waits"] * 3]
    assert "no room" not in desk.entered


def test_what_the_writer_noted_comes_with_the_answer(door: Door, desks: Desks) -> None:
    """For the trace, which the worker writes; and the writer keeps nothing of it."""
    desk, noted = desks(), Noted()
    command = buying(event="noted")
    ask(line_to(door, noted=noted), command)
    assert noted == {command.order: {"version": 7}}
    assert desk.noted == {}


def test_the_largest_batch_passes(door: Door, desks: Desks) -> None:
    """As many orders as a batch can have, with the longest words that a buyer can send: more than a message at once."""
    desks()
    pipe = door.knock()
    assert pipe.recv_bytes() == GREETING
    buyers = ["\U0001f3ab" * 96 + f"{number:04}" for number in range(BATCH_ORDERS_MAX)]
    pipe.send([Asked(Buy(f"{buyer[-4:]:0>32}", "e" * 64, 100, buyer=buyer), math.inf) for buyer in buyers])
    answers, _ = pipe.recv()
    assert answers == [NoSuchEvent("e" * 64)] * BATCH_ORDERS_MAX
