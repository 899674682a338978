"""The steps that a store takes at the disk, recorded by the seam that all of them go through (``stores/disk.py``)."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.stores import disk
from tests.crash_states import IGNORED, Names, Synced, Told, Truncated, Written, crashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pytest

    from tests.crash_states import Crash, Step

REAL: dict[str, Callable[..., int]] = {
    name: getattr(disk, name) for name in vars(disk) if callable(getattr(disk, name))
}


class Killed(BaseException):
    """The end of a process that is killed."""


@dataclass(slots=True)
class Recorder:
    """The steps of a workload in a folder. At step ``dies_at`` its process is killed: nothing that follows is done."""

    folder: Path
    steps: list[Step] = field(default_factory=list)
    dies_at: int | None = None
    _files: dict[int, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:  # noqa: D105  # what is in the folder is there before the first step
        for path in sorted(self.folder.iterdir()):
            file = self._files.setdefault(path.stat().st_ino, len(self._files))
            self.names[path.name] = file
            self.texts[file] = path.read_bytes()

    def record(self, patch: pytest.MonkeyPatch) -> None:
        """Record from now on, as long as the patch lasts."""
        for name in ("private", "write", "write_over", "truncate", "sync", "sync_names", "rename", "link", "unlink"):
            patch.setattr(disk, name, getattr(self, f"_{name}"))

    def told(self, lines: Mapping[str, int]) -> None:
        """Note what somebody was told."""
        self.steps.append(Told(lines))

    def crashes(self) -> Iterator[Crash]:
        """Yield each moment at which the power may go."""
        return crashes(self.names, self.texts, self.steps)

    def _step(self, step: Step) -> None:
        if self.dies_at is not None and len(self.steps) >= self.dies_at:
            raise Killed
        self.steps.append(step)

    def _file(self, descriptor: int) -> int | None:
        """Return which file it is, of those that are recorded."""
        return self._files.get(os.fstat(descriptor).st_ino)

    def _private(self, path: Path, flags: int) -> int:
        new = bool(flags & os.O_CREAT) and not path.exists() and not path.name.startswith(IGNORED)
        if new:
            file = 1 + max(self._files.values(), default=-1)  # its inode may have been another's, who is gone
            self._step(Names(((path.name, file),)))
        elif flags & os.O_TRUNC:
            self._step(Truncated(self._files[path.stat().st_ino], 0))
        descriptor = REAL["private"](path, flags)
        if new:
            self._files[os.fstat(descriptor).st_ino] = file
        return descriptor

    def _write(self, descriptor: int, text: bytes) -> int:
        appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
        at = os.fstat(descriptor).st_size if appends else os.lseek(descriptor, 0, os.SEEK_CUR)
        self._written(descriptor, at, text)
        return REAL["write"](descriptor, text)

    def _write_over(self, descriptor: int, text: bytes) -> int:
        self._written(descriptor, 0, text)
        return REAL["write_over"](descriptor, text)

    def _written(self, descriptor: int, at: int, text: bytes) -> None:
        if (file := self._file(descriptor)) is not None:
            self._step(Written(file, at, bytes(text), ((0, len(text)),)))

    def _truncate(self, descriptor: int, size: int) -> None:
        if (file := self._file(descriptor)) is not None:
            self._step(Truncated(file, size))
        REAL["truncate"](descriptor, size)

    def _sync(self, descriptor: int) -> None:
        if (file := self._file(descriptor)) is not None:
            self._step(Synced(file))

    def _sync_names(self, folder: Path) -> None:
        if folder == self.folder:
            self._step(Synced(None))

    def _rename(self, path: Path, name: Path) -> None:
        self._step(Names(((name.name, self._files[path.stat().st_ino]), (path.name, None))))
        REAL["rename"](path, name)

    def _link(self, path: Path, name: Path) -> None:
        if not name.exists():
            self._step(Names(((name.name, self._files[path.stat().st_ino]),)))
        REAL["link"](path, name)

    def _unlink(self, path: Path) -> None:
        if path.exists():
            self._step(Names(((path.name, None),)))
        REAL["unlink"](path)
