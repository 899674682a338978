"""Gauges: what each process of the service uses, and which files it has, once a second while clients drive it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.growth import MASTER, WORKER, Process, Sample
from loadtest.servers.process import family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loadtest.drive import Progress
    from loadtest.serve import Service

EVERY_S = 1.0
FILE = "usage.jsonl"
PROC = Path("/proc")
STATUS = re.compile(r"^(Name|RssAnon|Threads):\s+(\S+)", re.MULTILINE)
"""Memory is what is no file's. A page that a fork shares counts from the beginning, and not only when it is copied."""


class Unread(Exception):
    """Nobody looked until the end, so nobody knows whether anything grows. The message says why, in one sentence."""


@contextlib.contextmanager
def read(
    hosts: Sequence[Service], place: Path, servers: Sequence[int], progress: Callable[[Progress], None]
) -> Iterator[Callable[[Progress], None]]:
    """Look at ``hosts``, which may be started again meanwhile, at their files in ``place``, and at ``servers``.

    What is seen is written down at once. Yields ``progress``, overheard: it says how many replies there were. Raises
    ``Unread``.
    """
    replies, over = [0], threading.Event()
    broken: list[Exception] = []

    def overheard(now: Progress) -> None:
        replies[0] = now.done
        progress(now)

    def look() -> None:
        with (place / FILE).open("w") as file:
            while not over.wait(EVERY_S):
                groups = {host.process.pid for host in hosts}
                server = len({pid for root in servers for pid in family(root)})
                processes = tuple(_processes(groups))
                sample = Sample(time.monotonic_ns(), replies[0], processes, _files(place), server)
                file.write(f"{json.dumps(asdict(sample))}\n")
                file.flush()

    def look_on() -> None:
        try:
            look()
        except Exception as error:  # noqa: BLE001  # it is told where somebody hears it, below
            broken.append(error)

    thread = threading.Thread(target=look_on, name="gauges", daemon=True)
    thread.start()
    try:
        yield overheard
    finally:
        over.set()
        thread.join()
    if broken:
        raise Unread(f"what the service uses could not be read until the end ({broken[0]!r})")


def load(path: Path) -> tuple[Sample, ...]:
    """Read what was seen; nothing, if nobody looked."""
    if not path.exists():
        return ()
    with path.open() as file:
        rows = [json.loads(line) for line in file if line.endswith("\n")]
    return tuple(
        Sample(
            row["at_ns"],
            row["replies"],
            tuple(Process(**each) for each in row["processes"]),
            {kind: (number, size) for kind, (number, size) in row["files"].items()},
            row["server"],
        )
        for row in rows
    )


def kind_of(name: str) -> str:
    """Return what kind of file has this name: what stands before the first dot is whose it is, and numbers differ."""
    return re.sub(r"\d+", "N", re.sub(r"^[^.]+", "*", name))


def _processes(groups: set[int]) -> Iterator[Process]:
    """Yield all processes of these process groups (proc(5): the name before may have blanks and brackets)."""
    for path in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, KeyError):  # it has just ended, or is about to, and has no memory any more
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            group = int(fields[2])
            if group not in groups or fields[0] in {"Z", "X"}:
                continue
            said = dict(STATUS.findall((path / "status").read_text()))
            descriptors = sum(1 for _ in (path / "fd").iterdir())
            plain = MASTER if int(path.name) == group else WORKER
            name = plain if said["Name"].startswith("python") else said["Name"]
            memory = 1024 * int(said["RssAnon"])
            yield Process(int(path.name), int(fields[19]), name, memory, descriptors, int(said["Threads"]))


def _files(place: Path) -> dict[str, tuple[int, int]]:
    """Return by kind the files that the service has in its data directories, and those of a database beside them."""
    found: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    data = [path for folder in place.glob("**/data") for path in folder.rglob("*")]
    for path in [*data, *place.glob("tickets.db*")]:
        with contextlib.suppress(OSError):  # it is gone again
            if path.is_file():
                number, size = found[kind_of(path.name)]
                found[kind_of(path.name)] = number + 1, size + path.stat().st_size
    return dict(found)
