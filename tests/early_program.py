"""The service, of which the first worker is told to end before it has handlers of its own.

``python -m tests.early_program``; that worker's number is in ``told`` beside the data.
"""

from __future__ import annotations

import os
import signal

from service import __main__ as program
from service import catalogue
from service.modes.file_lock import FileLock


class Early(FileLock):
    """A file lock; a worker opens its mode at once after the fork."""

    def open(self) -> None:
        super().open()
        try:
            with (self.store.directory.parent / "told").open("x") as told:
                told.write(str(os.getpid()))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    catalogue.MODES[Early.name] = Early
    program.main()
