"""A Locust file to start from, for an event with plenty of tickets (``EVENT``).

``EVENT=load locust -f locustfile.py --host http://127.0.0.1:8000 --headless -u 20 -r 20 -t 10s``

Locust measures, and does not judge: that no ticket is sold twice is what ``python -m loadtest run URL`` finds out. So
this counts what a buyer must never be told, too: a ticket that this process has been sold before.
"""

from __future__ import annotations

import os
import random
import uuid

from locust import FastHttpUser, between, task

EVENT = os.environ.get("EVENT", "default")
CANCELLED_SHARE = 0.1
SOLD_OUT, BUSY = 409, 503

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
        """Buy, with a key of its own, so that a purchase whose reply was lost can be asked for again."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        asked = {"quantity": random.randint(1, 3)}  # noqa: S311  # no secret
        with self.client.post(
            f"/events/{EVENT}/buy", json=asked, headers=headers, name="buy", catch_response=True
        ) as reply:
            if reply.status_code in {SOLD_OUT, BUSY}:
                reply.success()  # an answer, and not what went wrong
            elif reply.ok:
                self._bought(reply)

    def _bought(self, reply: object) -> None:
        order = reply.json()  # type: ignore[attr-defined]  # Locust's, which has no types
        if twice := [ticket for ticket in order["tickets"] if ticket in ours]:
            reply.failure(f"sold twice: ticket {twice[0]}")  # type: ignore[attr-defined]  # as above
        ours.update(dict.fromkeys(order["tickets"], order["order"]))
        if random.random() < CANCELLED_SHARE:  # noqa: S311  # no secret
            for ticket in order["tickets"]:
                del ours[ticket]  # before it is cancelled: from then on others may have it
            self.client.delete(f"/orders/{order['order']}", name="cancel")
