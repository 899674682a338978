"""The connections of a worker: a fixed number of places, each with a connection that is made when it is first needed.

They wait for the same few rows, so more of them would not sell faster. psycopg's own pool connects in threads of its
own: who asks while the server is away hears nothing of the reason, and waits for all of its patience.
"""

from __future__ import annotations

import os
import queue
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg

from service.mode import Busy, NotWritten
from service.stores.postgres_link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.stores.postgres_link import Bounds

CONNECTIONS_MAX = 4
"""For who buys, of each worker: of three hosts with four workers each, half of the 100 that PostgreSQL allows."""


class Pool:
    """Links to one server. Make it in each worker, after the fork."""

    def __init__(self, url: str, bounds: Bounds, statements: Mapping[str, str], most: int | None = None) -> None:
        """``most`` connections at once, CONNECTIONS_MAX if nothing is said."""
        self._url = url
        self._bounds = bounds
        self._statements = statements
        self._process = os.getpid()
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()  # a quarter of what a Queue takes
        for _ in range(most or CONNECTIONS_MAX):
            self._places.put(None)
        self._closed = False
        self._free: list[Link] = []
        """The one used last is used next: it is the warmest, and there are no more than are needed at once."""

    @contextmanager
    def link(self, *, wait: bool = True) -> Iterator[Link]:
        """Have a connection for oneself. Raises ``Busy`` if none is free in time, and ``NotWritten``."""
        wait_s = self._bounds.wait_s if wait else 0.0
        try:
            self._places.get(timeout=wait_s)
        except queue.Empty:
            raise Busy(wait_s) from None
        link: Link | None = None
        try:
            link = self._warm() or self._made()
            yield link
        finally:
            if link:
                self._free.append(link)
            self._places.put(None)
            if self._closed:  # while somebody had it
                self.close()

    def close(self) -> None:
        """End all connections; those that somebody has, when they are given back.

        Those of the process that this one was forked from are not ours.
        """
        self._closed = True
        with suppress(IndexError):
            while True:
                link = self._free.pop()
                if self._process == os.getpid():
                    link.close()

    def _warm(self) -> Link | None:
        """Return a connection that was used before, unless the server has ended it, or was started again."""
        with suppress(IndexError):
            link = self._free.pop()
            if link.alive():
                return link
            link.close()
        return None

    def _made(self) -> Link:
        try:
            return Link(self._url, self._bounds, self._statements)
        except psycopg.OperationalError as error:
            raise NotWritten("PostgreSQL cannot be reached, so nothing was done", error) from error
