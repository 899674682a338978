"""The document of an event: the small file that a person can ``cat``, and a checkpoint of the journal beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from service.mode import Damaged
from service.rules import Event
from service.stores.sealed import seal, unseal

if TYPE_CHECKING:
    from pathlib import Path


def documents(directory: Path) -> list[Path]:
    """Return the paths of all documents in ``directory``, in the order of their names."""
    return sorted(directory.glob("*.json"))


def rendered(event: Event, covered: int) -> bytes:
    """Return the document's text for ``event``; ``covered`` is how many bytes of the journal it covers."""
    return seal(
        {
            "event": event.name,
            "capacity": event.capacity,
            "count": event.count,
            "version": event.version,
            "journal": covered,
        }
    )


def parsed(document: Path) -> tuple[Event, int]:
    """Return the event and how many bytes of the journal are covered. Raises ``Damaged`` if it is not whole."""
    text = document.read_bytes()
    try:
        values = unseal(text)
    except Damaged:
        raise Damaged(
            f"{document.name} does not hold one whole document but {len(text)} bytes: {text[:80]!r}"
        ) from None
    return Event(values["event"], values["capacity"], values["count"], values["version"]), values["journal"]


def private(path: Path, flags: int) -> int:
    """Open a file for the owner alone, and never through a symbolic link. Return its descriptor."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def rewriting(path: Path) -> BinaryIO:
    """Open a private file to fill it anew; it is empty from this moment on."""
    return os.fdopen(private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")
