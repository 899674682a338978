"""``python -m tests.leaky_program``: the service with a mode that keeps something of each order, on purpose."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from service import __main__ as program
from service import catalogue
from service.modes.file_lock import FileLock

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply

MEMORY_BYTES = 300_000


class Leaky(FileLock):
    """Memory, a descriptor and a temporary file of each order are never given back."""

    name = "leaky"

    def __init__(self, *words: object) -> None:
        super().__init__(*words)  # type: ignore[arg-type]  # as the mode has them
        self._kept: list[bytes] = []
        self._open: list[int] = []

    def execute(self, command: Command) -> Reply:
        self._kept.append(secrets.token_bytes(MEMORY_BYTES))
        self._open.append(os.open(os.devnull, os.O_RDONLY))
        (self.store.directory / f".{secrets.token_hex(4)}.tmp").touch()
        return super().execute(command)


if __name__ == "__main__":
    catalogue.MODES[Leaky.name] = Leaky
    program.main()
