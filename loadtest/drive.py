"""Drive the service: several client processes, a thread for each client, every call recorded.

A client process writes what it has recorded several times a second, so that little is lost when it is interrupted.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing import connection
from typing import TYPE_CHECKING

from loadtest import client, history
from loadtest.interrupt import deaf
from loadtest.victims import GONE, UP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ctypes import Array, c_byte, c_int64
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from loadtest.history import Operation
    from loadtest.scene import Scene
    from loadtest.usage import Meter, Usage

READY_S = 60.0
LEAD_NS = 200_000_000
"""From the last client's being ready to the common first moment: time enough for all to hear of it."""
POLL_S = 0.1
FLUSH_S = 0.25
STOP_S = 3.0
"""How long clients that are told to stop may wait for the replies that are under way."""

STOPPED = -1
EXIT_UNWRITTEN = 3


class ClientDied(Exception):
    """A client process ended before its work was done, so the history has a hole."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: operations that have returned, how many of them were errors, and whether it is over."""

    done: int
    errors: int
    over: bool = False


@dataclass(frozen=True, slots=True)
class Driven:
    """A history, in a file, and the processor time that it took."""

    path: Path
    usage: Usage

    @property
    def operations(self) -> list[Operation]:
        """Read the history."""
        return history.load(self.path)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What a client process shares with the others: the gate, the first moment, what it counts, which hosts are out."""

    gate: Barrier
    start: c_int64
    counts: Array[c_int64]
    down: Array[c_byte]


def drive(
    scene: Scene,
    folder: Path,
    processes: int,
    meter: Meter,
    progress: Callable[[Progress], None],
    down: Array[c_byte] | None = None,
) -> Driven:
    """Carry out the scene and return its history, which is also saved in ``folder``.

    ``meter`` runs while clients do, and ``progress`` is called about ten times a second. ``down`` is shared with the
    clients, and says which hosts get no new connection; when all are gone, the scene is over. Raises ``ClientDied``.
    What was recorded before an interruption is saved too.
    """
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 3 * processes, lock=False)
    gate = context.Barrier(processes + 1)
    start = context.Value("q", 0, lock=False)
    shared = _Shared(gate, start, counts, context.Array("b", len(scene.hosts), lock=False) if down is None else down)
    clients = [
        context.Process(target=_run_process, args=(scene, folder, (number, processes), shared), daemon=True)
        for number in range(processes)
    ]
    try:
        with deaf():
            for process in clients:
                process.start()
        _until_ready(gate, clients)
        start.value = time.monotonic_ns() + LEAD_NS
        gate.wait(READY_S)
        meter.start()
        while alive := [process.sentinel for process in clients if process.is_alive()]:
            progress(Progress(sum(counts[:processes]), sum(counts[processes : 2 * processes])))
            connection.wait(alive, POLL_S)
            _none_died(clients)
        _none_died(clients)  # a sentinel wakes us before the code of the one that died can be had
        usage = meter.stop([microseconds / 1e6 for microseconds in counts[2 * processes :]])
    except threading.BrokenBarrierError:
        raise ClientDied(f"not all client processes were ready within {READY_S:g} s") from None
    finally:
        start.value = STOPPED
        deadline = time.monotonic() + STOP_S
        for process in clients:
            if process.pid is not None:
                process.join(max(0.0, deadline - time.monotonic()))
                process.kill()
        parts = [folder / f"history-{number}.jsonl" for number in range(processes)]
        history.gather(folder / "history.jsonl", [part for part in parts if part.exists()])
    progress(Progress(sum(counts[:processes]), sum(counts[processes : 2 * processes]), over=True))
    return Driven(folder / "history.jsonl", usage)


def _until_ready(gate: Barrier, clients: Sequence[BaseProcess]) -> None:
    """Wait until all clients stand at the gate, and pass it."""
    deadline = time.monotonic() + READY_S
    while gate.n_waiting < len(clients) and time.monotonic() < deadline:
        _none_died(clients)
        time.sleep(POLL_S / 10)
    gate.wait(POLL_S)


def _none_died(clients: Sequence[BaseProcess]) -> None:
    for process in clients:
        if process.exitcode == EXIT_UNWRITTEN:
            raise ClientDied("a client process could not write down its calls: is the disk full?")
        if process.exitcode:
            raise ClientDied(f"a client process ended with {process.exitcode}, so the history has a hole")


def _run_process(scene: Scene, folder: Path, place: tuple[int, int], shared: _Shared) -> None:
    """Be one client process: run each client that falls to it in a thread, and write what they record."""
    number, processes = place
    gate, start, counts = shared.gate, shared.start, shared.counts
    rows: deque[Operation] = deque()

    def record(row: Operation) -> None:
        rows.append(row)
        counts[number] += 1
        counts[processes + number] += row.outcome in {"unknown", "not done"} and row.problem != history.REPLY_LOST

    with contextlib.suppress(threading.BrokenBarrierError):
        gate.wait(READY_S)
        gate.wait(READY_S)
    began, used = start.value, _cpu_s()

    def stopped() -> bool:
        return start.value == STOPPED or all(each == GONE for each in shared.down)

    def is_down(host: int) -> bool:
        return shared.down[host] != UP

    failed: list[int] = []

    def be_client(each: int) -> None:
        try:
            client.be_client(scene, each, began, record, stopped, is_down)
        except Exception:
            failed.append(each)
            raise

    mine = range(number, scene.plan.clients, processes)
    threads = [threading.Thread(target=be_client, args=(each,), daemon=True) for each in mine]
    for thread in threads:
        thread.start()
    while True:
        busy = any(thread.is_alive() for thread in threads)
        try:
            history.append(folder / f"history-{number}.jsonl", [rows.popleft() for _ in range(len(rows))])
        except OSError:
            sys.exit(EXIT_UNWRITTEN)
        if not busy:
            break
        with contextlib.suppress(StopIteration):
            next(thread for thread in threads if thread.is_alive()).join(FLUSH_S)
    counts[2 * processes + number] = int((_cpu_s() - used) * 1e6)
    sys.exit(bool(failed))


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system
