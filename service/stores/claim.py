"""The claim on a data directory: one service at a time sells from it, whatever its mode."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.stores import disk
from service.stores.replay import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from service.stores.document import Checkpoint


@dataclass(slots=True)
class Claimed:
    """A data directory that is ours until this process and all its children have ended: the kernel frees it then."""

    directory: Path
    descriptor: int
    mended: list[str] = field(default_factory=list)
    """What had to be mended, one sentence each."""
    believed: dict[str, Checkpoint] = field(default_factory=dict)
    """What documents said that were believed without reading their journals from the first line, by event."""

    def free(self) -> None:
        """Give it up."""
        os.close(self.descriptor)


def claim(directory: Path, owner: str) -> Claimed:
    """Claim a directory for ``owner``. Raises ``Refused`` when another has it."""
    descriptor = disk.private(directory / "service.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another service"
        os.close(descriptor)
        raise Refused(
            f"data directory {directory} is in use by {holder}: stop it, or choose another directory"
        ) from None
    try:
        disk.truncate(descriptor, 0)
        disk.write_over(descriptor, f"{owner}\n".encode())
    except BaseException:
        os.close(descriptor)  # else nobody could have it as long as this process lives
        raise
    return Claimed(directory, descriptor)
