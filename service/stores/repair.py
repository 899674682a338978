"""Put right what can be put right from the journals, and refuse what cannot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from service.stores import disk, guard, stopped
from service.stores.claim import claim
from service.stores.closed_index import FILE
from service.stores.document import replace
from service.stores.index_check import index_looked_at
from service.stores.journal import closed
from service.stores.recovery import events, make_whole
from service.stores.replay import Refused, unusable

if TYPE_CHECKING:
    from pathlib import Path


def repaired(directory: Path) -> list[str]:
    """Repair a store, and return what was done, a sentence each.

    All journals are read. Raises ``Refused`` if one is damaged, or while a service runs there.
    """
    try:
        if not events(directory) | closed(directory).keys():
            raise Refused(f"{directory} holds no event")
        claimed = claim(directory, f"a repair (process {os.getpid()})")
        try:
            guard.narrowed(directory)
            marks = stopped.marks(directory)
            done = [_written_anew(mark) for mark in marks]
            make_whole(claimed, verify=True)
            for mark in marks:  # not before: a repair that is refused leaves the event as it was, and nobody sells
                stopped.lift(mark)
            return [*done, *claimed.mended, *_without_index(directory)]
        finally:
            claimed.free()
    except OSError as error:
        raise unusable(directory, error) from error


def _written_anew(mark: Path) -> str:
    """Write a journal that could not be synced to a new file."""
    journal = mark.with_suffix("")
    if not journal.exists():
        return f"{mark.name}: taken away, for there is no {journal.name}"
    names = [path for _, path in closed(journal.parent).get(journal.stem, []) if path.samefile(journal)]
    replace(journal, disk.whole(journal))
    for name in names:  # of one who was closing it: the next steps find it so again
        disk.unlink(name)
        disk.link(journal, name)
    return f"{journal.name}: written to a new file, and can be sold from again"


def _without_index(directory: Path) -> list[str]:
    """Remove an index that does not fit: the next service makes it again."""
    wrong, _ = index_looked_at(directory)
    if wrong:
        for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
            (directory / name).unlink(missing_ok=True)
    return [f"{FILE}: removed, for it did not fit the journals; the next service makes it again"] if wrong else []
