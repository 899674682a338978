"""What ``with`` does that two lines do not, and what it cannot do."""

import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.synchronize import Lock

FORK = multiprocessing.get_context("fork")


def two_lines(lock: Lock) -> None:
    """Sell between two lines."""
    lock.acquire()
    sell()
    lock.release()


def one_block(lock: Lock) -> None:
    """Sell inside a block."""
    with lock:
        sell()


def block_that_dies(lock: Lock) -> None:
    """End inside a block, as one that is killed does: nothing of ours runs any more."""
    with lock:
        os._exit(1)


def sell() -> None:
    """Meet something unforeseen."""
    raise OSError


def attempt(way: Callable[[Lock], None], lock: Lock) -> None:
    """Sell in one way, and bear what happens."""
    with suppress(OSError):
        way(lock)


for way in (two_lines, one_block, block_that_dies):
    lock = FORK.Lock()
    seller = FORK.Process(target=attempt, args=(way, lock))
    seller.start()
    seller.join()
    print(f"{way.__name__}: the lock is", "free" if lock.acquire(timeout=0.5) else "taken for ever")
