"""A scheduler for tests: tasks that take turns, one step at a time, in every order that there is.

A *task* is a thread that stops before each of its steps (``step``) and goes on when it is chosen. Exactly one runs at
any time, so a run is told by its choices alone: ``explored`` makes the same run again up to the last choice that had
an alternative, takes that one, and goes on until there is none left.

A task that waits for another is no choice until it can go on. Time does not pass by itself: only when nobody can go on
do those time out who wait with a deadline. A *death* is a choice too: a process ends before the next step of one of its
tasks, and none of them ever takes another.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS_MAX = 1_000_000
STEPS_MAX = 1_000
"""Most steps of one run: more, and somebody runs in circles."""


def _taken_lock() -> threading.Lock:
    """Return a lock that one thread waits for and another gives: what a semaphore is, at a tenth of its price."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Killed(BaseException):
    """What unwinds the thread of a task whose process is dead. Nothing that it does on its way out is a step."""


class Event(NamedTuple):
    """What happened: who took which step, or died."""

    task: str
    what: str


def always() -> bool:
    """Be the condition of a step for which nobody waits."""
    return True


class Task(threading.Thread):
    """A thread that runs when it is chosen. ``outcome`` is what its work returned or raised."""

    def __init__(self, play: Play, name: str, process: int, work: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self.play, self.process, self._work = play, process, work
        self.word, self.can, self.inner, self.patient = "begins", always, True, True
        self.over = self.dead = self.late = False
        self.outcome: object = None
        self._go = _taken_lock()
        self.start()

    def run(self) -> None:
        """Work, and give the baton back for good."""
        self._go.acquire()
        try:
            if not self.dead:
                self.outcome = self._work()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001  # it is an outcome too
            self.outcome = error
        self.over = True
        self.play.baton.release()

    def go(self) -> None:
        """Let it take the step it stands before, and run to the next one. For the scheduler."""
        self._go.release()
        self.play.baton.acquire()

    def stand(self, word: str, can: Callable[[], bool], *, inner: bool, patient: bool) -> bool:
        """Stand before a step until it is chosen. For the task. Return False if its deadline has come instead."""
        if self.dead:
            return True
        self.word, self.can, self.inner, self.patient = word, can, inner, patient
        self.play.baton.release()
        self._go.acquire()
        if self.dead:
            raise Killed
        late, self.late = self.late, False
        return not late


def here() -> Task | None:
    """Return the task that runs, if it is one."""
    thread = threading.current_thread()
    return thread if isinstance(thread, Task) else None


def step(word: str, can: Callable[[], bool] = always, *, inner: bool = False, patient: bool = True) -> bool:
    """Stop here until this step is chosen and ``can`` be taken. Return False if a deadline came before.

    ``inner`` is a step that nobody else could notice: it is taken as soon as it can be, and is no choice. Who is not
    ``patient`` has a deadline.
    """
    task = here()
    if task is None or (inner and can()):
        return True
    return task.stand(word, can, inner=inner, patient=patient)


@dataclass
class Play:
    """One run: who takes part, what was chosen, and what happened."""

    deaths_max: int = 0
    switches_max: int | None = None
    """Most times that a task is interrupted which could have gone on."""
    choices: tuple[int, ...] = ()
    """What to choose first; from there on, always the first that there is."""
    orders: list[Task] = field(default_factory=list)
    """Those that take part from the start. When they are over, all is."""
    tasks: list[Task] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    switches: int = 0
    deaths: int = 0
    files: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The descriptors that each process has open, as far as they are told of: they are closed when it dies."""
    late: list[str] = field(default_factory=list)
    """Who waited until a deadline, because nobody could go on."""
    baton: threading.Lock = field(default_factory=_taken_lock)

    def task(self, name: str, process: int, work: Callable[[], object]) -> Task:
        """Let one more take part."""
        self.tasks.append(Task(self, name, process, work))
        return self.tasks[-1]

    def run(self) -> Play:
        """Run until all tasks that take part from the start are over."""
        self.orders = list(self.tasks)
        last: Task | None = None
        self._settle()
        while not all(task.over for task in self.orders):
            options = self._options(last)
            if not options:
                self._let_time_pass()
                continue
            chosen, dies = options[self._chosen(len(options))]
            if dies:
                self._die(chosen)
            else:
                if last not in {None, chosen} and last in [task for task, ends in options if not ends]:
                    self.switches += 1
                last = chosen
                self.events.append(Event(chosen.name, chosen.word))
                chosen.go()
            self._settle()
            if len(self.events) > STEPS_MAX:
                raise RuntimeError(f"more than {STEPS_MAX} steps: {self.events[-8:]}")
        for process in {task.process for task in self.tasks}:
            self._end(process)
        return self

    def _chosen(self, width: int) -> int:
        if width == 1:
            return 0
        place = len(self.taken)
        self.taken.append(self.choices[place] if place < len(self.choices) else 0)
        self.widths.append(width)
        return self.taken[-1]

    def _options(self, last: Task | None) -> list[tuple[Task, bool]]:
        """Return who can go on, the one who went last first, and then whose process can die."""
        able = [task for task in self.tasks if not task.over and task.can()]
        able.sort(key=lambda task: task is not last)
        if self.switches_max is not None and self.switches >= self.switches_max and last in able:
            able = [last]
        living = {task.process: task for task in reversed(self.tasks) if not task.over}
        mortal = [living[process] for process in sorted(living)] if self.deaths < self.deaths_max and able else []
        return [(task, False) for task in able] + [(task, True) for task in mortal]

    def _settle(self) -> None:
        """Let everybody take the steps that nobody else could notice."""
        while inner := next((task for task in self.tasks if not task.over and task.inner and task.can()), None):
            inner.go()

    def _let_time_pass(self) -> None:
        waiting = next((task for task in self.tasks if not task.over and not task.patient), None)
        if waiting is None:
            raise RuntimeError(f"nobody can ever go on: {[(task.name, task.word) for task in self.tasks]}")
        self.late.append(waiting.name)
        self.events.append(Event(waiting.name, "has waited until its deadline"))
        waiting.late = True
        waiting.go()
        self._settle()

    def _die(self, chosen: Task) -> None:
        self.deaths += 1
        self.events.append(Event(chosen.name, f"dies before it {chosen.word}"))
        self._end(chosen.process)

    def _end(self, process: int) -> None:
        for task in [task for task in self.tasks if task.process == process and not task.over]:
            end(task)
        # The unwinding closes what a ``finally`` closes, and not what a living process would have closed later.
        for descriptor in self.files.pop(process, ()):
            os.close(descriptor)


def end(task: Task) -> None:
    """Let a task stop for ever, before its next step."""
    task.dead = True
    task.go()
    task.join()


def explored(play: Callable[[tuple[int, ...]], Play]) -> Iterator[Play]:
    """Yield every run that there is, depth first: ``play`` runs from its first choices on. Their order is fixed."""
    choices: list[int] = []
    for _ in range(RUNS_MAX):
        done = play(tuple(choices))
        yield done
        choices = done.taken
        while choices and choices[-1] + 1 == done.widths[len(choices) - 1]:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1
    raise RuntimeError(f"more than {RUNS_MAX} runs")
