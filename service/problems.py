"""Problems (RFC 9457): each way in which a request can end without being done, or without its outcome being known.

Every failure is definite or it is not: 4xx and 503 mean *certainly not done*, 500 means *unknown*. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.schema import ProblemBody

SHOWN_CHARACTERS_MAX = 48
RETRY_AFTER_S = 1
TYPE = "urn:turnstile:problem:"
"""What a problem's type begins with; its slug follows."""

HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    503: {"Retry-After": str(RETRY_AFTER_S)},
}

TITLES = {
    "bad-request": "The request cannot be understood",
    "not-json": "The body is not JSON",
    "not-utf-8": "The body is not UTF-8",
    "duplicate-key": "A key stands twice in the body",
    "unknown-field": "A field is not known",
    "missing-field": "A field is missing",
    "wrong-type": "A value has the wrong type",
    "out-of-range": "A value is out of range",
    "not-signed-in": "The admin token is missing or wrong",
    "forbidden": "Nobody may do this here",
    "not-found": "There is no such page",
    "no-such-event": "There is no such event",
    "no-such-order": "There is no such order",
    "method-not-allowed": "The method is not allowed here",
    "sold-out": "Fewer tickets are left than were asked for",
    "body-too-large": "The body is too large",
    "wrong-content-type": "The content type is not application/json",
    "hold-expired": "The hold has ended",
    "order-cancelled": "The order was cancelled",
    "capacity-taken": "Tickets above that capacity are taken",
    "key-reused": "The idempotency key belongs to another request",
    "busy": "The counter is busy",
    "not-written": "The ticket store cannot be written",
    "not-ready": "The service is not ready",
    "torn-read": "The ticket store could not be read",
    "unknown-outcome": "It is not known whether this was done",
}


@dataclass(frozen=True, slots=True)
class Response:
    """A status, a JSON body and the headers that belong to them."""

    status: int
    body: Mapping[str, object]
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Problem(Exception):
    """A request that ends here. ``slug`` names its type, ``extra`` members come after the four standard ones."""

    def __init__(self, status: int, slug: str, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.status, self.slug, self.extra = status, slug, extra

    def response(self) -> Response:
        """Return it as it is sent."""
        body: ProblemBody = {
            "type": f"{TYPE}{self.slug}",
            "title": TITLES[self.slug],
            "status": self.status,
            "detail": str(self),
        }
        return Response(self.status, {**body, **self.extra}, HEADERS.get(self.status, {}), "application/problem+json")


def no_such_event(name: str) -> Problem:
    """Return the problem for an event that does not exist."""
    return Problem(404, "no-such-event", f"there is no event {shown(name)}")


def no_such_order(order: str) -> Problem:
    """Return the problem for an order that does not exist."""
    return Problem(404, "no-such-order", f"there is no order {shown(order)}")


def too_large(bytes_max: int) -> Problem:
    """Return the problem for a body over the limit."""
    return Problem(413, "body-too-large", f"the body has more than the {bytes_max} bytes that are allowed")


def cut_off(what: str) -> Problem:
    """Return the problem for a body that did not arrive as it was announced."""
    return Problem(400, "bad-request", f"the body cannot be read: {what}")


def shown(value: object) -> str:
    """Return ``value`` as JSON, short enough and tame enough to stand in a sentence."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
