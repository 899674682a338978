"""A Locust file to start from, for an event with plenty of tickets (``EVENT``).

``EVENT=load locust -f locustfile.py --host http://127.0.0.1:8000 --headless -u 20 -r 20 -t 10s``

Locust measures, and does not judge: that no ticket is sold twice is what ``python -m loadtest run URL`` finds out. So
this counts what a buyer must never be told, too: a ticket that this process has been sold before.
"""

from __future__ import annotations

import os
import random
import time
import uuid

from locust import FastHttpUser, between, task

EVENT = os.environ.get("EVENT", "default")
CANCELLED_SHARE = 0.1
SOLD_OUT = 409
NOT_DONE = {408, 429, 503}
"""Certainly nothing was done: the service was busy, or a proxy in front of it."""
REFUSED_MIN, UNKNOWN_MIN = 400, 500
ATTEMPTS_MAX = 5
PAUSE_S, PAUSE_MAX_S = 0.1, 5.0

ours: dict[int, str] = {}
"""Which ticket is whose, of what was bought by this process and is not cancelled."""


class Buyer(FastHttpUser):
    """Someone who looks more often than buys, and sometimes gives back."""

    wait_time = between(0.1, 0.5)

    @task(3)
    def look(self) -> None:
        """See how many are left."""
        self.client.get(f"/events/{EVENT}", name="look")

    @task(2)
    def buy(self) -> None:
        """Buy, with one key for all attempts: what was done is not done twice, and the first answer comes again."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        asked = {"quantity": random.randint(1, 3)}  # noqa: S311  # no secret
        for attempt in range(ATTEMPTS_MAX):
            with self.client.post(
                f"/events/{EVENT}/buy", json=asked, headers=headers, name="buy", catch_response=True
            ) as reply:
                if reply.ok:
                    return self._bought(reply)
                if reply.status_code in NOT_DONE | {SOLD_OUT}:
                    reply.success()  # an answer, and not what went wrong
                if reply.status_code not in NOT_DONE and REFUSED_MIN <= reply.status_code < UNKNOWN_MIN:
                    return None
                told = (reply.headers or {}).get("Retry-After", "")  # without a reply there are none
            told_s = min(float(told), PAUSE_MAX_S) if told.isdigit() else 0.0
            time.sleep(told_s + random.uniform(0, PAUSE_S * 2**attempt))  # noqa: S311  # no secret
        return None

    def _bought(self, reply: object) -> None:
        order = reply.json()  # type: ignore[attr-defined]  # Locust's, which has no types
        if twice := [ticket for ticket in order["tickets"] if ticket in ours]:
            reply.failure(f"sold twice: ticket {twice[0]}")  # type: ignore[attr-defined]  # as above
        ours.update(dict.fromkeys(order["tickets"], order["order"]))
        if random.random() < CANCELLED_SHARE:  # noqa: S311  # no secret
            for ticket in order["tickets"]:
                del ours[ticket]  # before it is cancelled: from then on others may have it
            self.client.delete(f"/orders/{order['order']}", name="cancel")
