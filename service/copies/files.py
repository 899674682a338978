"""Files as what is copied, and as the copy."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.commands import Sweep
from service.stores import disk, fencing, recovery
from service.stores.claim import claim
from service.stores.document import replace
from service.stores.fencing import NOTED, START
from service.stores.journal import closed, path_of
from service.stores.json_file import JsonFile
from service.stores.lines import used_of
from service.stores.recovery import INCOMPLETE, events
from service.stores.replay import Refused, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.rules import Page, Used

KINDS = ("*.json", "*.jsonl", "*.stopped", "*.tmp", "orders.sqlite*")
"""What a copy may have left."""


class Files:
    """A data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = JsonFile(directory)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the directory as a service has it: all of it is read from its first line to its last."""
        if not self.directory.exists():
            raise Refused(f"there is no directory {self.directory}")
        if not self.directory.is_dir():
            raise Refused(f"{self.directory} is a file: expected a data directory or an address")
        if not events(self.directory) | closed(self.directory).keys():
            raise Refused(f"{self.directory} holds no event that could be copied")
        claimed = recovery.prepare(self.directory, self._owner, verify=True)
        for sentence in claimed.mended:
            sys.stderr.write(f"turnstile: {sentence}\n")
        try:
            self.store.open()
            yield
        finally:
            claimed.free()

    def notes(self, name: str) -> Iterator[tuple[int, Used]]:
        growing = path_of(self.directory / f"{name}.json")
        for path in [*(path for _, path in closed(self.directory).get(name, [])), growing]:
            place = START
            with os.fdopen(disk.private(path, os.O_RDONLY), "rb") as lines:
                for line in lines:
                    place, change = fencing.after(place, line)
                    if change and change["status"] == NOTED:
                        yield change["version"], used_of(change)

    @contextmanager
    def filling(self) -> Iterator[None]:
        try:
            disk.make_folder(self.directory)
            claimed = claim(self.directory, self._owner)
        except OSError as error:
            raise unusable(self.directory, error) from error
        try:
            mark = self.directory / INCOMPLETE
            there = events(self.directory) | closed(self.directory).keys()
            if there and not mark.exists():
                raise Refused(f"{self.directory} has events already ({min(there)}): choose a directory without any")
            left = [path for kind in KINDS for path in self.directory.glob(kind)] if mark.exists() else []
            replace(mark, b"a copy was begun here, and has not come to its end\n")
            for path in left:
                disk.unlink(path)
            self.store.open()
            yield
        finally:
            claimed.free()

    def append(self, name: str, pages: list[Page]) -> None:
        self.store.read(Sweep(name))
        for page in pages:
            self.store.expect(page)
        self.store.write_all(pages)

    def finish(self) -> None:
        disk.unlink(self.directory / INCOMPLETE)
        disk.sync_names(self.directory)

    @property
    def _owner(self) -> str:
        return f"a copy (process {os.getpid()})"
