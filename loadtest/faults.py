"""Faults: a schedule of what is done on purpose to a service, or to several hosts, while clients drive it.

Each fault is followed by time to recover, in which it is seen whether somebody is served again. Where nobody is, the
service is started again, so that later faults are tried as well. The scene is over when the schedule is.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from loadtest.history import lately
from loadtest.hunt import Hunt, Trace, Watch, holding
from loadtest.mishaps import LOOKED, RECOVERY_S, WATCHED_S, Stretch
from loadtest.schedule import DISK_S, needs_s
from loadtest.serve import NotServed
from loadtest.servers.process import Missing, family
from loadtest.slowness import slowed
from loadtest.victims import DOWN, GONE, UP, Host, children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ctypes import Array, c_byte
    from pathlib import Path

    from loadtest.history import Passage
    from loadtest.mishaps import Name
    from loadtest.plan import Plan
    from loadtest.schedule import Part
    from loadtest.serve import Service
    from loadtest.victims import Victim
    from loadtest.volume import Volume

THINK_S = 0.1
"""The service's pause between read and write where nobody asks for another, so that somebody is inside to be met."""
TICKETS = 100_000
"""What a flash sale has to sell where nobody asks for another number: enough for the longest schedule."""

PATIENCE_S = 1.0
"""So much longer nobody is answered before a service is started again: who was paused goes on only now."""


class Unfinished(Exception):
    """The scene was over before the faults were. The message says so in one sentence."""


@dataclass(frozen=True, slots=True)
class Scenery:
    """What faults are made with: the services, the file system that their tickets are on, the engine's servers."""

    services: Sequence[Service]
    volume: Volume | None = None
    servers: Sequence[int] = ()


