"""Which processes are still running, from ``/proc``."""

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
