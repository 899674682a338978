"""Where processes keep what they count: a private folder in memory, with a file a process and kind.

The folder belongs to one service, from its start to its end, and holds nothing that a start needs. What dead processes
have counted is added up in one file a kind, so a service whose workers are replaced for a year keeps as many files as
on its first day. Whoever adds up keeps readers out meanwhile: else they would count a file twice, or miss it. The door
between them is opened once, before the fork: the lock at it is a process's own (``lockf``), and whatever happens to its
name, or to the room for open files, they find it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Path("/dev/shm")  # noqa: S108  # the folder that is made in it is private
"""Where there is one: what is kept there waits for no disk, and no fsync of the store waits for it."""
PREFIX = "turnstile-metrics-"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""By this the client knows its folder. It must be set before the client is imported."""
ROOM_BYTES = {"counter": 128 << 10, "histogram": 256 << 10, "gauge_livesum": 64 << 10}
"""What a process has of each kind, set aside at its start: the kernel ends who finds no room in a file in memory."""
UNREADABLE = (ValueError, RuntimeError, struct.error)
"""What the client raises for a file that is cut off."""
CLAIM, DOOR, DEAD = "claim", "door", "dead"


class Folder:
    """A folder for this service alone. Make it before the fork. The claim is free when all its processes have ended."""

    def __init__(self) -> None:
        """Raise ``OSError`` where no folder can be made."""
        place = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
        _clear(place)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        self._claim = os.open(self.path / CLAIM, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._claim, fcntl.LOCK_EX)
        self._door = os.open(self.path / DOOR, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.set_aside(DEAD)
        os.environ[VARIABLE] = str(self.path)

    def set_aside(self, process: int | str) -> None:
        """Set room aside for what a process counts. Raises ``OSError`` where there is none."""
        for kind, size in ROOM_BYTES.items():
            descriptor = os.open(self.path / f"{kind}_{process}.db", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            except OSError:
                (self.path / f"{kind}_{process}.db").unlink()  # half of a file could not be read
                raise
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Keep out who adds up, for one thread of a process at a time. Raises ``OSError`` where the folder is gone."""
        fcntl.lockf(self._door, fcntl.LOCK_SH)
        try:
            self.path.stat()
            yield
        finally:
            fcntl.lockf(self._door, fcntl.LOCK_UN)

    def fold(self, alive: set[int]) -> None:
        """Add up what processes have counted that are not alive any more. Their gauges vanish.

        Whoever reads just now may be paused, and is not waited for: then it is done the next time. Raises ``OSError``
        where the folder is gone, or cannot be looked at now.
        """
        files = [self.path / name for name in os.listdir(self.path) if name.endswith(".db")]  # noqa: PTH208  # it raises
        ended = [path for path in files if _process(path) not in {DEAD, *map(str, alive)}]
        if not ended:
            return
        try:
            fcntl.lockf(self._door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            for path in ended:
                # Not counted twice, whatever fails on the way: counts may be lost, and selling goes on.
                mine = path.rename(path.with_suffix(".ended"))
                with contextlib.suppress(*UNREADABLE):
                    _add_up(mine)
                mine.unlink(missing_ok=True)
        finally:
            fcntl.lockf(self._door, fcntl.LOCK_UN)

    def remove(self) -> None:
        """Remove it, at the end of the service."""
        shutil.rmtree(self.path, ignore_errors=True)


def _add_up(path: Path) -> None:
    from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415  # its folder must be set first

    kind = path.name.rpartition("_")[0]
    if not kind.startswith("gauge"):
        values = [(key, value) for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path))]
        dead = MmapedDict(str(path.with_name(f"{kind}_{DEAD}.db")))
        for key, value in values:
            dead.write_value(key, dead.read_value(key)[0] + value, 0.0)
        dead.close()


def _process(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _clear(place: Path) -> None:
    """Remove the folders of services that were killed: nobody has their claim any more."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or one that is only being made
            claim = os.open(folder / CLAIM, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(claim)
