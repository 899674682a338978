"""SQLite as what is copied, and as the copy."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.flock import flock
from service.stores import queries
from service.stores.lines import used_of
from service.stores.replay import Refused
from service.stores.sealed import unseal
from service.stores.sqlite import INCOMPLETE, Sqlite
from service.stores.sqlite_tables import READ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.rules import Page, Used

COPYING = queries.load("sqlite", "copying")


class SqliteFile(Sqlite):
    """A database file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.store = self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the turn to write: whoever wants to sell waits, as long as they have patience."""
        if not self.path.is_file():
            raise Refused(f"there is no database {self.path}")
        self._open()
        try:
            with flock(self.lock, wait=True), self.transaction():
                self._check()
                yield
        finally:
            self.close()

    def _check(self) -> None:
        tables = {name for (name,) in self._writer.execute(READ["tables"])}
        if "editions" not in tables:
            raise Refused(f"{self.path} is no store of this service")
        self._migrate(self._writer)

    def notes(self, name: str) -> Iterator[tuple[int, Used]]:
        for version, line in self._reader.execute(COPYING["notes"], (name,)):
            yield version, used_of(unseal(line.encode()))

    @contextmanager
    def filling(self) -> Iterator[None]:
        self._open()
        try:
            self._must_be_free()  # before waiting: FROM may be the very same file
            with flock(self.lock, wait=True):
                self._empty()
                yield
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        finally:
            self.close()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.open()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> Refused:
        why = error.strerror if isinstance(error, OSError) else error
        return Refused(f"{self.path} cannot be used as a database ({why}): choose another path")

    def _empty(self) -> None:
        with self.transaction():
            tables = {name for (name,) in self._writer.execute(READ["tables"])}
            self._must_be_free()
            if "editions" in tables:
                self._writer.execute(COPYING["unmark"])
            self._migrate(self._writer)
            for name in ("keys", "holds", "changes", "returned", "taken", "events"):
                self._writer.execute(COPYING[f"empty_{name}"])
            self._writer.execute(COPYING["mark"])

    def _must_be_free(self) -> None:
        """Raise ``Refused`` if there is an event, and it is of no copy that did not come to its end."""
        tables = {name for (name,) in self._writer.execute(READ["tables"])}
        if "editions" not in tables or self._writer.execute(READ["edition"]).fetchone()[1] == INCOMPLETE:
            return
        for (name,) in self._writer.execute(READ["names"], ("", 1)):
            raise Refused(f"{self.path} has events already ({name}): choose a path without any")

    def append(self, name: str, pages: list[Page]) -> None:  # noqa: ARG002  # the pages say it
        with self.transaction():
            for page in pages:
                self.write(page)

    def finish(self) -> None:
        with self.transaction():
            self._writer.execute(COPYING["unmark"])
