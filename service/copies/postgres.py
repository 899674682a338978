"""PostgreSQL as what is copied, and as the copy."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from service.stores import queries
from service.stores.lines import used_of
from service.stores.postgres import PREPARING, Postgres
from service.stores.postgres_link import Bounds, connected
from service.stores.postgres_values import recorded
from service.stores.replay import Refused
from service.stores.sealed import unseal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.rules import Page, Used

COPYING = queries.load("postgres", "copying")
PATIENT = Bounds(wait_s=60.0, still_s=86_400.0)
"""A lock is waited for as long as a batch of a seller may take; and kept in silence while a long event is copied."""
NOTES_AT_ONCE = 500


class Database(Postgres):
    """A database."""

    def __init__(self, url: str) -> None:
        super().__init__(url, PATIENT.wait_s)
        self.store = self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the table of events locked against all who sell."""
        with _refusing(), connected(self._url, PATIENT) as connection:
            if not connection.execute(PREPARING["there"]).fetchall()[0][0]:
                raise Refused("the database is no store of this service")
            if connection.execute(COPYING["marked"]).fetchall()[0][0]:
                raise Refused("the database is an incomplete copy itself")
            self.open()
            try:
                self.names("", 1)  # connects: once the table is locked, nobody can prepare what changes it
                with connection.transaction():
                    connection.execute(COPYING["keep"])
                    yield
            finally:
                self.close()

    def notes(self, name: str) -> Iterator[tuple[int, Used]]:
        with (
            connected(self._url, PATIENT) as connection,
            connection.transaction(),
            connection.cursor("notes") as cursor,  # at the server: they need not fit in memory
        ):
            cursor.itersize = NOTES_AT_ONCE
            for version, note in cursor.execute(COPYING["notes"], (name,)):
                yield int(str(version)), used_of(unseal(str(note).encode()))

    @contextmanager
    def filling(self) -> Iterator[None]:
        with _refusing():
            with connected(self._url, PATIENT) as connection, connection.transaction():
                connection.execute(PREPARING["alone"])
                there = connection.execute(PREPARING["there"]).fetchall()[0][0]
                marked = bool(there) and connection.execute(COPYING["unmark"]).rowcount > 0
                self._migrate(connection)
                found = connection.execute(PREPARING["any"]).fetchall()
                if found and not marked:
                    raise Refused(f"the database has events already ({found[0][0]}): choose one without any")
                connection.execute(COPYING["empty"])
                connection.execute(COPYING["mark"])
            self.open()
            try:
                yield
            finally:
                self.close()

    def append(self, name: str, pages: list[Page]) -> None:  # noqa: ARG002  # the pages say it
        self._done(*recorded(pages))

    def finish(self) -> None:
        with _refusing(), connected(self._url, PATIENT) as connection:
            connection.execute(COPYING["unmark"])


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        why = str(error).strip().partition("\n")[0]
        raise Refused(f"PostgreSQL cannot be used ({why}): start the server, or correct the address") from None
