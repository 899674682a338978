"""Buyers that are no load test: sessions of ``requests`` as they come, and connections in bytes, kept for the next."""

from __future__ import annotations

import threading
from collections import Counter

import requests

from tests.connections import BUY, Client
from tests.waiting import PROGRAM_S

EVENT = "patrons"
REFUSED = "refused"
"""What one was told who could not connect."""


class Patron:
    """Buys one ticket after the other over one session, with a pause between a reply and the next request."""

    def __init__(self, url: str, doors: threading.Event, pause_s: float) -> None:
        """While the ``doors`` are closed, nothing is asked."""
        self.told: Counter[str] = Counter()
        self._url, self._doors, self._pause_s = url, doors, pause_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._buy, daemon=True)
        self._thread.start()

    def leaves(self) -> None:
        """Buy no more."""
        self._over.set()
        self._thread.join(PROGRAM_S)
        assert not self._thread.is_alive()

    def _buy(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while self._goes_on():
                try:
                    asked = {"quantity": 1}
                    reply = session.post(f"{self._url}/events/{EVENT}/buy", json=asked, timeout=PROGRAM_S)
                    self.told[str(reply.status_code)] += 1
                except requests.ConnectionError as error:
                    self.told[REFUSED if "refused" in str(error) else repr(error)] += 1

    def _goes_on(self) -> bool:
        self._over.wait(self._pause_s)
        while not (self._over.is_set() or self._doors.wait(0.1)):
            pass
        return not self._over.is_set()


class RawPatron(Patron):
    """The same in bytes: it does not look whether its connection has ended before it asks, which ``requests`` does."""

    def _buy(self) -> None:
        while self._goes_on():
            try:
                with Client(self._url) as client:
                    self._buy_over(client)
            except ConnectionRefusedError:
                self.told[REFUSED] += 1
            except (OSError, IndexError) as error:
                self.told[repr(error)] += 1

    def _buy_over(self, client: Client) -> None:
        kept = True
        while kept:
            client.send(BUY.replace(b"/buy", f"/events/{EVENT}/buy".encode()))
            status, headers, _ = client.reply()
            self.told[str(status)] += 1
            kept = headers["Connection"] != "close" and self._goes_on()
