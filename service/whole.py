"""Whether a request has arrived whole, told from the bytes that are there. Pure.

A thread that reads a request while it is still coming belongs to whoever sends it slowly. So a request is given to a
thread when all of it is there, or when it is plain that it will be refused.
"""

from __future__ import annotations

import re

HEAD_END = b"\r\n\r\n"
HEAD_BYTES_MAX = 16 << 10
"""The longest request line and headers that are looked at; what is longer is for gunicorn to refuse."""
CHUNKS_END = b"0\r\n\r\n"
LENGTH = re.compile(rb"\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r")


def whole(seen: bytes, body_bytes_max: int) -> bool:
    """Tell whether ``seen``, all that has come of a request, is enough to answer it."""
    end = seen.find(HEAD_END)
    if end < 0:
        return len(seen) >= HEAD_BYTES_MAX
    head, body = seen[: end + 2].lower(), len(seen) - end - len(HEAD_END)
    if b"\nexpect:" in head:
        return True  # the rest comes when it has been asked for
    if b"\ntransfer-encoding:" in head:
        return seen.endswith(CHUNKS_END) or body > 2 * body_bytes_max
    length = LENGTH.search(head)
    return length is None or body >= int(length[1]) or int(length[1]) > body_bytes_max
