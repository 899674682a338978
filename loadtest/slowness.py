"""A slow disk: each fsync of some processes takes longer, for a while.

The kernel's own means are ``strace``'s: it holds a system call back at its entrance. That needs no device and no mount,
only leave to trace processes of one's own, and works with every file system. It makes other calls a little slower too.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.servers.process import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DELAY_US = 100_000
"""How long an fsync is held back: below the patience of etcd's nodes with each other, which is 200 ms here."""
CALLS = "fsync,fdatasync"
ATTACH_S, END_S, SLEEP_S = 10.0, 10.0, 60
POLL_S = 0.02


@contextlib.contextmanager
def slowed(pids: Sequence[int]) -> Iterator[subprocess.Popen[str]]:
    """Hold back each fsync of these processes, and of those that they start meanwhile.

    Yields what does so. Raises ``Missing`` where that cannot be, or was not so until the end.
    """
    if shutil.which("strace") is None:
        raise Missing("there is no strace here, which makes a disk slow: apt install strace, or leave out slow-disk")
    command = ["strace", "-f", "-qqq", "-e", f"trace={CALLS}", "-e", "signal=none"]
    command += ["-e", f"inject={CALLS}:delay_enter={DELAY_US}", "-o", "/dev/null"]
    command += [word for pid in pids for word in ("-p", str(pid))]
    tracer = subprocess.Popen(  # noqa: S603  # a program of the system, by its command line
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _wait_until_attached(tracer, pids)
        yield tracer
        if tracer.poll() is not None:
            raise Missing(f"strace, which holds back each fsync, ended before it was to, with {tracer.returncode}")
    finally:
        tracer.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            tracer.communicate(timeout=END_S)
        tracer.kill()
        tracer.wait()


def check() -> None:
    """Raise ``Missing`` where nobody can be made slow."""
    with subprocess.Popen(["sleep", str(SLEEP_S)]) as sleeper:  # noqa: S603, S607  # wherever the system has it
        try:
            with slowed([sleeper.pid]):
                pass
        finally:
            sleeper.kill()


def _wait_until_attached(tracer: subprocess.Popen[str], pids: Sequence[int]) -> None:
    deadline = time.monotonic() + ATTACH_S
    while not all(map(_is_traced, pids)):
        if tracer.poll() is not None or time.monotonic() > deadline:
            tracer.kill()
            said = tracer.communicate()[1].strip().splitlines()
            raise Missing(
                f"strace cannot hold back an fsync here ({said[0] if said else 'it was too slow to begin'}): "
                "run as root, or where processes of one's own may be traced, or leave out slow-disk"
            )
        time.sleep(POLL_S)


def _is_traced(pid: int) -> bool:
    """Tell whether a process is traced, or is there no more."""
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
