"""What is not for everybody to see: a token, and an address with a password in it. It may stand in a file."""

from __future__ import annotations

import re
from pathlib import Path

BYTES_MAX = 4096
PASSWORD = re.compile(r"://[^@]*:[^@]*@|password=")
"""What an address has a password in."""


class NoSecret(Exception):
    """A file holds none. The message says what was expected, and why."""


def read(place: str) -> str:
    """Return what a file holds, without the line break at its end. Raises ``NoSecret``."""
    try:
        with Path(place).open("rb") as file:
            text = file.read(BYTES_MAX).decode()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise NoSecret(f"is {place!r}: expected a file that can be read ({why})") from None
    return text.removesuffix("\n").removesuffix("\r")


def seen_by_all(called: str, instead: str) -> str:
    """Return a sentence for a secret on the command line: ``ps`` shows it to everybody on the machine."""
    return f"everybody on this machine can read {called} in the list of processes: {instead}"
