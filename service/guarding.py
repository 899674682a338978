"""What a browser is told with every reply, so that no other page can use it, and nobody keeps it. Pure.

The policy of a page says what it is made of, in ``pages.py``; all other replies are data, and nothing of them is to run
or to be shown in a frame. An order stands in its address and in its body, and whoever knows it may cancel it: so
neither is kept by a cache, nor told to other sites as where somebody came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

POLICY = "Content-Security-Policy"
EVERY = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
DATA = (*EVERY, (POLICY, "default-src 'none'; frame-ancestors 'none'"), ("Cache-Control", "no-store"))


def guarding(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the headers that are to be sent beside these: a page brings its own policy, and says who may keep it."""
    for name, _ in headers:
        if name == POLICY:
            return EVERY
    return DATA
