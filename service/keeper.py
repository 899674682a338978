"""gunicorn's master, which also keeps the daemons running, replaces workers one by one, and ends those that hang.

A service of which no process can start says why and ends. Once one has sold it does not end for that: what was missing,
memory, a file or a thread, may be there again in a moment. The workers that are left sell on, and where none is left,
those who come wait in the kernel. A service that ended would have a supervisor start it anew, but into the same lack,
and systemd gives that up for good after five times in ten seconds.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from service import logs, watch
from service.bounds import QUICK_S
from service.latecomers import Latecomers
from service.stillness import Looker
from service.worker import HELD_BACK

if TYPE_CHECKING:
    import socket

    from gunicorn.app.base import BaseApplication

    from service.daemon import Daemon
    from service.worker import Worker

ROLL_S = 0.05
"""How often it is looked whether a worker that follows another is there."""

SPAWN_S = 0.05
"""A pause behind each start, for workers that end as soon as they are there."""
AGAIN_S, AGAIN_S_MAX = 1.0, 30.0
"""How long no worker is started after one that could not: longer each time, until all are there again."""


class Keeper(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """The daemons are started before the workers, and ended after them."""

    LISTENERS: list[socket.socket]

    def __init__(self, server: BaseApplication, daemons: tuple[Daemon, ...], hang_s: float, hung_s: float) -> None:
        """A worker whose main thread stands still for ``hang_s`` is killed, and a daemon after ``hung_s``."""
        self._daemons = daemons
        self._hang_s = hang_s
        self._hung_s = hung_s
        self._looker = Looker()
        self._former: list[Worker] = []
        self._latecomers: Latecomers | None = None
        self._has_served = False
        self._again_s = 0.0
        self._starts_at = -math.inf
        super().__init__(server)

    def spawn_worker(self) -> int:
        """Start a worker, with the signals that end one held back until it has handlers of its own (``worker.py``).

        Until then it has the master's, which keep a signal for a loop that the worker never comes to: a service that
        was stopped just after its start waited for such a worker, and then killed it.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            pid: int = super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def handle_hup(self) -> None:
        """Replace all workers: one more is started, and when it serves, the oldest is told to end; and so on.

        gunicorn would start as many again as there are, end the others whether or not these serve, and hear no signal
        meanwhile. Nothing is read again: settings and code are those that the service was started with.
        """
        self._former = self._serving()

    def handle_usr2(self) -> None:
        """Say no: another version would find the port taken, and the store claimed."""
        self.log.error("SIGUSR2 does nothing here: to run another version, end this service and start that one")

    def handle_ttin(self) -> None:
        """Say no: gunicorn would start one more worker, and a mode may keep apart no more than were asked for."""
        self._does_nothing("SIGTTIN")

    def handle_ttou(self) -> None:
        """Say no, as above: who runs it would find fewer than were asked for."""
        self._does_nothing("SIGTTOU")

    def _does_nothing(self, name: str) -> None:
        self.log.error("%s does nothing here: to have more or fewer workers, start the service with --workers", name)

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        signals: list[int] = super().wait_for_signals(ROLL_S if self._former else timeout)
        return signals

    def manage_workers(self) -> None:
        """Have as many workers as there shall be, and while they are replaced, one more.

        This runs at the start, after each signal (that a child has ended is one), and once a second.
        """
        self._keep_daemons()
        self._former = [worker for worker in self._former if worker.pid in self.WORKERS]
        shall_be = self.num_workers + bool(self._former)
        if time.monotonic() >= self._starts_at:
            self._start(shall_be - len(self._serving()))
        serving = self._serving()
        if len(serving) >= self.num_workers and all(_begun(worker) for worker in serving):
            self._again_s = 0.0
        if not self._former:
            for worker in serving[: max(len(serving) - self.num_workers, 0)]:
                self._tell(worker)
        elif len(serving) >= shall_be and all(_begun(worker) for worker in serving):
            self._tell(self._former.pop(0))
            if not self._former:
                logs.Log.handler.say("all workers have been replaced")
        with contextlib.suppress(OSError):  # there may be no room for one more file: it is told again in a second
            watch.here.alive({os.getpid(), *self.WORKERS, *(daemon.pid for daemon in self._daemons)})

    def murder_workers(self) -> None:
        """Kill workers that stand still. SIGKILL, for one that is stopped hears nothing else."""
        self._looker.look()
        for pid, worker in list(self.WORKERS.items()):
            bound_s, since = (self._hang_s, _beat(worker)) if _begun(worker) else (self._hung_s, worker.made_at)
            if self._looker.still_s(since) > bound_s:
                self.log.error("worker (pid: %s) has stood still for more than %g s, so it is killed", pid, bound_s)
                self.kill_worker(pid, signal.SIGKILL)

    def reap_workers(self) -> None:
        before = list(self.WORKERS.values())
        self._sells()
        while True:  # others may have ended behind one that could not start, and of all there is one signal
            try:
                super().reap_workers()
                break
            except HaltServer as halt:
                self._goes_on_without(halt.reason)
        there = set(self.WORKERS.values())
        for worker in before:
            if worker not in there:
                worker.tmp.close()
        if died := sum(not (worker.told or worker in there or self._latecomers) for worker in before):
            with contextlib.suppress(OSError):  # as above
                watch.here.died(died)
        self._keep_daemons()  # also while the workers end: they may have orders left
        if self._latecomers:
            self._latecomers.turn_away()

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002  # as gunicorn has it
        if not graceful:
            self.cfg.set("graceful_timeout", QUICK_S)
        self._latecomers = self._latecomers or Latecomers(self.LISTENERS)
        self.LISTENERS = []  # gunicorn would close them
        super().stop(graceful)
        self._latecomers.close()

    def _start(self, workers: int) -> None:
        try:
            for _ in range(workers):
                self.spawn_worker()
                time.sleep(SPAWN_S)
        except OSError as error:  # no room for a process, or for the file of its beats
            self._goes_on_without(str(error))

    def _goes_on_without(self, why: str) -> None:
        """Have no new worker for a while. Raises ``HaltServer`` if none has ever sold."""
        if not self._sells():
            raise HaltServer(why, self.WORKER_BOOT_ERROR)
        now = time.monotonic()
        if self._latecomers or now < self._starts_at:  # one that was started with it has been told of
            return
        self._former = []
        self._again_s = min(2 * self._again_s or AGAIN_S, AGAIN_S_MAX)
        self._starts_at = now + self._again_s
        self.log.error(
            "a worker could not start (%s), so the others stay (%d of %d), and no other is started for %g s",
            *(why.rstrip("."), sum(map(_begun, self._serving())), self.num_workers, self._again_s),
        )

    def _sells(self) -> bool:
        """Tell whether it has begun to sell: a worker has served, whatever became of it, or all are told to end."""
        self._has_served = self._has_served or any(map(_begun, self.WORKERS.values()))
        return self._has_served or self._latecomers is not None

    def _serving(self) -> list[Worker]:
        """Return the workers that have not been told to end, the oldest first."""
        return [worker for worker in self.WORKERS.values() if not worker.told]

    def _tell(self, worker: Worker) -> None:
        worker.told = True
        self.kill_worker(worker.pid, signal.SIGHUP)

    def _keep_daemons(self) -> None:
        self._looker.look()
        for daemon in self._daemons:
            before = daemon.pid
            if self._looker.still_s(daemon.moved_at()) > self._hung_s and daemon.kill():
                self.log.error("daemon %s (pid: %s) has hung for more than %g s", daemon.name, before, self._hung_s)
            try:
                started = daemon.keep(partial(self._let_go, daemon))
            except OSError as error:
                if not self._sells():
                    raise HaltServer(f"{daemon.name}: {error}", self.WORKER_BOOT_ERROR) from None
                self.log.error("daemon %s could not start (%s), and is started again", daemon.name, error)  # noqa: TRY400  # said
                continue
            if started and before:
                self.log.error("daemon %s (pid: %s) has died; pid %s follows it", daemon.name, before, daemon.pid)

    def _let_go(self, daemon: Daemon) -> None:
        """Close, in a daemon, what it must not hold: with the port in its hand, no service could follow this one.

        And two daemons that held each other's lifeline would never end.
        """
        for other in self._daemons:
            if other is not daemon:
                other.let_go()
        for listener in self.LISTENERS:
            listener.close()
        if self._latecomers:
            self._latecomers.let_go()
        for worker in self.WORKERS.values():
            worker.tmp.close()


def _beat(worker: Worker) -> float:
    """Return when the worker's main thread was there last."""
    beat: float = worker.tmp.last_update()
    return beat


def _begun(worker: Worker) -> bool:
    """Tell whether the worker serves. Until then the file of its beats has the time of day, which is far later."""
    return _beat(worker) <= time.monotonic()
