"""One whom no lock keeps out: a sale of somebody else comes into a journal right before each batch that is appended."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from service.stores import journal
from service.stores.sealed import seal, unseal
from tests.counter import buying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def sells_first(path: Path, left: int) -> Iterator[pytest.MonkeyPatch]:
    """Let a stranger buy tickets 2 and 3 as version 2, after which ``left`` are left, before whoever appends."""
    stranger = unseal(path.read_bytes().splitlines(keepends=True)[-1])
    stranger |= {"version": 2, "order": buying().order, "tickets": [2, 3], "quantity": 2, "count": left}
    append = journal.append

    def late(descriptor: int, lines: bytes) -> int:
        with path.open("ab") as other:
            other.write(seal(stranger))
        return append(descriptor, lines)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "append", late)
        yield patch
