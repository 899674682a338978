"""A disk that fails at one step: what comes before is done, and what comes after it too."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from service.stores import disk
from service.stores.disk import NotSynced

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

STEPS = ("private", "write", "write_over", "truncate", "sync", "sync_names", "rename", "link", "unlink")
READ_ONLY = os.O_RDONLY


class FailingDisk:
    """Fails at the ``fails_at``-th step that changes something, with ``error``; ``short``: half of a write is done."""

    def __init__(self, patch: pytest.MonkeyPatch, fails_at: int, error: int, *, short: bool = False) -> None:
        self.failed = ""
        self._left = fails_at
        self._error = error
        self._short = short
        for name in STEPS:
            patch.setattr(disk, name, self._failing(name, getattr(disk, name)))

    def _failing(self, name: str, real: Callable[..., int]) -> Callable[..., int]:
        def step(*arguments: object) -> int:
            if name == "private" and arguments[1] == READ_ONLY:
                return real(*arguments)
            self._left -= 1
            if self._left != -1:
                return real(*arguments)
            self.failed = name
            if name == "write" and self._short:
                descriptor, text = arguments
                assert isinstance(text, bytes)
                return real(descriptor, text[: len(text) // 2])
            kind = NotSynced if name.startswith("sync") else OSError
            raise kind(self._error, os.strerror(self._error))

        return step


FULL, BROKEN, READ_ONLY_FILES = errno.ENOSPC, errno.EIO, errno.EROFS
