"""What a route can be asked and may answer, as values; and the refusals that many routes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from service import wire
from service.schema import EventName, OrderId

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
PROBLEM = "application/problem+json"

Scheme = Literal["admin", "sweeper"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a path, a query or a header may say, of the type ``kind``."""

    name: str
    place: Literal["path", "query", "header"]
    kind: Any
    description: str


@dataclass(frozen=True, slots=True)
class Success:
    """What is answered when it was done: ``body``, or what is no JSON, or nothing where there is no ``media``.

    ``links`` are the operations that can follow, with the member of the body that fills their path.
    """

    status: int
    description: str
    body: type | None = None
    media: tuple[str, ...] = (JSON,)
    headers: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    example: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered when it was not done, or when nobody knows: the problem ``slug``."""

    status: int
    slug: str


@dataclass(frozen=True, slots=True)
class Operation:
    """What can be asked. ``shows`` names the token that it needs; ``keyed`` takes an Idempotency-Key."""

    name: str
    method: str
    path: str
    tag: str
    summary: str
    successes: tuple[Success, ...]
    refusals: tuple[Refusal, ...] = ()
    description: str = ""
    body: type[wire.Body] | None = None
    example: Mapping[str, object] | None = None
    query: tuple[wire.Whole | Parameter, ...] = ()
    shows: Scheme | None = None
    keyed: bool = False


def refusals(status: int, *slugs: str) -> tuple[Refusal, ...]:
    """Return problems that share a status."""
    return tuple(Refusal(status, slug) for slug in slugs)


EVENT = Parameter("event", "path", EventName, "the event's name")
ORDER = Parameter("order", "path", OrderId, "the order's identifier")
FILE = Parameter(
    "name",
    "path",
    Annotated[str, Field(pattern=r"^[a-z]+\.(css|html|js|svg)$", examples=["page.css"])],
    "the file's name",
)
KEY = Parameter(
    "Idempotency-Key",
    "header",
    wire.Key,
    "a repeat with the same key gets the first answer again, for 24 hours: let it be one that nobody guesses",
)

NO_BODY = (
    *refusals(400, "bad-request", "not-json", "not-utf-8", "duplicate-key"),
    *refusals(413, "body-too-large"),
    *refusals(415, "wrong-content-type"),
    *refusals(422, "unknown-field", "wrong-type"),
)
BODY = (*NO_BODY, *refusals(422, "missing-field", "out-of-range"))
KEYED = refusals(422, "key-reused")
NO_ROUTE = refusals(404, "not-found")
NO_EVENT = (*refusals(404, "no-such-event"), *NO_ROUTE)
NO_ORDER = (*refusals(404, "no-such-order"), *NO_ROUTE)
NO_TOKEN = (*refusals(401, "not-signed-in"), *refusals(403, "forbidden"))
READ = refusals(500, "torn-read")
WRITE = (*READ, *refusals(503, "not-written"))

ANY = (
    *(Refusal(status, "bad-request") for status in (400, 408, 414, 417, 431, 501)),
    *refusals(500, "unknown-outcome"),
    *refusals(503, "busy"),
)
"""What any call may be answered: by who reads the request, before there is a route to ask, or when that fails."""
