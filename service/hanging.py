"""gunicorn's threaded worker, but that it ends when a request hangs: the kernel frees what that has locked.

gunicorn's own watch is the beat of the main thread, which goes on whatever the threads of the pool are at. Here each
request is noted from when the application has it until its outcome is there; to send that may take a client any time.
"""

from __future__ import annotations

import math
import signal
import time
from typing import Any

from service.arrivals import Arrivals
from service.stillness import Looker, Pending

LOOK_S = 1.0
"""How often it is looked whether a request hangs."""


class Hanging(Arrivals):
    """A gthread worker that knows what it waits for."""

    hung_s = math.inf
    """After how long a request that has no outcome is one that hangs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as gunicorn has it
        super().__init__(*args, **kwargs)
        self.made_at = time.monotonic()
        self._pending = Pending()
        self._looker = Looker()
        self._hangs = False
        self._looks_at = 0.0

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + LOOK_S
            self._look_for_hanging()

    def _look_for_hanging(self) -> None:
        """End if requests hang, and they are all there is: the others are answered before."""
        self._looker.look()
        hanging = sum(self._looker.still_s(since) > self.hung_s for since in self._pending.beginnings())
        if hanging and not self._hangs:
            self._hangs = True
            self.log.error("%d requests hang for %g s, so another worker follows this one", hanging, self.hung_s)
            self.handle_exit(signal.SIGTERM, None)
        if hanging and self.nr_conns <= hanging:
            self.end_hard()
