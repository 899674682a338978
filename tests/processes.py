"""Which processes are still running, and what they are, from ``/proc``."""

from __future__ import annotations

import contextlib
from pathlib import Path

from promises.apart import state

__all__ = ["alive_in", "alive_of", "children_of", "comm", "connected", "holds", "listening", "state"]


def alive_in(place: Path) -> list[str]:
    """Return the processes whose command line or working directory names ``place``, but for those that have ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (path / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if str(place) in command or (path / "cwd").resolve() == place:
                found.append(f"{path.name} {command}")
    return found


def children_of(parent: int) -> list[int]:
    """Return the children of a process that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, its_parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(its_parent) == parent and state not in {"Z", "X"}:
                found.append(int(path.parent.name))
    return found


def listening(port: int) -> Path:
    """Return the socket on which connections to ``port`` are accepted, by its name in ``/proc/<process>/fd``."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    inode = next(row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")
    return Path(f"socket:[{inode}]")


def connected(port: int) -> int:
    """Return how many connections to ``port`` are open at both ends."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def holds(pid: int, link: Path) -> bool:
    """Say whether a process has a file or a socket open."""
    with contextlib.suppress(OSError):  # it may have ended meanwhile
        return any(path.readlink() == link for path in Path(f"/proc/{pid}/fd").iterdir())
    return False


def alive_of(group: int) -> list[str]:
    """Return the processes of a group that have not ended (one that has may wait for its parent to hear of it)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state not in {"Z", "X"}:
                found.append(path.parent.name)
    return found


def comm(pid: int) -> str:
    """Return a process's name, as ``ps`` shows it; nothing, if there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
