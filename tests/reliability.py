"""The page of figures, ``docs/reliability.md``, whose parts are made by the commands that it names."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
MEMORY = Path("/dev/shm")  # noqa: S108  # a directory of our own there
"""Where an fsync costs nothing, if there is such a place."""


def fill(name: str, made: str) -> None:
    """Put what was made between ``<!-- name -->`` and ``<!-- /name -->``."""
    part = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    PAGE.write_text(part.sub(lambda place: f"{place[1]}{made}\n{place[2]}", PAGE.read_text()))


def folder() -> Path | None:
    """Return where to make temporary directories: in memory, if that can be."""
    return MEMORY if MEMORY.is_dir() else None
