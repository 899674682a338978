"""Redis as what is copied, and as the copy.

No lock keeps out all who sell there: what they did meanwhile shows in the digest at the end.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.commands import Sweep
from service.mode import Damaged
from service.outcomes import Cancelled, Confirmed, Held, NoSuchEvent, NoSuchOrder, Sold
from service.rules import Used
from service.stores import redis_notes
from service.stores.redis_keyspace import Keyspace
from service.stores.replay import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.outcomes import Reply
    from service.rules import Page

WAIT_S = 60.0
KEYS_AT_ONCE = 500


class Keys(Keyspace):
    """All keys that begin with one prefix."""

    def __init__(self, url: str) -> None:
        super().__init__(url, WAIT_S)
        self.store = self

    @contextmanager
    def held(self) -> Iterator[None]:
        self.open()
        try:
            if self._link.ask(b"EXISTS", self._mark):
                raise Refused("what is in Redis is an incomplete copy itself")
            yield
        finally:
            self.close()

    def notes(self, name: str) -> Iterator[tuple[int, Used]]:
        """Yield all answers: which of them belong to a change, a change does not say here."""
        begins = self._root(name) + b":key:"
        for keys in self._found_by(begins + b"*"):
            for key, text in zip(keys, self._link.ask(b"MGET", *keys), strict=True):
                if text is None:
                    continue  # its day is over since
                said = json.loads(text)
                reply = redis_notes.reply_of(said["reply"], Sweep(name))
                yield _version(reply), Used(key.removeprefix(begins).decode(), said["asked"], reply, float(said["at"]))

    @contextmanager
    def filling(self) -> Iterator[None]:
        self.open()
        try:
            found = self.names("", 1)
            if found and not self._link.ask(b"EXISTS", self._mark):
                raise Refused(f"there are events under this prefix already ({found[0]}): choose another prefix")
            self._link.ask(b"SET", self._mark, b"1")
            for pattern in (f"{{{self._prefix}:*", f"{self._prefix}:place:*", self._names.decode()):
                for keys in self._found_by(pattern.encode()):
                    self._link.ask(b"UNLINK", *keys)
            yield
        finally:
            self.close()

    def append(self, name: str, pages: list[Page]) -> None:  # noqa: ARG002  # the pages say it
        for page in pages:
            self.write(page)

    def finish(self) -> None:
        self._link.ask(b"DEL", self._mark)
        self.close()

    def _found_by(self, pattern: bytes) -> Iterator[list[bytes]]:
        cursor = b"0"
        while True:
            cursor, keys = self._link.ask(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % KEYS_AT_ONCE)
            if keys:
                yield keys
            if cursor == b"0":
                return


def _version(reply: Reply) -> int:
    """Return the version that a reply was given at, or that its order was made with."""
    if isinstance(reply, Sold | Held | Confirmed | Cancelled):
        return reply.order.version
    if isinstance(reply, NoSuchEvent | NoSuchOrder):
        raise Damaged(f"a key in Redis keeps {reply}, which no key keeps")
    return reply.event.version
