"""The schedule of faults, the hunt for the holder: on values, and on hosts that stand in for real ones."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import TYPE_CHECKING, cast

import pytest

from loadtest import faults, history, hunt, plan, schedule
from loadtest.drive import Progress
from loadtest.faults import Scenery, Schedule, Unfinished
from loadtest.history import Passage
from loadtest.mishaps import RECOVERY_S, Name, befallen
from loadtest.schedule import KINDS, MEANT, Part, Step, seconds_max, steps
from loadtest.serve import NotServed
from loadtest.victims import GONE, UP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.serve import Service

S = 1_000_000_000
THINK_S = 1_000.0
"""Long beside a test: what was read half of it ago was read before anybody was stopped."""


def test_the_same_seed_makes_the_same_schedule() -> None:
    """Another seed makes another order; each that was asked for is there, a kill of a worker before the holder's."""
    orders = {tuple(step.mishap for step in steps(KINDS, seed)) for seed in range(20)}
    assert len(orders) > 10
    meant = Counter(name for kind in KINDS for name in MEANT[kind])
    for order in orders:
        assert Counter(order) == meant
        assert order[order.index("killed worker") + 1] == "killed holder"
    assert steps(KINDS, 7) == steps(KINDS, 7) != steps(KINDS, 8)
    assert [step.mishap for step in steps(("kill",), 1, hosts=2)] == ["killed holder"]
    assert Counter(step.mishap for step in steps(("stop", "stop"), 1)) == {"killed service": 2}
    assert all(schedule.LEAD_S[0] <= step.lead_s <= schedule.LEAD_S[1] for step in steps(KINDS, 3))


def test_a_scene_is_long_enough_for_what_is_asked_for() -> None:
    """Each fault adds its lead, what it may take, and what follows it."""
    assert seconds_max(()) == 0
    for kind in KINDS:
        assert seconds_max((kind,)) >= len(MEANT[kind]) * (schedule.LEAD_S[0] + RECOVERY_S)
    assert seconds_max(KINDS) == pytest.approx(sum(seconds_max((kind,)) for kind in KINDS))


@dataclass
class Host:
    """A host that notes what is done to it."""

    starts: bool = True
    done: list[str] = field(default_factory=list)
    out: bool = False

    def pause(self) -> None:
        self.done.append("pause")
        self.out = True

    def resume(self) -> None:
        self.out = False

    def kill(self) -> None:
        self.done.append("kill")

    def end(self) -> None:
        self.done.append("end")

    def stop(self) -> None:
        self.done.append("stop")

    def start(self) -> None:
        if not self.starts:
            raise NotServed("the service did not start: it would not")
        self.done.append("start")
        self.out = False


class Soon(hunt.Watch):
    """A watch that does not wait. Meanwhile others are answered, unless ``stand_still`` says that nobody is."""

    def __init__(self, stand_still: Callable[[], bool], over_after: int) -> None:
        super().__init__(0.0)
        self._stand_still = stand_still
        self._replies = chain(range(1, over_after), repeat(0))
        self._tell = self.told(lambda _: None)
        self._tell(Progress(next(self._replies), 0))

    def waited(self, seconds: float) -> bool:
        if not self._stand_still():
            if not (reply := next(self._replies)):
                self.end()
                return True
            self._tell(Progress(reply, 0))
        return super().waited(0 * seconds)


class Watched(Schedule):
    """A schedule for hosts of which one holds up the others, or which serve nobody any more after ``dead_after``."""

    def __init__(  # what it is to meet
        self, mishap: Name, holder: int | None, seed: int, *, over_after: int = 1_000_000, dead_after: str = "",
        trace: Callable[[], Sequence[Passage]] = tuple,
    ) -> None:  # fmt: skip
        self.hosts = [Host() for _ in range(3)]
        scenery = Scenery(cast("list[Service]", self.hosts))
        super().__init__([Part([Step(mishap, 1.0)])], scenery, plan.make("flash-sale", seed, 20.0))

        def stand_still() -> bool:
            held = holder is not None and self.hosts[holder].out
            return held or any(dead_after and host.done[-1:] == [dead_after] for host in self.hosts)

        self.watch = Soon(stand_still, over_after)
        self._hunt = hunt.Hunt(self._victims, self.watch, self._chance, self._looked_at, hunt.Trace(trace, THINK_S))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hunt, "STALL_S", 0.02)
    monkeypatch.setattr(hunt, "PAUSE_S_MAX", RECOVERY_S + 0.02)
    monkeypatch.setattr(faults, "PATIENCE_S", 0.02)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("seed", range(5))
def test_the_host_that_holds_up_the_others_is_found(seed: int) -> None:
    """Others are stopped for a look and go on; the holder is paused, or killed and started again; then all go on."""
    meant: dict[Name, list[str]] = {"paused holder": ["pause"], "killed holder": ["pause", "kill", "start"]}
    for mishap, done in meant.items():
        amid = Watched(mishap, 1, seed)
        amid.run()
        assert amid.hosts[1].done == done
        assert all(set(host.done) <= {"pause"} for host in (amid.hosts[0], amid.hosts[2]))
        (only,) = [stretch for stretch in amid.stretches if stretch.mishap]
        assert (only.mishap, only.met) == (mishap, True)
        assert only == amid.stretches[-1]
        assert [host.out for host in amid.hosts] == [False] * 3
        assert list(amid.down) == [GONE] * 3
        assert amid.failure is None


