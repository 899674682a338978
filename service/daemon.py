"""A process beside the workers, as the article's daemon: it begins with the service and ends with it.

The master forks it before the workers, and again when it has died. What ties the two together is a pipe, the
*lifeline*. Its write end is held by the master and, since they inherit it, by the workers, but not by the daemon. The
daemon ends when there is something to read there: a sentinel, which the master sends when the workers have left, or the
end of the file, which the kernel makes when the last of them is gone, after a SIGKILL too.

``multiprocessing.Process(daemon=True)`` is not used: a worker that ends would run its clean-up, which terminates and
joins a process that is not the worker's child; and nothing ends it when the master is killed.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import signal
import struct
import threading
import time
from collections import deque
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from service import watch

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger("turnstile")
SENTINEL = b"\0"
END_S = 10.0
"""How long a daemon may take to do what was asked of it before the sentinel. Past it, it is killed."""
BEAT_S = 1.0
"""How often it says since when it has been at what it is at."""
KILL_S = 1.0
"""How long the end of one that was killed is waited for at once."""
MOMENT = struct.Struct("@d")
STARTS_MAX = 20
STARTS_S = 10.0
"""A daemon that dies again and again is started at most ``STARTS_MAX`` times in ``STARTS_S`` seconds."""
FOR_THE_MASTER = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU),
)
"""Signals that a terminal or a supervisor sends to the whole group. The daemon outlives the workers, so it ignores
them."""


class Daemon:
    """One process that runs ``run(lifeline)`` until there is something to read at ``lifeline``, a file descriptor."""

    def __init__(self, name: str, run: Callable[[int], None]) -> None:
        """``name`` is what ``ps`` shows, at most 15 characters. Make it before the fork."""
        self.name = name
        self._run = run
        self._lifeline, self._held = os.pipe()
        self._pid = 0
        self._begun_at = 0.0
        self._moved = mmap.mmap(-1, MOMENT.size)  # shared with the process
        self.at_work_since: Callable[[], float] = time.monotonic
        """In the process: since when it has been at what it is at. One that is at nothing says now."""
        # A file descriptor of the process: its end can be seen, and its number is not mistaken for a later process's,
        # also when gunicorn has reaped it, which waits for any child.
        self._process: int | None = None
        self._starts: deque[float] = deque(maxlen=STARTS_MAX)

    @property
    def pid(self) -> int:
        """The process that was started last; 0 before the first."""
        return self._pid

    def keep(self, let_go: Callable[[], None] = lambda: None) -> bool:
        """Start it if it does not run, and return whether it was started. Call it in the master only.

        Raises ``OSError`` where there is no room for it.

        ``let_go`` runs in the daemon first: it closes what the daemon must not hold.
        """
        if self._process is not None:
            if not _ended(self._process, 0):
                return False
            self._forget(self._process)
        now = time.monotonic()
        if len(self._starts) == STARTS_MAX and now - self._starts[0] < STARTS_S:
            return False
        self._starts.append(now)
        self._begun_at = now
        pid = os.fork()
        if pid == 0:
            self._be(let_go)
        try:
            process = os.pidfd_open(pid)
        except OSError:  # no room for one more file: nobody would know of it, and start another one beside it
            os.kill(pid, signal.SIGKILL)
            raise
        self._pid, self._process = pid, process
        return True

    def moved_at(self) -> float:
        """Return since when it has been at what it is at, by its own word, or else when it was started."""
        moment: float = MOMENT.unpack(self._moved[:])[0]
        return max(moment, self._begun_at)

    def kill(self) -> bool:
        """End one that hangs, and return whether there was one. ``keep`` starts the next."""
        if self._process is None:
            return False
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        return _ended(self._process, KILL_S)

    def let_go(self) -> None:
        """Hold it no longer, in a process that is neither its master nor one of those it serves."""
        os.close(self._held)

    def end(self) -> bool:
        """Let it do what was asked so far, and end it for good. Return whether it ended by itself, and not killed."""
        os.write(self._held, SENTINEL)
        by_itself = True
        if self._process is not None:
            by_itself = _ended(self._process, END_S)
            if not by_itself:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
                _ended(self._process, END_S)
            self._forget(self._process)
        os.close(self._held)
        os.close(self._lifeline)
        return by_itself

    def _forget(self, process: int) -> None:
        with contextlib.suppress(ChildProcessError):  # gunicorn has reaped it
            os.waitid(os.P_PIDFD, process, os.WEXITED | os.WNOHANG)
        os.close(process)
        self._process = None

    def _be(self, let_go: Callable[[], None]) -> NoReturn:
        status = 1
        try:
            self.let_go()  # else it would wait for its own end
            _behave_as_no_master()
            let_go()
            Path("/proc/self/comm").write_text(self.name)
            threading.Thread(target=self._beat, name="heart", daemon=True).start()
            self._run(self._lifeline)
            status = 0
        except BaseException:  # whatever it is, it must not come to the master's code above
            LOG.critical("daemon %s has met something unforeseen, and ends", self.name, exc_info=True)
        finally:
            watch.here.flush()
            os._exit(status)  # the master's own clean-up is not for this process to run

    def _beat(self) -> NoReturn:
        while True:
            self._moved[:] = MOMENT.pack(self.at_work_since())
            time.sleep(BEAT_S)


def daemons_of(mode: object) -> tuple[Daemon, ...]:
    """Return the daemons that ``mode`` needs beside the workers. Most modes need none, and do not speak of it."""
    daemons: tuple[Daemon, ...] = getattr(mode, "daemons", ())
    return daemons


def _ended(process: int, wait_s: float) -> bool:
    return bool(wait([process], wait_s))


def _behave_as_no_master() -> None:
    """Give up the signal handlers of the process that this one was forked from."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number in FOR_THE_MASTER:
            signal.signal(number, signal.SIG_IGN)
        elif callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
