"""The sweeper: a daemon process that ends the holds whose time is over, also where nobody asks for their tickets.

Nothing depends on it: whoever wants the tickets of a hold that has ended gets them, and one that has ended is not
confirmed, by decision. It makes ``count`` on disk come true by itself. It decides and writes nothing: it looks, and
asks a worker, which does it in whatever way its mode keeps the others out. So it is no other seller, of whom a mode for
one process would know nothing.
"""

from __future__ import annotations

import http.client
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.mode import Store

SWEEP_S = 0.5
"""How long it sleeps between two looks."""
REPLY_S = 30.0
AGAIN_S = 60.0
"""After how long it asks again for what was answered, and is overdue still."""


class Sweeper:
    """What looks and asks. Make it before the fork, and run it in a process of its own."""

    def __init__(self, store: Store, host: str, port: int, token: str) -> None:
        """``host`` and ``port`` are where the workers listen; ``token`` is what they let it in by."""
        self._store = store
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # what it is bound to
        self._port = port
        self._token = token
        self._asked: dict[str, tuple[float, float]] = {}
        """The end for which each event was asked, and when."""

    def run(self, lifeline: int) -> None:
        """Sweep until ``lifeline`` can be read."""
        pause_s, now = SWEEP_S, 0.0
        while not wait([lifeline], pause_s):
            now = now if not pause_s else time.time()
            pause_s = 0 if self._any_swept(now) else SWEEP_S  # one command does not end all, where there are many

    def _any_swept(self, now: float) -> bool:
        swept = False
        for event, ends in self._store.overdue(now):
            asked, at = self._asked.get(event, (None, 0.0))
            # What is still overdue then is so by a document that is behind, or by a clock that was set back since.
            if (asked != ends or time.monotonic() - at >= AGAIN_S) and self._swept(event):
                self._asked[event] = ends, time.monotonic()
                swept = True
        return swept

    def _swept(self, event: str) -> bool:
        """Tell whether a worker has done it. Whatever was in the way, the next look finds what is left."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=REPLY_S)
        try:
            connection.request("POST", f"/events/{event}/sweep", headers={"Authorization": f"Bearer {self._token}"})
            reply = connection.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return reply.status == http.client.OK
