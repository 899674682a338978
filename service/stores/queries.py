"""SQL by name: statements stand in ``.sql`` files, each under a line with its name and lines that describe it."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "sql"
HEAD = re.compile(r"^-- name: ([a-z_0-9]+)\n((?:-- .*\n)+)", re.MULTILINE)
"""A statement without a description is none: whoever adds one says what it is for."""


def load(engine: str, file: str) -> dict[str, str]:
    """Return the statements of ``sql/<engine>/<file>.sql`` by name, in the order of the file."""
    text = (FOLDER / engine / f"{file}.sql").read_text(encoding="utf-8")
    heads = list(HEAD.finditer(text))
    ends = [*(head.start() for head in heads), len(text)][1:]
    found = {head[1]: text[head.end() : end].strip() for head, end in zip(heads, ends, strict=bool(heads))}
    if len(found) != text.count("-- name: ") or not all(found.values()):
        raise ValueError(f"{engine}/{file}.sql has a statement without a description, without a text, or twice")
    return found