@pytest.mark.usefixtures("soon")
def test_a_schedule_without_end_goes_on_until_the_scene_is_over() -> None:
    """The last fault is not judged, for what follows was not seen; of the others each is, and nobody is left out."""
    amid = Watched("killed service", None, 1, over_after=60)
    _without_end(amid, 1_000.0)
    amid.run()
    made = [stretch.mishap for stretch in amid.stretches]
    assert len(made) > 5
    assert set(made[:-1]) == {"killed service"}
    assert amid.failure is None
    assert sum(host.done.count("start") for host in amid.hosts) == len(made)
    amid = Watched("killed service", None, 1)
    _without_end(amid, 0.1)
    amid.run()
    assert isinstance(amid.failure, Unfinished)
    assert amid.stretches == []


def _without_end(amid: Watched, until_s: float) -> None:
    amid._parts, amid._endless = [Part(repeat(Step("killed service", 1.0)), until_s)], True  # noqa: SLF001  # of a soak


@pytest.mark.usefixtures("soon")
def test_what_the_trace_says_counts_for_more_than_that_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they stand in line, all soon wait for anyone who is out: the holder was inside when it was stopped."""
    monkeypatch.setattr(hunt, "RIPE_THINKS", 0)
    hosts: list[Host] = []

    def trace() -> Sequence[Passage]:
        """Say of three that another was inside, of the fourth that it read too late, and of the fifth that it had."""
        times, now, span = sum(host.done.count("pause") for host in hosts), time.monotonic_ns(), int(THINK_S / 2 * S)
        if times <= 3:
            return [Passage("a", 71, now - span, now + span, now - span, now - span, 1)]
        read = now - span if times > 4 else now + span
        return [] if any(host.out for host in hosts) else [Passage("b", 70, now - span, now + 2 * span, read, read, 1)]

    amid = Watched("paused holder", None, 1, trace=trace)
    hosts += amid.hosts
    held_up = iter([True] * 100)
    amid.watch.others_are_held_up = lambda: next(held_up)  # type: ignore[method-assign]  # all wait, as in a line
    amid.run()
    assert [(each.mishap, each.met) for each in amid.stretches] == [(None, False)] * 4 + [("paused holder", True)]


def test_the_end_of_a_trace_is_read_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not whole yet, or not any more, is left out."""
    rows = [f'{{"order": "{number}", "worker": 1, "asked": 1, "left": 2}}\n' for number in range(9)]
    (tmp_path / "trace-1.jsonl").write_text("".join(rows) + rows[0][:9])
    assert [row.order for row in history.lately(tmp_path)] == [str(number) for number in range(9)]
    monkeypatch.setattr(history, "LATELY_BYTES", 2 * len(rows[0]) + 20)
    assert [row.order for row in history.lately(tmp_path)] == ["7", "8"]


@pytest.mark.usefixtures("soon")
def test_where_nobody_waits_for_anybody_any_host_will_do() -> None:
    """After so many looks; it is not said that a holder was met."""
    amid = Watched("paused holder", None, 1)
    amid.run()
    assert len(amid.stretches) == hunt.TRIES_MAX
    assert [stretch.mishap for stretch in amid.stretches[:-1]] == [None] * (hunt.TRIES_MAX - 1)
    assert (amid.stretches[-1].mishap, amid.stretches[-1].met) == ("paused holder", False)


@pytest.mark.usefixtures("soon")
def test_where_nobody_is_served_any_more_all_are_started_again() -> None:
    """So that later faults are tried as well; it is written down, and is no mishap of its own."""
    amid = Watched("killed service", None, 1, dead_after="start")
    amid.run()
    killed = ["pause", "kill", "start"]
    assert sorted(host.done for host in amid.hosts) == [killed, killed, killed * 2]
    assert [stretch.mishap for stretch in amid.stretches] == ["killed service", None, None, None]
    assert all("started again, for nobody was served" in stretch.name for stretch in amid.stretches[1:])
    assert amid.again
    assert amid.failure is None


@pytest.mark.usefixtures("soon")
def test_a_restart_ends_in_order_and_tells_who_does_not_come_back() -> None:
    """Then the schedule is over, and it is the service's fault."""
    amid = Watched("restarted service", None, 1)
    amid.run()
    assert sorted(host.done for host in amid.hosts) == [[], [], ["end", "stop", "start"]]
    assert amid.failure is None
    amid = Watched("restarted service", None, 1)
    for host in amid.hosts:
        host.starts = False
    amid.run()
    assert amid.failure is None
    assert amid.stretches[-1].gone == "the service did not start: it would not"
    assert befallen([(amid.stretches, [])])[0].wrong == "the service did not start: it would not"
    assert list(amid.down) == [GONE] * 3


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("over_after", [2, 3, 9])
def test_a_scene_that_ends_first_leaves_all_hosts_running_and_says_so(over_after: int, tmp_path: Path) -> None:
    """What was done is written down, and there is no verdict on it."""
    amid = Watched("paused holder", None, 1, over_after=over_after)
    amid.run()
    assert [host.out for host in amid.hosts] == [False] * 3
    assert isinstance(amid.failure, Unfinished)
    scenery = Scenery(cast("list[Service]", [Host(), Host()]))
    with (
        pytest.raises(Unfinished, match="the scene was over before"),
        faults.amid([Part(steps(("kill",), 1, 2))], scenery, plan.make("flash-sale", 1, 20.0), tmp_path) as unused,
    ):
        assert list(unused.down) == [UP, UP]
    assert json.loads((tmp_path / "faults.json").read_text()) == []
