"""What modes wait at, with a stop before each step: their own code runs, and the scheduler says who goes on.

Nearly all of it is the real thing: real files, real flock(2) and fcntl(2) locks (``stepped_kernel.py``), real POSIX
semaphores and a real ``filelock.FileLock``. A wait becomes a step that can be taken when the lock can be had, which the
kernel is asked. Who dies has its files closed, so the kernel frees its locks; what belongs to no file, a semaphore, it
keeps.

Made up are what tasks of one process wait at (``Mutex``, ``Queue``: an order of waking is what the scheduler is for)
and the lease, which keeps nobody out here: as if each holder were paused for longer than it lasts at every step.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import sys
import threading
from collections import deque
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from unittest import mock

import filelock

from service import committer, flock, later, line, turns
from service.stores import fenced, following, json_file
from service.stores.document import overwrite, refill
from tests import stepped_kernel
from tests.scheduler import here, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")
FENCED = {"_check": "looks at the journal", "_put": "writes the line"}
"""What the store of ``lease`` does with the journal, by what it is called there."""


class Mutex:
    """``threading.Lock``: made up. Taking one is a step that nobody else could notice, unless it keeps somebody out."""

    inner = True

    def __init__(self) -> None:
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002  # as the real one
        if not blocking:
            step("tries to lock", inner=self.inner)
            if self._held:
                return False
        elif not step("locks", lambda: not self._held, inner=self.inner, patient=timeout < 0):
            return False
        self._held = True
        return True

    def release(self) -> None:
        if not self.inner:
            step("unlocks")
        self._held = False

    def __enter__(self) -> None:  # noqa: D105  # as the real one
        self.acquire()

    def __exit__(self, *_: object) -> None:  # noqa: D105  # as the real one
        self.release()


class OuterMutex(Mutex):
    """One whose taking is what the mode is about."""

    inner = False


class Queue(Generic[T]):
    """``queue.Queue`` and ``queue.SimpleQueue``: made up, without an end."""

    inner = True

    def __init__(self, _orders_max: int = 0) -> None:
        self._waiting: deque[T] = deque()

    def put(self, item: T) -> None:
        step("joins the queue", inner=self.inner)
        self._waiting.append(item)

    put_nowait = put

    def empty(self) -> bool:
        step("looks into the queue", inner=self.inner)
        return not self._waiting

    def qsize(self) -> int:  # for the metrics: nobody decides by it, so it is no step
        return len(self._waiting)

    def get(self, timeout: float | None = None) -> T:  # noqa: ARG002  # nobody has nothing to do for that long here
        step("takes from the queue", lambda: bool(self._waiting), inner=self.inner)
        return self._waiting.popleft()


class OuterQueue(Queue[T]):
    """One whose use is what the mode is about."""

    inner = False


class Thread:
    """``threading.Thread``: one more task of this process."""

    def __init__(self, target: Callable[[], object], **_: object) -> None:
        self._target = target

    def start(self) -> None:
        task = here()
        assert task is not None
        task.play.task(f"{task.name}'s thread", task.process, self._target)


class Semaphore:
    """A ``multiprocessing.Lock``, the real one. Nobody frees it for who dies."""

    def __init__(self, real: Any) -> None:  # noqa: ANN401  # as multiprocessing has it
        self._real = real

    def acquire(self, timeout: float) -> bool:  # noqa: ARG002  # the scheduler says when time has passed
        can = self._real._semlock._is_zero  # noqa: SLF001  # nothing else tells without taking it
        return step("locks", lambda: not can(), patient=False) and self._real.acquire(block=False)

    def release(self) -> None:
        task = here()
        if task and task.dead:
            return
        step("unlocks")
        self._real.release()


class SteppedFileLock:
    """A ``filelock.FileLock``, the real one."""

    def __init__(self, real: filelock.BaseFileLock) -> None:
        self._real = real

    @contextlib.contextmanager
    def acquire(self, timeout: float) -> Iterator[None]:  # noqa: ARG002  # the scheduler says when time has passed
        path = self._real.lock_file
        if not step("locks", partial(stepped_kernel.free_path, path), patient=False):
            raise filelock.Timeout(path)
        with self._real.acquire(blocking=False):
            yield
            step("unlocks")


class EndedLease:
    """A ``filelock.SoftFileLease``: made up. Whoever wants it takes it over, and whoever had it does not know."""

    def __init__(self, path: str) -> None:
        self.lock_file = path

    @contextlib.contextmanager
    def acquire(self, _timeout: float, cancel_check: object) -> Iterator[None]:  # noqa: ARG002  # as the real one
        yield


@contextlib.contextmanager
def stepped(*, outer: bool = False) -> Iterator[None]:
    """Put stops into what modes are made of, as long as this lasts; ``outer``: between tasks of one process too."""
    mutexes, queues = (OuterMutex, OuterQueue) if outer else (Mutex, Queue)
    inner = _like(threading, Lock=Mutex)
    threads = _like(threading, Lock=mutexes, Thread=Thread)
    files = _like(os, open=stepped_kernel.open_file, close=stepped_kernel.close_file)
    put = [
        *((module, "threading", inner) for module in (later, turns, following)),
        *((module, "threading", threads) for module in (committer, line)),
        *((module, "queue", _like(queue, Queue=queues, SimpleQueue=queues)) for module in (committer, line)),
        *((module, "os", files) for module in (flock, turns)),
        (flock, "fcntl", _like(fcntl, flock=stepped_kernel.flock)),
        (turns, "_lock", stepped_kernel.turn_lock),
        (turns, "ROOM", threading.Semaphore(sys.maxsize)),  # a process takes its own with it when it dies
        (json_file, "refill", _refill),
        *((fenced, name, _stopped(word, getattr(fenced, name))) for name, word in FENCED.items()),
    ]
    with contextlib.ExitStack() as stack:
        for module, name, instead in put:
            stack.enter_context(mock.patch.object(module, name, instead))
        yield


def _like(module: object, **instead: object) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(module), **instead})


def _stopped(word: str, real: Callable[..., T]) -> Callable[..., T]:
    def stopped(*args: object) -> T:
        step(word)
        return real(*args)

    return stopped


def _refill(document: Path, text: bytes) -> None:
    """Stop where the document is empty."""
    refill(document, b"")
    step("fills the document")
    overwrite(document, text)
