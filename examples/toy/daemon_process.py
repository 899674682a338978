"""A daemonic child ends with its parent, if the parent comes to its own end: not when it is killed."""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection

FORK = multiprocessing.get_context("fork")
STARTED = FORK.Event()


def child(pipe: Connection) -> None:
    """Tell who we are, and work on without an end."""
    pipe.send(os.getpid())
    STARTED.set()
    time.sleep(60)


def parent(pipe: Connection, *, waits: bool) -> None:
    """Start a daemonic child, and come to our end: by ourselves, or not before somebody kills us."""
    FORK.Process(target=child, args=(pipe,), daemon=True).start()
    STARTED.wait()
    time.sleep(60 if waits else 0)


def left_alone(*, killed: bool) -> bool:
    """Return whether the child is still there when its parent is not."""
    STARTED.clear()
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=parent, args=(theirs,), kwargs={"waits": killed})
    process.start()
    pid = ours.recv()
    if killed:
        process.kill()
    process.join()
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


print("the parent came to its end: the child is", "still there" if left_alone(killed=False) else "gone")
print("the parent was killed: the child is", "still there" if left_alone(killed=True) else "gone")
