"""Why a store failed: what is for the log, and not for buyers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from service.mode import NotWritten, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable


def because(words: str) -> Callable[[Exception], bool]:
    """Return what tells whether an error came about for a reason that has these words in it."""
    return lambda error: isinstance(error, NotWritten | Unknown) and re.search(words, error.why) is not None
