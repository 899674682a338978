"""The wire: untrusted bytes -> the values that a command is made of. Pure.

Everything that can be wrong with a request has a problem of its own, whose ``detail`` says what was found and what is
expected.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.commands import key_of
from service.problems import Problem, shown, too_large
from service.values import EVENT_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Query = Mapping[str, Sequence[str]]

BODY_BYTES_MAX = 4096
QUANTITY_MAX = 100
BUYER_CHARACTERS_MAX = 100
TTL_S_MIN, TTL_S_MAX = 1, 24 * 3600
"""How long tickets can be held, in seconds."""
CAPACITY_MAX = 10_000_000
MAP_TICKETS_MAX = 10_000
"""How many tickets can be looked at in one reply."""
DIGITS_MAX = 18
"""The most digits that are read as a number."""
KEY_CHARACTERS_MAX = 255
KEY = re.compile(rf"[!-~]{{1,{KEY_CHARACTERS_MAX}}}")
Key = Annotated[str, Field(pattern=f"^{KEY.pattern}$")]


class Body(BaseModel):
    """The body of a request: an object with these fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)
    example: ClassVar[str] = "{}"


Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX, description=f"a whole number from 1 to {QUANTITY_MAX}")]
Buyer = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=BUYER_CHARACTERS_MAX,
        description=f"a text of 1 to {BUYER_CHARACTERS_MAX} characters, or null",
    ),
]


class BuyBody(Body):
    """The body of a purchase."""

    example = '{"quantity": 1}'
    quantity: Quantity
    partial: Annotated[bool, Field(description="true or false")] = False
    buyer: Buyer = None


class HoldBody(BuyBody):
    """The body of a hold."""

    example = '{"quantity": 1, "ttl_s": 60}'
    ttl_s: Annotated[
        float,
        Field(ge=TTL_S_MIN, le=TTL_S_MAX, description=f"a number of seconds from {TTL_S_MIN} to {TTL_S_MAX}"),
    ]


class CapacityBody(Body):
    """The body with which an event is made or changed."""

    example = '{"capacity": 250}'
    capacity: Annotated[int, Field(ge=0, le=CAPACITY_MAX, description=f"a whole number from 0 to {CAPACITY_MAX}")]


class NoBody(Body):
    """The body of a request that needs none."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number that a query may have."""

    name: str
    least: int
    most: int
    default: int
    description: str

    def of(self, query: Query) -> int:
        """Return what ``query`` says. Raises ``Problem``."""
        text = said(query, self.name, str(self.default))
        digits = text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX
        if not (digits and self.least <= int(text) <= self.most):
            expected = f"a whole number from {self.least} to {self.most}"
            raise Problem(400, "bad-request", f"{self.name} is {shown(text)}: expected {expected}")
        return int(text)


LIMIT = Whole("limit", 1, 1000, 100, "how many events at most")
AFTER = Whole("after", 0, 10**DIGITS_MAX - 1, 0, "the version behind which to begin")
FIRST = Whole("first", 1, CAPACITY_MAX, 1, "the first ticket")


def said(query: Query, name: str, default: str) -> str:
    """Return what a query says of ``name``, or the default. Raises ``Problem``."""
    values = query.get(name, [default])
    if len(values) > 1:
        raise Problem(400, "bad-request", f"{name} stands {len(values)} times in the query: expected it once")
    return values[0]


def only(query: Query, names: Sequence[str]) -> None:
    """Raise ``Problem`` if a query has other names than these."""
    for name in query:
        if name not in names:
            expected = f"only {', '.join(names)}" if names else "no query here"
            raise Problem(400, "bad-request", f"{shown(name)} in the query is not known: expected {expected}")


def ticket_range(query: Query) -> tuple[int, int]:
    """Return the first and the last ticket that are asked for. Raises ``Problem``."""
    first = FIRST.of(query)
    most = first + MAP_TICKETS_MAX - 1
    return first, Whole("last", first, most, most, "").of(query)


B = TypeVar("B", bound=Body)


def body_of(model: type[B], content_type: str, body: bytes) -> B:
    """Return the body of a request. Raises ``Problem``."""
    if model is NoBody and not body:
        return model()
    try:
        return model.model_validate(_object(content_type, body, f"expected an object such as {model.example}"))
    except ValidationError as error:
        _raise_wrong_field(error, model)


def key(event: str, header: str | None) -> str | None:
    """Return what stands for an ``Idempotency-Key`` (the IETF draft's header). Raises ``Problem``."""
    if header is None:
        return None
    if not KEY.fullmatch(header):
        expected = f"1 to {KEY_CHARACTERS_MAX} visible ASCII characters"
        raise Problem(400, "bad-request", f"the Idempotency-Key is {shown(header)}: expected {expected}")
    return key_of(event, header)


def event_name(name: str) -> str:
    """Return the name of an event that is to be made. Raises ``Problem``."""
    if not EVENT_NAME.fullmatch(name):
        expected = "1 to 64 of a-z, 0-9 and '-', of which '-' is not the first"
        raise Problem(422, "out-of-range", f"the event's name is {shown(name)}: expected {expected}")
    return name


def _object(content_type: str, body: bytes, expected: str) -> object:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        detail = f"the content type is {shown(content_type) if content_type else 'missing'}: expected application/json"
        raise Problem(415, "wrong-content-type", detail)
    if len(body) > BODY_BYTES_MAX:
        raise too_large(BODY_BYTES_MAX)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "not-utf-8", f"byte {error.start} of the body is not UTF-8, as JSON must be") from None
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        detail = f"the body is not JSON at character {error.pos} ({error.msg}): {expected}"
        raise Problem(400, "not-json", detail) from None
    except RecursionError:
        raise Problem(400, "not-json", f"the body is nested too deep: {expected}") from None
    if not isinstance(value, dict):
        detail = f"the body is {shown(value)}: {expected}"
        raise Problem(422, "wrong-type", detail)
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    values: dict[str, object] = {}
    for key, value in pairs:
        if key in values:
            raise Problem(400, "duplicate-key", f"the key {shown(key)} stands twice: expected each key once")
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
        detail = f"the field {shown(name)} is not known: expected only {', '.join(model.model_fields)}"
        raise Problem(422, "unknown-field", detail)
    if first["type"] == "missing":
        raise Problem(422, "missing-field", f"the field {name} is missing: expected {known.description}")
    ranges = ("greater_than_equal", "less_than_equal", "string_too_short", "string_too_long")
    slug = "out-of-range" if first["type"] in ranges else "wrong-type"
    raise Problem(422, slug, f"{name} is {shown(first['input'])}: expected {known.description}")
