"""``python -m tests.hang_program``: the service, with less patience than it has, and buyers whose orders never end.

An order of ``HANGS`` is never decided: whoever decides it stands still, with all that it has locked. One of ``DEAF``
stops the main thread of whoever decides it, in the middle of whatever it is at, and is decided.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from service import __main__ as program
from service import bounds, catalogue, words

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Decide
    from service.rules import Decision, Page

HANGS = "whose order never ends"
DEAF = "who makes the main thread deaf"
SERVICE = catalogue.deciding


def deciding(think_s: float) -> Decide:
    """Return the service's own decision, but for these two."""
    decide = SERVICE(think_s)

    def decided(page: Page, command: Command) -> Decision:
        buyer = getattr(command, "buyer", None)
        if buyer == HANGS:
            threading.Event().wait()
        if buyer == DEAF:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        return decide(page, command)

    return decided


if __name__ == "__main__":
    words.HANG_S_MIN = 0.0
    bounds.WRITER_S = 0.2
    signal.signal(signal.SIGALRM, lambda *_: threading.Event().wait())
    catalogue.deciding = deciding
    program.main()
