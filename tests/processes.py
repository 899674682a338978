"""Which processes are still running, and what they are, from ``/proc``."""

from __future__ import annotations

import contextlib
from pathlib import Path


def alive_in(place: Path) -> list[str]:
    """Return the processes whose command line or working directory names ``place``, but for those that have ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (path / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if str(place) in command or (path / "cwd").resolve() == place:
                found.append(f"{path.name} {command}")
    return found


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


def state(pid: int) -> str:
    """Return the letter of a process's state; nothing, if there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""
