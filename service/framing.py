"""Where a request ends (RFC 9112, 6 and 7), told from the bytes that have come. Pure.

A thread that reads a request while it is still coming belongs to whoever sends it slowly. So requests are cut out of
what has come, and a thread is given one that is whole. What is wrong with it is for gunicorn's parser to say, which
gets it as it is, and sees nothing behind it; where it ends is told here, or that it will not be waited for.
"""

from __future__ import annotations

import re

HEAD_END = b"\r\n\r\n"
HEAD_BYTES_MAX = 16 << 10
"""The longest request line and headers together."""
CHUNK_LINE_BYTES_MAX = 256
CHUNKS_BYTES_FACTOR = 8
"""A body in chunks may take so many times the bytes that are allowed without."""
FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding|expect):[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
PLAIN = re.compile(rb"(?!HEAD )[A-Z]{1,10} [!-~]+ HTTP/1\.1\r\n(?:[A-Za-z0-9-]+:[ -~]*\r\n)*\r\n")
"""A head in which nothing can be read in two ways, but for what its fields say. The reply to HEAD ends with its
headers, so whoever asked so would take the rest of a refusal for the next reply."""
FIELDS = re.compile(rb"\n(content-length|transfer-encoding|connection): *([^\r]*?) *\r", re.IGNORECASE)
SIZE = re.compile(rb"[0-9a-f]{1,8}(?=[ \t]*(;|$))", re.IGNORECASE)
DIGITS_MAX = 12
LENGTH, CODING, EXPECT, CONNECTION = b"content-length", b"transfer-encoding", b"expect", b"connection"


class Endless(Exception):
    """The headers do not come to an end within what is allowed."""


class TooLarge(Exception):
    """The body is larger than is allowed."""


def plain(request: bytes) -> bool:
    """Tell whether anybody would find the same end of this request, and its client wants to keep the connection.

    Then more can be read from it though nobody has parsed the request; else a part of it might pass for the next one.
    """
    head = PLAIN.match(request)
    if head is None:
        return False
    lengths = 0
    for name, value in FIELDS.findall(head[0]):
        if name.lower() == LENGTH and value.isdigit():
            lengths += 1
        elif name.lower() != CONNECTION or value.lower() != b"keep-alive":
            return False
    return lengths <= 1


class Arriving:
    """What has come on a connection, and how far it has been understood: nothing is looked at twice."""

    __slots__ = ("_at", "_body_bytes_max", "_chunks", "_head", "_size", "continues", "seen")

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self.seen = bytearray()
        self._begin()

    def _begin(self) -> None:
        self._head = 0  # where the head ends
        self._at = 0  # where to look on: for the end of the head, or for the next chunk; at last, where all ends
        self._size = 0  # of the chunks until there
        self._chunks = False
        self.continues = False
        """The client may wait to be told to send the body. Whoever tells it makes this false."""

    def next(self) -> bytes:
        """Return the next request, when all of it is there; else nothing. Raises ``Endless`` and ``TooLarge``."""
        if not self._head and not self._headed():
            return b""
        if self._chunks and not self._chunked():
            return b""
        if len(self.seen) < self._at:
            return b""
        request = bytes(self.seen[: self._at])
        del self.seen[: self._at]
        self._begin()
        return request

    def _headed(self) -> bool:
        end = self.seen.find(HEAD_END, max(self._at - len(HEAD_END), 0), HEAD_BYTES_MAX)
        if end < 0:
            if len(self.seen) >= HEAD_BYTES_MAX:
                raise Endless
            self._at = len(self.seen)
            return False
        self._head = self._at = end + len(HEAD_END)
        head = bytes(self.seen[: self._head])
        if fields := {match[1].lower(): match for match in FRAMING.finditer(head)}:
            self._framed(fields, newer=head.partition(b"\r\n")[0].endswith(b"HTTP/1.1"))
        return True

    def _framed(self, fields: dict[bytes, re.Match[bytes]], *, newer: bool) -> None:
        length, coding = (fields[name][2] if name in fields else b"" for name in (LENGTH, CODING))
        if coding and not length:
            self._chunks = coding.lower() == b"chunked"
        elif length.isdigit() and not coding:
            if len(length) > DIGITS_MAX or int(length) > self._body_bytes_max:
                raise TooLarge
            self._at += int(length)
        if newer and EXPECT in fields and fields[EXPECT][2].lower() == b"100-continue":
            self.continues = True
            start, end = fields[EXPECT].span()  # it is met here, so a thread need not
            del self.seen[start:end]
            self._head -= end - start
            self._at -= end - start

    def _chunked(self) -> bool:
        """Go on from chunk to chunk, and tell whether the last one is there. ``_at`` is then where all ends."""
        while self._at < len(self.seen):
            end = self.seen.find(b"\r\n", self._at, self._at + CHUNK_LINE_BYTES_MAX)
            size = SIZE.match(self.seen, self._at, max(end, self._at))
            if end < 0 and len(self.seen) - self._at < CHUNK_LINE_BYTES_MAX:
                return False
            if size is None:  # no chunk begins so: a thread need not wait to say it
                self._at, self._chunks = len(self.seen), False
                return True
            self._size += int(size[0], 16)
            if int(size[0], 16) == 0:
                return self._trailed(end)
            self._at = end + 2 + int(size[0], 16) + 2
            if self._size > self._body_bytes_max or self._at - self._head > CHUNKS_BYTES_FACTOR * self._body_bytes_max:
                raise TooLarge
        return False

    def _trailed(self, end: int) -> bool:
        """Tell whether what follows the last chunk is there, whose line ends at ``end``: fields, and an empty line."""
        last = self.seen.find(HEAD_END, end, end + HEAD_BYTES_MAX)
        if last < 0:
            if len(self.seen) - end >= HEAD_BYTES_MAX:
                raise Endless
            return False
        self._at, self._chunks = last + len(HEAD_END), False
        return True
