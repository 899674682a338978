"""``python -m tests.rotated_program``: the service, of which each worker hears SIGUSR1 as early as it can be met by it.

That is when the master's handler is gone, and its own is not there: a log that is rotated while workers start.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from service import __main__ as program

if TYPE_CHECKING:
    from collections.abc import Callable

SET: Callable[[int, Any], object] = signal.signal


def setting(number: int, handler: Any) -> object:  # noqa: ANN401  # as signal has it
    """Set a handler; where it is none, be met by the signal at once."""
    before = SET(number, handler)
    if (number, handler) == (signal.SIGUSR1, signal.SIG_DFL):
        os.kill(os.getpid(), number)
    return before


if __name__ == "__main__":
    signal.signal = setting  # type: ignore[assignment]
    program.main()
