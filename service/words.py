"""What a setting may be, where a type does not say it: each takes what was written, or raises ``ValueError``.

And what was probably meant by a name that is none.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

PORT_MAX = 65_535
HANG_S_MIN = 10.0
"""A worker may be without a processor for a while: that is no reason to end it."""

NAME_MAX = 100
"""Longer ones are cut off, for to compare them takes time."""


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known name that looks most like one that is none; nothing if none does."""
    return next(iter(difflib.get_close_matches(name[:NAME_MAX], known, n=1)), "")


def address(text: str) -> str:
    """Take HOST:PORT."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", text)
    if not match or int(match[2]) > PORT_MAX:
        raise ValueError
    return text


def digits(value: object) -> object:
    """Take a whole number that is written with digits alone."""
    if isinstance(value, str) and not re.fullmatch("[0-9]+", value):  # not 4.0, 1_0 or ٣, which Python would take
        raise ValueError
    return value


def word(value: object) -> object:
    """Take ``true`` or ``false``, and no other word for it."""
    if isinstance(value, str) and value not in {"true", "false"}:
        raise ValueError
    return value


def hang(hang_s: float) -> float:
    """Take no time, or one in which a worker that is well does something."""
    if 0 < hang_s < HANG_S_MIN:
        raise ValueError
    return hang_s


def place(text: object) -> object:
    """Take a name that is not empty."""
    if not str(text).strip():
        raise ValueError
    return text
