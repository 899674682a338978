"""Admission: how many requests may be in a worker at once. The rest are told so at the door, before they are read.

What waits in a worker waits for its turn at the counter, and whoever comes later waits for all of them. Past a bound it
is kinder, and keeps the memory bounded, to say at once: not now, certainly nothing was done. Pure.
"""

from __future__ import annotations

import json
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from service.guarding import DATA
from service.problems import RETRY_AFTER_S, Problem

if TYPE_CHECKING:
    from service.problems import Response

WAITING_SHARE = 0.1
"""No more are let in than are served in this part of the time that an order may wait: who came in behind them would
wait longer. For the 5 s that it may wait by default, that is half a second."""
WAITING_MIN = 64
"""So many may wait all the same. A worker has always enough to do, and a few who come at one moment are let in."""
LOOK_S = 0.25
"""How often is looked how many are served."""
REPLIES_KEPT_MAX = 64
"""Where many are refused, that must cost little: what is said then is made once."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What is said to a client that waits to be told to send its body (RFC 9110, 10.1.1)."""
FULL = Problem(503, "busy", "too many are waiting already, so nothing was done; try again")
ENDS = Problem(503, "busy", "the service is about to end, so nothing was done; try again")
IDLE = Problem(408, "bad-request", "no request came for a while, so the connection ends and nothing was done")
CUT_OFF = Problem(400, "bad-request", "the request ended before all of it had come, so nothing was done")
SLOW = Problem(408, "bad-request", "the request did not arrive in time, so nothing was done")
MALFORMED = {
    400: Problem(400, "bad-request", "the request is no well-formed HTTP"),
    403: Problem(403, "forbidden", "this request is not served here"),
    414: Problem(414, "bad-request", "the request line is longer than is allowed"),
    417: Problem(417, "bad-request", "what the header Expect asks for cannot be done"),
    431: Problem(431, "bad-request", "there are more header fields, or longer ones, than are allowed"),
    500: Problem(500, "unknown-outcome", "something unforeseen happened: look whether it was done"),
    501: Problem(501, "bad-request", "a transfer coding that is not known"),
}
"""What is said of a request that could not be read."""


NO_HOST = Problem(400, "bad-request", "the request has no header field Host: expected one")
TWO_KEYS = Problem(400, "bad-request", "the Idempotency-Key stands more than once: expected it once")


def unclear(fields: list[str], *, newer: bool) -> Problem | None:
    """Return what to say of a request with header fields of these names, in capitals, if they leave anything unclear.

    Two fields of one name are read as one, with a comma between: of two keys, that would be a third one. ``newer``: the
    request is of HTTP/1.1, where each has a Host (RFC 9112, 3.2; two are refused by gunicorn's parser).
    """
    if newer and "HOST" not in fields:
        return NO_HOST
    return TWO_KEYS if fields.count("IDEMPOTENCY-KEY") > 1 else None


class Door:
    """How many may be inside at once: as many as wait no longer than a part of ``wait_s``, by how fast they leave.

    While few wait, nothing is known of how fast they could leave, so a burst is let in up to the most.
    """

    def __init__(self, threads: int, waiting_max: int, wait_s: float) -> None:
        self._least = threads + min(WAITING_MIN, waiting_max)
        self._most = threads + waiting_max
        self._waiting_s = WAITING_SHARE * wait_s
        self.inside_max = self._most
        self._rate = 0.0
        self._served = 0
        self._looked = 0.0
        self._busy = self._refused = False

    def lets_in(self, inside: int) -> bool:
        """Tell whether one more may come in where there are so many."""
        if inside < self.inside_max:
            return True
        self._refused = True
        return False

    def idle(self, inside: int) -> bool:
        """Tell whether there is little to do, so that one who comes too soon is welcome."""
        return inside < min(self._least, self.inside_max)

    def leaves(self) -> None:
        """Note that one who was inside has been served."""
        self._served += 1

    def look(self, now: float, inside: int) -> None:
        """Make the bound again, now and then, from how many have left since the last time."""
        if now < self._looked + LOOK_S:
            return
        busy = self._refused or inside >= self._least
        if not busy:
            self.inside_max, self._rate = self._most, 0.0
        elif self._busy:  # all the time, so that no slower than they can is how they left
            rate = self._served / (now - self._looked)
            self._rate = (self._rate + rate) / 2 if self._rate else rate  # what one look sees is half chance
            self.inside_max = min(max(self._least, int(self._rate * self._waiting_s)), self._most)
        self._busy, self._refused, self._served, self._looked = busy, False, 0, now


@lru_cache(REPLIES_KEPT_MAX)
def refusal(problem: Problem, connection: str = "close") -> bytes:
    """Return a whole reply, after which the connection ends, unless it says that it is kept."""
    response: Response = problem.response()
    body = json.dumps(response.body, separators=(",", ":")).encode() + b"\n"
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(body)),
        "Connection": connection,
        **response.headers,
        **dict(DATA),
    }
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


FULL_AND_STAYS = refusal(FULL, "keep-alive")
AGAIN_S = float(RETRY_AFTER_S)
"""How long one who was refused waits for the next reply, on a connection that is kept, if it asks sooner."""
