"""One JSON object on one line, with a checksum as its last member.

The checksum is CRC-32 (the one of zlib, IEEE 802.3) over the object's text as it stands without the member ``crc``. It
tells a whole line from half a line and from one with flipped bits. It is no defence against a forger.
"""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

from service.mode import Damaged

SEAL = b',"crc":"'
ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
"""Made once: ``json.dumps`` with settings of one's own makes one for each call, which takes longer than encoding."""


def seal(value: dict[str, object]) -> bytes:
    """Return ``value`` as one checksummed line that ends with a newline."""
    text = ENCODER.encode(value).encode()
    return text[:-1] + SEAL + b'%08x"}\n' % crc32(text)


def unseal(line: bytes) -> dict[str, Any]:
    """Return the object on ``line``. Raises ``Damaged`` unless it is exactly what ``seal`` made."""
    text, mark, rest = line.rpartition(SEAL)
    text += b"}"
    if not mark or rest != b'%08x"}\n' % crc32(text):
        raise Damaged("not a whole line with a right checksum")
    value: dict[str, Any] = json.loads(text)
    return value
