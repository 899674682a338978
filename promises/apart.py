"""Sellers at a distance: threads of one process, or processes that are forked as gunicorn forks its workers."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.mode import Mode
    from service.outcomes import Reply

FORK = multiprocessing.get_context("fork")
PATIENCE_S = 20.0
UNTIL_S = 60.0
"""How long is waited for what must come: to start a program takes long where others are started beside it."""


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
        try:
            mode.open()
            told: list[Reply] | Exception = work(mode)
        except Exception as error:  # noqa: BLE001  # for the test to raise, which would wait for a reply otherwise
            told = error
        pipes[number][1].send(told)

    workers = [FORK.Process(target=be_worker, args=(number,)) for number in range(sellers)]
    for worker in workers:
        worker.start()
    told = [receiver.recv() for receiver, _ in pipes]
    for worker in workers:
        worker.join()
    for each in told:
        if isinstance(each, Exception):
            raise each
    return [reply for replies in told for reply in replies]


def until(true: Callable[[], bool]) -> None:
    """Wait until it is true; fail when that takes too long."""
    deadline = time.monotonic() + UNTIL_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def state(pid: int) -> str:
    """Return the letter of a process's state; nothing, if there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""