class Schedule:
    """What is done, in a thread of its own. ``down`` says which hosts are out, ``again`` that one was started again."""

    def __init__(
        self, parts: Sequence[Part], scenery: Scenery, plan: Plan, passages: Callable[[], Sequence[Passage]] = tuple
    ) -> None:
        """``passages`` are those of the trace, as far as it is written."""
        self._parts = parts
        self._endless = any(part.until_s < math.inf for part in parts)
        self._scenery = scenery
        self._services = scenery.services
        self._chance = random.Random(f"{plan.seed}/victims")  # noqa: S311  # repeatable, not secret
        self.watch = Watch(plan.think_s)
        self._hunt = Hunt(self._victims, self.watch, self._chance, self._looked_at, Trace(passages, plan.think_s))
        self.stretches: list[Stretch] = []
        self.again = False
        self.failure: Exception | None = Unfinished(
            "the scene was over before the faults were, or it was seen what follows: the machine is too busy for it, "
            "or --seconds too few"
        )
        self.down: Array[c_byte] = multiprocessing.get_context("spawn").Array("b", len(self._services), lock=False)
        self._acts: dict[Name, Callable[[Name], int]] = {
            "killed worker": self._kill_any,
            "killed holder": self._kill_holder,
            "paused holder": self._pause_holder,
            "killed service": self._stop,
            "restarted service": self._restart,
            "full disk": self._fill,
            "slow disk": self._slow,
        }

    def run(self) -> None:
        """Do one after the other. A service that does not start again ends it: that is told, and no failure of ours."""
        try:
            self.watch.wait_for_the_first()
            began = time.monotonic()
            ends = began + self._parts[-1].until_s
            if not all(self._played(part, began + part.until_s, ends) for part in self._parts):
                self._cut_short()
            elif any(each.mishap for each in self.stretches) or not self._endless:
                self.failure = None
        except NotServed as error:
            self.failure = error if not self.stretches or not self.stretches[-1].gone else None
        except (OSError, Missing) as error:
            self.failure = Unfinished(f"a fault could not be made: {error}")
        finally:
            for number, service in enumerate(self._services):
                service.resume()
                self.down[number] = GONE

    def _played(self, part: Part, until: float, ends: float) -> bool:
        """Make the faults of a part, as far as there is time for them; tell whether all was seen to the end."""
        for step in part.steps:
            if time.monotonic() + step.lead_s > until or time.monotonic() + needs_s(step) > ends:
                break
            if self.watch.waited(step.lead_s) or not self._seen_to(self._acts[step.mishap](step.mishap)):
                return False
        if until < math.inf:
            self.watch.waited(until - time.monotonic())
        return True

    def _cut_short(self) -> None:
        """Take back what was begun last, where there is enough without it: what follows was not seen to the end."""
        if self._endless and self.stretches and not (self.stretches[-1].ended or self.stretches[-1].gone):
            self.stretches[-1] = replace(self.stretches[-1], mishap=None)
            if any(each.mishap for each in self.stretches):
                self.failure = None

    def _victims(self) -> Sequence[Victim]:
        if len(self._services) > 1:
            return [Host(number, service, self.down) for number, service in enumerate(self._services)]
        there = children(self._services[0])
        if not there:
            with self._coming_back("the service ended by itself", time.monotonic_ns(), None):
                raise NotServed(f"the service ended by itself; its log is {self._services[0].log}")
        return there

    def _looked_at(self, victim: Victim, since: int) -> None:
        self._noted(f"{victim.name} {LOOKED}", since)

    def _kill_any(self, mishap: Name) -> int:
        victim = self._chance.choice(self._victims())
        since = time.monotonic_ns()
        victim.kill()
        self._noted(f"{victim.name} killed", since, mishap)
        return since

    def _kill_holder(self, mishap: Name) -> int:
        victim, _, met = self._hunt.stop()
        since = time.monotonic_ns()
        name = f"{victim.name}{holding(met)} killed"
        with self._coming_back(name, since, mishap):
            victim.kill()
        victim.resume()
        self._noted(name, since, mishap, met=met)
        return since

    def _pause_holder(self, mishap: Name) -> int:
        self.stretches.append(self._hunt.pause(mishap))
        return self.stretches[-1].from_ns

    def _stop(self, mishap: Name) -> int:
        return self._started_again("killed with all its processes and started again", mishap)

    def _restart(self, mishap: Name) -> int:
        return self._started_again("ended in order and started again", mishap)

    def _started_again(self, what: str, mishap: Name | None, number: int | None = None) -> int:
        number = self._chance.randrange(len(self._services)) if number is None else number
        service, since = self._services[number], time.monotonic_ns()
        whose, ended = f"host {number + 1}" if len(self._services) > 1 else "the service", ""
        if mishap == "restarted service":
            self.down[number] = DOWN
            service.end()
            ended = service.stop()
        else:
            service.pause()  # so that it dies with all that is inside, and nobody is refused before he is told of it
            self.down[number] = DOWN
            service.kill()
        with self._coming_back(f"{whose} {what}", since, mishap):
            service.start()
        self.down[number] = UP
        self.stretches.append(Stretch(f"{whose} {what}", since, time.monotonic_ns(), mishap, met=True, ended=ended))
        return self.stretches[-1].to_ns

    @contextmanager
    def _coming_back(self, name: str, since: int, mishap: Name | None) -> Iterator[None]:
        """Note it if a service does not start again."""
        self.again = self.again or mishap != "killed holder" or len(self._services) > 1
        try:
            yield
        except NotServed as error:
            last = next((each.mishap for each in reversed(self.stretches) if each.mishap), None)
            gone = f"after it {error}" if mishap is None else str(error)
            self.stretches.append(Stretch(name, since, time.monotonic_ns(), mishap or last, met=True, gone=gone))
            raise

    def _fill(self, mishap: Name) -> int:
        volume, since = self._scenery.volume, time.monotonic_ns()
        if volume is None:
            raise Missing("there is no small file system to be filled")
        volume.fill()
        try:
            self.watch.waited(DISK_S)
        finally:
            volume.free()
        return self._noted("full disk", since, mishap)

    def _slow(self, mishap: Name) -> int:
        masters = [*(service.process.pid for service in self._services), *self._scenery.servers]
        since = time.monotonic_ns()
        with slowed([pid for master in masters for pid in family(master)]):
            self.watch.waited(DISK_S)
        return self._noted("slow disk", since, mishap, met=True)

    def _seen_to(self, free: int) -> bool:
        """Wait until it is known how the others fare; where nobody is served, start all again. Tell whether it is."""
        if self.watch.waited(RECOVERY_S - (time.monotonic_ns() - free) / 1e9):
            return False
        before = self.watch.answered
        if self.watch.waited(WATCHED_S):
            return False
        if self.watch.answered == before and self.watch.none_answered(PATIENCE_S):
            for number in range(len(self._services)):
                self._started_again("started again, for nobody was served", None, number)
        return not self.watch.over

    def _noted(self, name: str, since: int, mishap: Name | None = None, *, met: bool = False) -> int:
        now = time.monotonic_ns()
        self.stretches.append(Stretch(name, since, now, mishap, met))
        return now


@contextmanager
def amid(parts: Sequence[Part], scenery: Scenery, plan: Plan, place: Path) -> Iterator[Schedule]:
    """Do what is to be done meanwhile, and write it down in ``place``. Raises ``NotServed`` or ``Unfinished``."""
    schedule = Schedule(parts, scenery, plan, partial(lately, place))
    thread = threading.Thread(target=schedule.run, name="faults")
    thread.start()
    try:
        yield schedule
    finally:
        schedule.watch.end()
        thread.join()
        (place / "faults.json").write_text(json.dumps([asdict(stretch) for stretch in schedule.stretches]))
    if schedule.failure:
        raise schedule.failure
