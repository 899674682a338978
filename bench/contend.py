"""Workers that do nothing but buy: what a lock does when it alone is the limit.

Over HTTP, on two processors, the web takes more of a purchase's time than the lock, and connections decide which worker
gets how much. Here the same modes and stores are used without the web, by processes that were forked as gunicorn forks
its workers. Run as a program (``python -m bench.contend``), it is such a service; ``contended`` runs and measures it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import stores
from bench.results import Taken
from loadtest import history
from loadtest.cost import other_cores
from loadtest.measure import share
from loadtest.percentiles import percentile
from loadtest.serve import NotServed
from loadtest.usage import Meter
from service import catalogue
from service.commands import Buy
from service.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    from service.mode import Mode

READY_S = 30.0
WAIT_S = 30.0
END_S = 90.0
"""Longest time that a slice may take, the last wait and all."""


def contended(mode: str, here: Path, workers: int, seconds: float, warmup_s: float) -> Taken:
    """Let ``workers`` contend, on a fresh store in ``here``, and return what was measured after the warm-up."""
    stores.fresh(here / "data")
    words = ["-m", "bench.contend", mode, str(here), str(workers), str(seconds + warmup_s)]
    with subprocess.Popen([sys.executable, *words], start_new_session=True) as process:  # noqa: S603  # this very file
        meter = Meter([process.pid])
        meter.start()
        ended = _ended(process.pid)
        usage = meter.stop([])  # while it has ended and nobody has heard of it, what it used can still be read
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if not ended or process.returncode:
        raise NotServed(f"the workers in mode {mode} did not come to an end, so there is nothing to measure")
    passages = history.load_trace(here)
    begin = passages[0].asked + int(warmup_s * 1e9)
    end = begin + int(seconds * 1e9)
    inside = [row for row in passages if begin <= row.asked < end]
    took = sorted((row.left - row.asked) / 1e6 for row in inside)
    turns = Counter(row.worker for row in inside)
    return Taken(
        arm=mode,
        decided=len(inside),
        errors=sum(row.entered is None for row in passages),
        requests_per_s=sum(begin <= row.left <= end for row in passages) / seconds,
        p50_ms=percentile(took, 50),
        p99_ms=percentile(took, 99),
        cpu_ms=0.0,
        other_cores=other_cores(usage) or 0.0,
        busiest_share=max(turns.values(), default=0) / max(len(inside), 1),
        longest_wait_ms=max(((row.entered or row.left) - row.asked) / 1e6 for row in inside),
        jain=share([*turns.values(), *[0] * (workers - len(turns))]).jain,
    )


def _ended(process: int) -> bool:
    """Wait until a process has ended, without taking note of it, and tell whether it has."""
    descriptor = os.pidfd_open(process)
    try:
        return bool(select.select([descriptor], [], [], END_S)[0])
    finally:
        os.close(descriptor)


@click.command()
@click.argument("mode")
@click.argument("here", type=click.Path(path_type=Path))
@click.argument("workers", type=int)
@click.argument("seconds", type=float)
def main(mode: str, here: Path, workers: int, seconds: float) -> None:
    """Fork workers that buy in MODE from the store in HERE/data for SECONDS, and leave their traces in HERE."""
    built, _ = catalogue.build(Settings(mode=mode, data=here / "data", trace=here, wait_s=WAIT_S))
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(workers)
    forked = [context.Process(target=_work, args=(built, gate, seconds)) for _ in range(workers)]
    for each in forked:
        each.start()
    for each in forked:
        each.join()
    sys.exit(any(each.exitcode for each in forked))


def _work(mode: Mode, gate: Barrier, seconds: float) -> None:
    """Be one worker: buy, again and again, until the time is over."""
    mode.open()
    gate.wait(READY_S)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        mode.execute(Buy(secrets.token_hex(16), stores.EVENT, 1))


if __name__ == "__main__":
    main()
