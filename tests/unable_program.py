"""``python -m tests.unable_program``: the service, of which no worker can start once there is a file ``unable``."""

from __future__ import annotations

from service import __main__ as program
from service import catalogue
from service.modes.file_lock import FileLock


class Unable(FileLock):
    """A file lock whose store cannot be opened while that file is there."""

    def open(self) -> None:
        if (self.store.directory / "unable").exists():
            raise OSError("the store cannot be opened")
        super().open()


if __name__ == "__main__":
    catalogue.MODES[Unable.name] = Unable
    program.main()
