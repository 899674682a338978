"""The claim on a data directory: one service at a time sells from it, or several of one mode that said they share it.

Who shares takes the claim for itself first. If that works, nobody else is there, and the store is made whole as by any
start; then the others are let in. If not, others sell already, and whoever comes joins them as a worker does: nothing
is recovered, for half a line may be one that somebody is writing. Starts that share come one after the other, through a
door of their own: else one could join another that was killed in the middle of recovery.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import disk
from service.stores.document import documents, parsed
from service.stores.replay import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.stores.document import Checkpoint

DOOR_S, POLL_S = 60.0, 0.02
"""How long a start waits for those before it, each of which may have to recover the store, and how often it looks."""


@dataclass(slots=True)
class Claimed:
    """A data directory that is ours until this process and all its children have ended: the kernel frees it then."""

    directory: Path
    descriptor: int
    first: bool = True
    """Nobody else sells from it yet, so it is to be made whole."""
    mended: list[str] = field(default_factory=list)
    """What had to be mended, one sentence each."""
    told: list[str] = field(default_factory=list)
    """Who else may reach into it, one sentence each."""
    believed: dict[str, Checkpoint] = field(default_factory=dict)
    """What documents said that were believed without reading their journals from the first line, by event."""

    def let_others_in(self) -> None:
        """Share what was claimed alone. Raises ``Refused`` when another took it in the instant between."""
        if not _locked(self.descriptor, fcntl.LOCK_SH):
            raise _in_use(self.directory, self.descriptor)

    def free(self) -> None:
        """Give it up."""
        os.close(self.descriptor)


def claim(directory: Path, owner: str) -> Claimed:
    """Claim a directory for ``owner`` alone. Raises ``Refused`` when another has it."""
    descriptor = _opened(directory, "service.lock")
    if not _locked(descriptor, fcntl.LOCK_EX):
        refused = _in_use(directory, descriptor)
        os.close(descriptor)
        raise refused
    try:
        disk.truncate(descriptor, 0)
        disk.write_over(descriptor, f"{owner}\n".encode())
    except BaseException:
        os.close(descriptor)  # else nobody could have it as long as this process lives
        raise
    return Claimed(directory, descriptor)


def join(directory: Path, owner: str) -> Claimed:
    """Claim a directory together with all who call themselves ``owner``, within ``door``. Raises ``Refused``."""
    with contextlib.suppress(Refused):
        return claim(directory, owner)
    descriptor = _opened(directory, "service.lock")
    if _locked(descriptor, fcntl.LOCK_SH) and _holder(descriptor) == owner:
        return Claimed(directory, descriptor, first=False, believed=_said(directory))
    refused = _in_use(directory, descriptor)
    os.close(descriptor)
    raise refused


@contextlib.contextmanager
def door(directory: Path) -> Iterator[None]:
    """Let one start at a time through, of those that share. The kernel lets the next one in when one was killed."""
    descriptor = _opened(directory, "service.door")
    deadline = time.monotonic() + DOOR_S
    try:
        while not _locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise Refused(
                    f"another service has been starting on data directory {directory} for {DOOR_S:g} s: look what it "
                    f"waits for, and start this one again"
                )
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _said(directory: Path) -> dict[str, Checkpoint]:
    """Return what each document says now, to hold the journals to it when they are read: others have seen to them."""
    said = {}
    for document in documents(directory):
        with contextlib.suppress(Damaged, OSError):  # no event that is sold: the next start that is alone sees to it
            said[document.stem] = parsed(document)
    return said


def _opened(directory: Path, name: str) -> int:
    return disk.private(directory / name, os.O_RDWR | os.O_CREAT)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip()


def _in_use(directory: Path, descriptor: int) -> Refused:
    holder = _holder(descriptor) or "another service"
    return Refused(f"data directory {directory} is in use by {holder}: stop it, or choose another directory")
