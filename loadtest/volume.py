"""A small file system, to be filled: in memory, seen by none but those who are started into it, and gone with us.

It is mounted in a mount namespace of its own, which one process keeps open as long as it can read from us; so nothing
stays mounted, whatever becomes of us. Who is not root gets a user namespace too, where the system gives him one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.servers.process import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_BYTES = 64 << 20
"""Room for all the orders of a scene, and soon filled."""
BALLAST = "ballast"
BLOCKS_BYTES = (1 << 20, 1 << 12)
"""Written as long as they fit: the large ones for speed, and then a page at a time."""
END_S = 10.0
MOUNT = 'mount -t tmpfs -o "size=$2,mode=700" tmpfs "$1" && echo mounted && exec cat'
"""What keeps it: ``cat`` ends when our end of its input is closed, and then the file system goes too."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system at ``path``, as those see it who are started into it."""

    path: Path
    keeper: subprocess.Popen[str]

    @property
    def here(self) -> Path:
        """Where we see it."""
        return Path(f"/proc/{self.keeper.pid}/root{self.path}")

    @property
    def into(self) -> tuple[str, ...]:
        """The words before a command that is to be started into it, in the directory that we are in."""
        user = ("--user", "--preserve-credentials") if os.geteuid() else ()
        return ("nsenter", "--target", str(self.keeper.pid), "--mount", *user, "--", "env", "-C", str(Path.cwd()))

    def fill(self) -> None:
        """Write ballast until there is no room for a page more."""
        with (self.here / BALLAST).open("ab", buffering=0) as file:
            for size in BLOCKS_BYTES:
                with contextlib.suppress(_Full):
                    for _ in range(SIZE_BYTES // size):
                        _write(file.fileno(), bytes(size))

    def free(self) -> None:
        """Take the ballast away."""
        (self.here / BALLAST).unlink(missing_ok=True)


@contextlib.contextmanager
def mounted(path: Path) -> Iterator[Volume]:
    """Mount one at ``path``, a directory, and leave there what was in it in the end. Raises ``Missing``."""
    for program in ("unshare", "nsenter"):
        if shutil.which(program) is None:
            raise Missing(f"there is no {program} here, which gives a small file system: apt install util-linux")
    apart = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    command = ["unshare", *apart, "sh", "-c", MOUNT, "sh", str(path.resolve()), str(SIZE_BYTES)]
    keeper = subprocess.Popen(  # noqa: S603  # programs of the system, by their command line
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        if keeper.stdout is None or keeper.stdout.readline().strip() != "mounted":
            said = keeper.communicate(timeout=END_S)[1].strip().splitlines()
            raise Missing(
                f"a small file system cannot be mounted here ({said[-1] if said else 'mount said nothing'}): "
                "run as root, where mounting is allowed, or leave out full-disk"
            )
        volume = Volume(path.resolve(), keeper)
        try:
            yield volume
        finally:
            volume.free()
            shutil.copytree(volume.here, path, dirs_exist_ok=True)
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.communicate(timeout=END_S)
        keeper.kill()
        keeper.wait()


def check() -> None:
    """Raise ``Missing`` where there is no small file system to be had."""
    with tempfile.TemporaryDirectory() as name, mounted(Path(name)):
        pass


class _Full(Exception):
    """There is no room for that."""


def _write(descriptor: int, block: bytes) -> None:
    try:
        os.write(descriptor, block)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _Full from error
        raise
