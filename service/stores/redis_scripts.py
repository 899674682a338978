"""The Lua scripts, and how a call of one is written in Redis' protocol.

A call is put together by hand: a client's general way takes longer than the script does.
"""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parent / "lua"


class Script:
    """One script of the folder, with the keyspace before it."""

    def __init__(self, name: str) -> None:
        """Read it. Its first line is for Redis: whether it writes, so that a refusal comes before anything is done."""
        first, _, rest = (FOLDER / f"{name}.lua").read_text().partition("\n")
        text = "\n".join([first, (FOLDER / "keyspace.lua").read_text(), rest]).encode()
        self.load = packed(b"SCRIPT", b"LOAD", text)
        """The command that makes the server know it."""
        self._call = packed(b"EVALSHA", sha1(text, usedforsecurity=False).hexdigest().encode(), b"1")[4:]
        self.writes = "no-writes" not in first

    def call(self, root: bytes, values: Sequence[bytes]) -> bytes:
        """Return the command that runs it on the event with this key."""
        parts = [b"*%d\r\n%b$%d\r\n%b\r\n" % (len(values) + 4, self._call, len(root), root)]
        parts += [b"$%d\r\n%b\r\n" % (len(value), value) for value in values]
        return b"".join(parts)


def packed(*words: bytes) -> bytes:
    """Return a command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


CREATE, DECIDE, PAGE, TICKETS, WRITE = map(Script, ("create", "decide", "page", "tickets", "write"))
