"""What a mode promises to those who wait: a deadline, other events, and what it survives of the one inside."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from promises.apart import FORK, state, until
from promises.counter import buying, decide_now
from promises.suite import Suite, of
from service.mode import Busy, Unknown
from service.outcomes import NoSuchEvent, Sold
from service.values import Event

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event as Signal

    from service.commands import Command
    from service.mode import Mode
    from service.rules import Decision, Page


def _get_in(mode: Mode, inside: Signal) -> None:
    """Buy until it is inside: with little patience, it may wait in vain on a busy machine, and nothing is done then."""
    while not inside.is_set():
        with contextlib.suppress(Busy):
            mode.execute(buying(1))


class Waiting(Suite):
    """Waits."""

    @pytest.mark.usefixtures("patient")
    @of(lambda suite, name, _: suite.decides(name) and suite.claimed()[name].waits not in {"does not wait", "retries"})
    def test_a_wait_ends_at_its_deadline_with_nothing_done(self, counter: Any, name: str) -> None:
        """Who cannot get in within ``wait_s`` is told so, and nothing was sold to them."""
        inside, leave = FORK.Event(), FORK.Event()

        def decide(page: Page, command: Command) -> Decision:
            inside.set()
            assert leave.wait(30)
            return decide_now(page, command)

        mode = counter.opened(name, decide, wait_s=0.05)
        holder = threading.Thread(target=_get_in, args=(mode, inside))
        holder.start()
        assert inside.wait(30)
        try:
            with pytest.raises(Busy, match=r"busy for 0\.05 s"):
                mode.execute(buying(1))
        finally:
            leave.set()
            holder.join()
        event = mode.store.look("default")
        assert not isinstance(event, NoSuchEvent)
        assert event.version == 1

    @pytest.mark.usefixtures("patient")
    @of(
        lambda suite, name, _: (
            suite.decides(name) and suite.reaches(name, "threads") and name not in suite.one_at_a_time
        )
    )
    def test_a_slow_buyer_of_one_event_does_not_hold_up_another(self, counter: Any, name: str) -> None:
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
        try:
            assert isinstance(mode.execute(buying(event="concert")), Sold)
            assert mode.execute(buying(event="nowhere")) == NoSuchEvent("nowhere")
        finally:
            leave.set()
            slow.join()
        assert [mode.store.look(event) for event in ("default", "concert")] == [
            Event("default", 10, 9, 1),
            Event("concert", 5, 4, 1),
        ]

    @of(lambda suite, name, _: suite.decides(name) and suite.reaches(name, "threads"))
    def test_a_killed_holder_blocks_the_others_unless_the_claim_says_it_does_not(self, counter: Any, name: str) -> None:
        """SIGKILL of the one inside: the next one sells, or, where the claim leaves it out, is seen to wait in vain."""
        receiver, sender = FORK.Pipe(duplex=False)
        first, inside = FORK.Lock(), FORK.Event()  # nobody gives the lock back

        def decide(page: Page, command: Command) -> Decision:
            if first.acquire(block=False):
                inside.set()
                sender.send(os.getpid())
                signal.pause()
            return decide_now(page, command)

        survives = "killed holder" in self.claimed()[name].survives
        mode = counter.build(name, decide, wait_s=30 if survives else 0.5)

        def be_worker() -> None:
            mode.open()
            with contextlib.suppress(Unknown):  # the one inside is not the worker, but a process of the mode's own
                _get_in(mode, inside)

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

    @of(lambda suite, name, _: suite.decides(name) and suite.reaches(name, "processes"))
    def test_a_paused_holder_blocks_the_others_unless_the_claim_says_it_does_not(self, counter: Any, name: str) -> None:
        """SIGSTOP of the one inside: the next one sells, or, where the claim leaves it out, is seen to wait in vain."""
        receiver, sender = FORK.Pipe(duplex=False)
        first, inside = FORK.Lock(), FORK.Event()  # nobody gives the lock back

        def decide(page: Page, command: Command) -> Decision:
            if first.acquire(block=False):
                inside.set()
                sender.send(os.getpid())
                os.kill(os.getpid(), signal.SIGSTOP)
            return decide_now(page, command)

        survives = "paused holder" in self.claimed()[name].survives
        mode = counter.build(name, decide, wait_s=30 if survives else 0.5)

        def be_worker() -> None:
            mode.open()
            with contextlib.suppress(Unknown):  # as above
                _get_in(mode, inside)

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
