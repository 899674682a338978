"""The wire: untrusted bytes -> command, and reply -> status, headers and JSON. Pure.

Everything that can be wrong with a request has a problem of its own (RFC 9457), whose ``detail`` says what was found
and what is expected.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.rules import Buy, Event, NoSuchEvent, NoSuchOrder, Order, Reply, Sold, SoldOut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.mode import Claim

BODY_BYTES_MAX = 4096
QUANTITY_MAX = 100
BUYER_CHARACTERS_MAX = 100
SHOWN_CHARACTERS_MAX = 40
RETRY_AFTER_S = 1

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
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Problem(Exception):
    """A request that ends here. ``slug`` names its type, ``extra`` members come after the four standard ones."""

    def __init__(self, status: int, slug: str, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.status, self.slug, self.extra = status, slug, extra

    def response(self) -> Response:
        """Return it as it is sent."""
        body = {
            "type": f"urn:turnstile:problem:{self.slug}",
            "title": TITLES[self.slug],
            "status": self.status,
            "detail": str(self),
            **self.extra,
        }
        return Response(self.status, body, HEADERS.get(self.status, {}), "application/problem+json")


class BuyBody(BaseModel):
    """The body of a purchase."""

    model_config = ConfigDict(extra="forbid", strict=True)

    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX, description=f"a whole number from 1 to {QUANTITY_MAX}")]
    partial: Annotated[bool, Field(description="true or false")] = False
    buyer: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=BUYER_CHARACTERS_MAX,
            description=f"a text of 1 to {BUYER_CHARACTERS_MAX} characters, or null",
        ),
    ] = None


def buy(event: str, order: str, content_type: str, body: bytes) -> Buy:
    """Return the command that a request to buy from ``event`` means. Raises ``Problem``."""
    try:
        asked = BuyBody.model_validate(_object(content_type, body))
    except ValidationError as error:
        _raise_wrong_field(error, BuyBody)
    return Buy(order, event, asked.quantity, asked.partial, asked.buyer)


def replied(reply: Reply) -> Response:
    """Return the response for what ``decide`` answered. Raises ``Problem`` for a refusal."""
    match reply:
        case Sold(order):
            return Response(201, order_body(order), {"Location": f"/orders/{order.id}"})
        case SoldOut(event, quantity):
            asked = f"{quantity} ticket was asked for" if quantity == 1 else f"{quantity} tickets were asked for"
            raise Problem(
                409,
                "sold-out",
                f"{asked}, and {event.count or 'no more'} {'is' if event.count == 1 else 'are'} left",
                **event_body(event),
            )
        case NoSuchEvent(name):
            raise no_such_event(name)


def event_body(event: Event) -> dict[str, Any]:
    """Return an event as clients see it."""
    return {"event": event.name, "capacity": event.capacity, "count": event.count, "version": event.version}


def order_body(order: Order) -> dict[str, Any]:
    """Return an order as clients see it."""
    body = {
        "order": order.id,
        "event": order.event,
        "status": order.status,
        "quantity": order.quantity,
        "tickets": order.tickets,
        "count": order.count,
        "version": order.version,
    }
    return body if order.buyer is None else body | {"buyer": order.buyer}


def looked(seen: Event | NoSuchEvent) -> Response:
    """Return the response to a look at an event. Raises ``Problem``."""
    if isinstance(seen, NoSuchEvent):
        raise no_such_event(seen.event)
    return Response(200, event_body(seen))


def found(order: Order | NoSuchOrder) -> Response:
    """Return the response to a question for an order. Raises ``Problem``."""
    if isinstance(order, NoSuchOrder):
        raise Problem(404, "no-such-order", f"there is no order {_shown(order.order)}")
    return Response(200, order_body(order))


def claimed(name: str, claim: Claim, workers: int, threads: int) -> Response:
    """Return the response that says what a mode claims, and how it is served."""
    return Response(200, {"mode": name, "claim": asdict(claim), "workers": workers, "threads": threads})


def no_such_event(name: str) -> Problem:
    """Return the problem for an event that does not exist."""
    return Problem(404, "no-such-event", f"there is no event {_shown(name)}")


def too_large() -> Problem:
    """Return the problem for a body over the limit."""
    return Problem(413, "body-too-large", f"the body has more than the {BODY_BYTES_MAX} bytes that are allowed")


def cut_off(what: str) -> Problem:
    """Return the problem for a body that did not arrive as it was announced."""
    return Problem(400, "bad-request", f"the body cannot be read: {what}")


def _object(content_type: str, body: bytes) -> object:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        detail = f"the content type is {_shown(content_type) if content_type else 'missing'}: expected application/json"
        raise Problem(415, "wrong-content-type", detail)
    if len(body) > BODY_BYTES_MAX:
        raise too_large()
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "not-utf-8", f"byte {error.start} of the body is not UTF-8, as JSON must be") from None
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        detail = f"the body is not JSON at character {error.pos} ({error.msg}): expected an object such as {_EXAMPLE}"
        raise Problem(400, "not-json", detail) from None
    except RecursionError:
        raise Problem(400, "not-json", f"the body is nested too deep: expected an object such as {_EXAMPLE}") from None
    if not isinstance(value, dict):
        detail = f"the body is {_shown(value)}: expected an object such as {_EXAMPLE}"
        raise Problem(422, "wrong-type", detail)
    return value


_EXAMPLE = '{"quantity": 1}'


def _without_duplicates(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    values: dict[str, object] = {}
    for key, value in pairs:
        if key in values:
            raise Problem(400, "duplicate-key", f"the key {_shown(key)} stands twice: expected each key once")
        values[key] = value
    return values


def _no_constant(name: str) -> NoReturn:
    raise Problem(400, "not-json", f"{name} is not JSON: expected a number")


def _raise_wrong_field(error: ValidationError, model: type[BaseModel]) -> NoReturn:
    # A field that is not known comes first: it is often the missing one, misspelt.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    name = str(first["loc"][0])
    known = model.model_fields.get(name)
    if known is None:
        detail = f"the field {_shown(name)} is not known: expected only {', '.join(model.model_fields)}"
        raise Problem(422, "unknown-field", detail)
    if first["type"] == "missing":
        raise Problem(422, "missing-field", f"the field {name} is missing: expected {known.description}")
    ranges = ("greater_than_equal", "less_than_equal", "string_too_short", "string_too_long")
    slug = "out-of-range" if first["type"] in ranges else "wrong-type"
    raise Problem(422, slug, f"{name} is {_shown(first['input'])}: expected {known.description}")


def _shown(value: object) -> str:
    """Return ``value`` as JSON, short enough and tame enough to stand in a sentence."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
