"""Admission: how many requests may be in a worker at once. The rest are told so at the door, before they are read.

What waits in a worker waits for its turn at the counter, and whoever comes later waits for all of them. Past a bound it
is kinder, and keeps the memory bounded, to say at once: not now, certainly nothing was done.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from service.problems import Problem

if TYPE_CHECKING:
    from service.problems import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What is said to a client that waits to be told to send its body (RFC 9110, 10.1.1)."""
FULL = Problem(503, "busy", "too many are waiting already, so nothing was done; try again")
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


def refusal(problem: Problem) -> bytes:
    """Return a whole reply, after which the connection ends."""
    response: Response = problem.response()
    body = json.dumps(response.body, separators=(",", ":")).encode() + b"\n"
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **response.headers,
    }
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
