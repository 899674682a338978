"""The article's form of an event, ``{"count": 10}``, as what an engine begins with: a file for each event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from service.stores import disk
from service.stores.document import documents
from service.stores.replay import Refused
from service.stores.standing import CAPACITY_MAX
from service.values import EVENT_NAME

if TYPE_CHECKING:
    from pathlib import Path


def seeds(directory: Path) -> dict[str, int]:
    """Return the capacity of each event that ``directory`` has a file for, if it is there. Raises ``Refused``."""
    try:
        return {path.stem: _capacity(path) for path in documents(directory)}
    except OSError as error:
        raise Refused(f"data directory {directory} cannot be read ({error.strerror}: {error.filename})") from error


def _capacity(path: Path) -> int:
    try:
        said = json.loads(disk.whole(path))
    except ValueError:
        said = None
    count = said.get("count") if isinstance(said, dict) and len(said) == 1 else None
    if not EVENT_NAME.fullmatch(path.stem) or type(count) is not int or not 0 <= count <= CAPACITY_MAX:
        raise Refused(
            f'{path} is not what an engine can begin with: expected {{"count": N}} with N from 0 to {CAPACITY_MAX}, in '
            "a file that is named for its event; what files have sold stays with files, and --url (TURNSTILE_URL) is "
            "set: unset it, or choose another --data"
        )
    return count
