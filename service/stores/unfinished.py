"""A journal that was being closed when somebody died, or when the store was copied: what a start finds of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from service.mode import Damaged
from service.stores import disk
from service.stores.replay import Refused, first_of

if TYPE_CHECKING:
    from pathlib import Path


def between(journal: Path, since: int, earlier: list[tuple[int, Path]]) -> bool:
    """Tell whether somebody died while closing the journal. Raises ``Refused`` where a closed one does not fit."""
    between = bool(earlier) and earlier[-1][1].samefile(journal)
    for began, path in earlier[: -1 if between else None]:
        if began >= since:
            raise Refused(
                f"{path} does not come before {journal.name}, so it is of an event that was started anew: remove "
                f"it, or restore the journal that belongs to it"
            )
    return between


def older_copy(journal: Path, earlier: list[tuple[int, Path]]) -> bool:
    """Tell whether a journal is how a closed one was before: of a store that was copied while it sold.

    More than one may have been closed since, while the copy was made.
    """
    with contextlib.suppress(Damaged):
        since = first_of(journal).since
        return any(
            began == since and not path.samefile(journal) and disk.whole(path).startswith(disk.whole(journal))
            for began, path in earlier
        )
    return False


def go_on(journal: Path, closed: Path) -> None:
    """Let a journal be the closed one again that it is an older copy of: the closing is finished from there."""
    spare = journal.with_suffix(".jsonl.tmp")
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(spare)
    disk.link(closed, spare)
    disk.rename(spare, journal)
