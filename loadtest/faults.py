"""Faults: one of several hosts is stopped while it holds up the others, and is left so, or killed and started again.

Which host is inside, nobody outside can see. So hosts are stopped one after the other, by a seeded chance: where the
others are still answered, it was not the one, and it goes on at once. The one that nobody can do without is the holder.
Where nobody ever waits, as with optimistic modes, there is none to be found, and any host will do.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from typing import TYPE_CHECKING, Literal

from loadtest.mishaps import RECOVERY_S, WATCHED_S, Stretch
from loadtest.serve import NotServed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ctypes import Array, c_byte
    from pathlib import Path

    from loadtest.drive import Progress
    from loadtest.mishaps import Name
    from loadtest.plan import Plan
    from loadtest.serve import Service

Kind = Literal["pause", "kill"]

MISHAPS: dict[Kind, Name] = {"pause": "paused holder", "kill": "killed holder"}
PAUSE_S = RECOVERY_S + WATCHED_S
"""How long a host is left stopped: longer than any lease that a mode here takes, and then some."""
LEAD_S = (0.5, 1.5)
"""When the first host is stopped, after the first reply."""
SETTLE_S = 0.2
"""So long after the stop there may still come replies that were under way, and be counted."""
STALL_S, STALL_THINKS = 0.4, 6
"""Without a reply for so long, and so many pauses of the service between read and write, the others are held up."""
TRIES_MAX = 12
"""So often a host is stopped to see whether it is the holder: with three hosts, one time in 130 it is never met."""
BETWEEN_S = (0.0, 0.2)
"""How long all go on before the next one is stopped: by chance, or each would be met at the same step."""
SECONDS_MIN = 16.0
"""A scene must last so long that the hunt and what follows it are over before it ends."""
THINK_S = 0.1
"""The service's pause between read and write where nobody asks for another, so that somebody is inside to be met."""
POLL_S = 0.02


class Unfinished(Exception):
    """The scene was over before the fault was. The message says so in one sentence."""


class Schedule:
    """What is done to ``services``, in a thread of its own while clients drive them. ``down`` says which are out."""

    def __init__(self, kind: Kind, services: Sequence[Service], plan: Plan) -> None:
        self._kind = kind
        self._services = services
        self._chance = random.Random(f"{plan.seed}/faults")  # noqa: S311  # repeatable, not secret
        self._stall_s = STALL_S + STALL_THINKS * plan.think_s
        self._done = 0
        self._begun, self._over = threading.Event(), threading.Event()
        self.stretches: list[Stretch] = []
        self.failure: NotServed | Unfinished | None = Unfinished(
            "the scene was over before it was seen how the others fare without a host: the machine is too busy for it, "
            "or --seconds too few"
        )
        self.down: Array[c_byte] = multiprocessing.get_context("spawn").Array("b", len(services), lock=False)

    def told(self, progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Return ``progress``, overheard: it says when replies come, and when none do."""

        def overheard(now: Progress) -> None:
            self._done = now.done
            if now.done:
                self._begun.set()
            progress(now)

        return overheard

    def run(self) -> None:
        """Look for the holder, and do to it what is to be done."""
        try:
            self._begun.wait()
            if not self._waited(self._chance.uniform(*LEAD_S)) and self._befell(*self._hunted()):
                self.failure = None
        except NotServed as error:
            self.failure = error
        finally:
            for number, service in enumerate(self._services):
                service.resume()
                self.down[number] = False

    def end(self) -> None:
        """Let everybody go on, whatever the schedule still had."""
        self._over.set()
        self._begun.set()

    def _hunted(self) -> tuple[int, int, bool]:
        """Return which host is stopped, since when, and whether it holds up the others."""
        for turn in count(1):
            number = self._chance.randrange(len(self._services))
            since = time.monotonic_ns()
            self.down[number] = True
            self._services[number].pause()
            if self._others_are_held_up():
                return number, since, True
            if turn == TRIES_MAX or self._over.is_set():
                break
            self._go_on(number, since, f"host {number + 1} stopped for a look")
            self._waited(self._chance.uniform(*BETWEEN_S))
        return number, since, False

    def _others_are_held_up(self) -> bool:
        if self._waited(SETTLE_S):
            return False
        before, deadline = self._done, time.monotonic() + self._stall_s
        while time.monotonic() < deadline:
            if self._waited(POLL_S) or self._done > before:
                return False
        return True

    def _befell(self, number: int, since: int, met: bool) -> bool:  # noqa: FBT001  # as it was found
        """Do what is to be done to a host that is stopped; tell whether what comes of it can be seen to the end."""
        service, mishap = self._services[number], MISHAPS[self._kind]
        whom = f"host {number + 1}{', which holds up the others,' * met}"
        if self._kind == "kill":
            since = time.monotonic_ns()
            service.kill()
            service.start()
            self._go_on(number, since, f"{whom} killed and started again", mishap, met=met)
        cut_short = self._waited(PAUSE_S - (time.monotonic_ns() - since) / 1e9)
        if self._kind == "pause":
            self._go_on(number, since, f"{whom} paused", mishap, met=met)
        return not cut_short

    def _go_on(self, number: int, since: int, name: str, mishap: Name | None = None, *, met: bool = False) -> None:
        self._services[number].resume()
        self.down[number] = False
        self.stretches.append(Stretch(name, since, time.monotonic_ns(), mishap, met))

    def _waited(self, seconds: float) -> bool:
        """Wait; tell whether the schedule is over before its time."""
        return self._over.wait(max(0.0, seconds))


@contextmanager
def amid(kind: Kind, services: Sequence[Service], plan: Plan, place: Path) -> Iterator[Schedule]:
    """Do what is to be done to ``services`` meanwhile, and write it down in ``place``.

    Raises ``NotServed`` or ``Unfinished``.
    """
    schedule = Schedule(kind, services, plan)
    thread = threading.Thread(target=schedule.run, name="faults")
    thread.start()
    try:
        yield schedule
    finally:
        schedule.end()
        thread.join()
        (place / "faults.json").write_text(json.dumps([asdict(stretch) for stretch in schedule.stretches]))
    if schedule.failure:
        raise schedule.failure
