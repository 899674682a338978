"""Two kinds of lock, and a holder that is killed inside."""

import fcntl
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

FORK = multiprocessing.get_context("fork")
SEMAPHORE = FORK.Lock()
FILE = Path("tickets.lock")


def hold(pipe: Connection) -> None:
    """Take both locks, say so, and never give them back."""
    SEMAPHORE.acquire()
    with FILE.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        pipe.send("inside")
        time.sleep(60)


def file_is_free() -> bool:
    """Try to lock the file, without waiting."""
    with FILE.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


ours, theirs = FORK.Pipe()
holder = FORK.Process(target=hold, args=(theirs,))
holder.start()
ours.recv()
print("a holder is inside:   semaphore free:", SEMAPHORE.acquire(block=False), " file lock free:", file_is_free())
holder.kill()
holder.join()
print("the holder is killed: semaphore free:", SEMAPHORE.acquire(timeout=1), " file lock free:", file_is_free())
SEMAPHORE.release()
print("a stranger gave it back: semaphore free:", SEMAPHORE.acquire(block=False))
