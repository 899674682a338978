"""Live progress: a bar for each slice in a terminal, a line for each in a pipe, nothing when quiet."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from loadtest import drive
    from loadtest.plan import Plan

    Follow = Callable[[str], Callable[[drive.Progress], None]]


@contextmanager
def progress(console: Console, plan: Plan, *, quiet: bool) -> Iterator[Follow]:
    """Yield what is called with the name of each slice, and returns what is told how far it is."""
    if quiet:
        yield lambda _name: lambda _progress: None
    elif not console.is_terminal:
        yield lambda name: _Lines(console, name).tell
    else:
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[done]} replies, {task.fields[rate]:.0f}/s, {task.fields[errors]} errors"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=console) as bars:
            yield lambda name: _Bar(bars, plan, name).tell


class _Bar:
    """One slice's bar: by operations where the plan counts them, by time where it does not."""

    def __init__(self, bars: Progress, plan: Plan, name: str) -> None:
        self._bars, self._plan = bars, plan
        total = plan.clients * (plan.orders + plan.look_first) if plan.orders else plan.seconds
        self._task = bars.add_task(name, total=total, done=0, rate=0.0, errors=0)
        self._began = 0.0

    def tell(self, now: drive.Progress) -> None:
        if not self._began:
            self._began = time.monotonic()
        elapsed = time.monotonic() - self._began
        completed = now.done if self._plan.orders else min(elapsed, self._plan.seconds)
        rate = now.done / elapsed if elapsed else 0.0
        self._bars.update(self._task, completed=completed, done=now.done, rate=rate, errors=now.errors)


class _Lines:
    """One slice's lines: that it begins, some seconds apart how far it is, and how far it came."""

    EVERY_S = 5.0

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._told = 0.0
        console.print(f"{name}: begins", highlight=False)

    def tell(self, now: drive.Progress) -> None:
        self._told = self._told or time.monotonic()  # the service, which starts first, has had no replies
        if now.over or time.monotonic() - self._told >= self.EVERY_S:
            self._told = time.monotonic()
            self._console.print(f"{self._name}: {now.done} replies, {now.errors} errors", highlight=False)
