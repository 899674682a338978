"""A crowd that buys without pause, through kills and restarts: the load test's own client, in one thread each."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

from loadtest import plan
from loadtest.client import be_client
from loadtest.scene import Scene
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from loadtest.history import Operation

BUYERS = 6
QUANTITY_MAX = 3
SECONDS = 3_600.0
"""Longer than any test: the crowd stops when it is told to."""
POLL_S = 0.002


class Stuck(Exception):
    """Somebody was not served again. The message says what the crowd was told meanwhile."""


class Crowd:
    """``rows`` has every call. A buyer whose connection is refused over and over waits until the doors are open, and
    goes on under a new number.
    """

    def __init__(self, url: str, tickets: int, seed: int, first: int = 0, buyers: int = BUYERS) -> None:
        """``first`` is the number of the first buyer: crowds that are judged together have none in common."""
        made = plan.make("flash-sale", seed, SECONDS, tickets=tickets, clients=buyers, quantity_max=QUANTITY_MAX)
        self._scene = Scene(url, made)
        self.rows: list[Operation] = []
        self.doors = threading.Event()
        self._over = threading.Event()
        self._buyers = [
            threading.Thread(target=self._buy, args=(first + number,), daemon=True) for number in range(buyers)
        ]
        for buyer in self._buyers:
            buyer.start()

    def served_again(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until every buyer has bought something that was asked for from now on. Raises ``Stuck``."""
        buyers = len(self._buyers)
        moment, mark = time.monotonic_ns(), len(self.rows)
        deadline = time.monotonic() + patience_s
        while True:
            since = [row for row in self.rows[mark:] if row.called > moment]
            served = {row.client % buyers for row in since if row.outcome == "done"}
            if len(served) == buyers:
                return
            if time.monotonic() > deadline:
                told = sorted({row.problem or row.outcome for row in since})
                raise Stuck(f"{len(served)} of {buyers} buyers were served within {patience_s:g} s; told: {told}")
            time.sleep(POLL_S)

    def disperse(self) -> None:
        """Stop, and wait until the last call has returned."""
        self._over.set()
        self.doors.set()
        for buyer in self._buyers:
            buyer.join(PATIENCE_S)
            assert not buyer.is_alive()

    def _buy(self, number: int) -> None:
        for life in itertools.count(number, len(self._buyers)):
            self.doors.wait()
            if self._over.is_set():
                return
            be_client(self._scene, life, time.monotonic_ns(), self.rows.append, self._over.is_set)
