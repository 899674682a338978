"""The API's document, OpenAPI 3.1, made from the operations' rows and from the types that validate and build bodies.

pydantic makes all schemas in it, and a typed library the rest, so it is well-formed by construction. Each worker makes
it once, when it is first asked for.
"""

from __future__ import annotations

import functools
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

from openapi_pydantic.v3.v3_1 import (
    Components,
    DataType,
    Header,
    Info,
    Link,
    MediaType,
    OpenAPI,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Response,
    Schema,
    SecurityScheme,
    Tag,
)
from openapi_pydantic.v3.v3_1 import Operation as Documented
from pydantic import Field, TypeAdapter

from service import schema, wire
from service.api import buying, operation, running
from service.api.operation import ANY, JSON, NO_TOKEN, PROBLEM, Scheme
from service.problems import HEADERS, TITLES, TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.api.operation import Operation, Refusal, Success

OPERATIONS = buying.OPERATIONS + running.OPERATIONS
TYPES = {JSON: DataType.OBJECT}
SCHEMAS, RESPONSES = "#/components/schemas/", "#/components/responses/"
DECIDED = {"sold-out", "hold-expired", "order-cancelled", "capacity-taken", "key-reused"}
"""The problems that say how the event stood."""
BODIES = (
    *(wire.BuyBody, wire.HoldBody, wire.CapacityBody),
    *(schema.EventBody, schema.OrderBody, schema.EventsBody, schema.TicketsBody, schema.SweptBody, schema.ModeBody),
    *(schema.AliveBody, schema.ReadyBody, schema.NoopBody, schema.ProblemBody, schema.EventProblemBody),
)
ABOUT = f"""A ticket service that never sells one ticket twice.

Every failure is definite or it is not. 4xx and 503 mean that certainly nothing was done, and a 503 says when to come
back. A 500 means that nobody knows: ask again with the same Idempotency-Key. Errors are problem details (RFC 9457).
A path that is not here is 404, and a method that is not here is 405, with the header `Allow`.

A body has at most {wire.BODY_BYTES_MAX} bytes, and an order at most {wire.QUANTITY_MAX} tickets.
Whole numbers are written without a point."""
TOKENS: dict[Scheme, str] = {
    "admin": "the admin token",
    "sweeper": "a token that only the service and its own sweeper have, or that of TURNSTILE_ADMIN_TOKEN",
}
HEADER_WORDS = {
    "Retry-After": "in how many seconds to come back",
    "WWW-Authenticate": "how to sign in",
    "Location": "the path at which it is",
    "ETag": "what to send as `If-None-Match`, to be told if it is still the same",
}


@functools.cache
def document(version: str, *, harness: bool) -> dict[str, Any]:
    """Return the document, with what there is only for a load test if ``harness``."""
    rows = OPERATIONS + ((running.HARNESS,) if harness else ())
    paths: dict[str, PathItem] = {}
    for row in rows:
        setattr(paths.setdefault(row.path, PathItem()), row.method, _documented(row))
    made = OpenAPI(
        openapi="3.1.1",
        info=Info(title="Turnstile", version=version, description=ABOUT),
        paths=paths,
        tags=[Tag(name=name, description=words) for name, words in (buying.TAGS | running.TAGS).items()],
        components=Components(
            responses={f"any-{status}": _problem(status, slugs) for status, slugs in _slugs(ANY).items()},
            securitySchemes={
                token: SecurityScheme(type="http", scheme="bearer", description=words)
                for token, words in TOKENS.items()
            },
        ),
    ).model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    for row in rows:
        for parameter, said in zip(_parameters(row), made["paths"][row.path][row.method]["parameters"], strict=True):
            said["schema"] = TypeAdapter(parameter.kind).json_schema()
    _, schemas = TypeAdapter.json_schemas(
        [(body.__name__, "validation", TypeAdapter(body)) for body in BODIES], ref_template=f"{SCHEMAS}{{model}}"
    )
    made["components"]["schemas"] = schemas["$defs"]
    return _with_worker(made) if harness else made


def _with_worker(made: dict[str, Any]) -> dict[str, Any]:
    """Let each answer name its worker in a header, as it does for a load test."""
    operations = (called for path in made["paths"].values() for called in path.values())
    for answers in (made["components"]["responses"], *(called["responses"] for called in operations)):
        for answer in answers.values():
            if "$ref" not in answer:
                header = {"description": "the process that answered", "schema": {"type": "string", "pattern": r"^\d+$"}}
                answer.setdefault("headers", {})["Turnstile-Worker"] = header
                header = {"description": "the machine or container it is in", "schema": {"type": "string"}}
                answer["headers"]["Turnstile-Host"] = header
    return made


def _documented(row: Operation) -> Documented:
    asked = row.body and RequestBody(
        required=True,
        content={JSON: MediaType(schema=_reference(row.body), example=row.example)},
    )
    answers: dict[str, Response | Reference] = {str(each.status): _answer(each) for each in row.successes}
    for status, slugs in _slugs((*row.refusals, *ANY, *(NO_TOKEN if row.shows else ()))).items():
        shared = slugs == _slugs(ANY).get(status)
        answers[str(status)] = Reference(**{"$ref": f"{RESPONSES}any-{status}"}) if shared else _problem(status, slugs)
    return Documented(
        operationId=row.name,
        tags=[row.tag],
        summary=row.summary,
        description=row.description or None,
        parameters=[_parameter(each) for each in _parameters(row)],
        requestBody=asked,
        responses=answers,
        security=[{row.shows: []}] if row.shows else None,
    )


def _parameter(said: operation.Parameter) -> Parameter:
    required = said.place == "path"
    return Parameter.model_validate(
        {"name": said.name, "in": said.place, "required": required, "description": said.description}
    )


def _parameters(row: Operation) -> list[operation.Parameter]:
    """Return the parameters of an operation: those of its path, of its query, and its header."""
    places = {"event": operation.EVENT, "order": operation.ORDER, "name": operation.FILE}
    return [
        *(places[name] for name in re.findall(r"{(\w+)}", row.path)),
        *(_query(each) if isinstance(each, wire.Whole) else each for each in row.query),
        *((operation.KEY,) if row.keyed else ()),
    ]


def _query(whole: wire.Whole) -> operation.Parameter:
    kind = Annotated[int, Field(ge=whole.least, le=whole.most, default=whole.default)]
    return operation.Parameter(whole.name, "query", kind, whole.description)


def _answer(success: Success) -> Response:
    return Response(
        description=success.description,
        headers=_headers(*success.headers) or None,
        content={
            media: MediaType(
                schema=_reference(success.body) if success.body else Schema(type=TYPES.get(media, DataType.STRING)),
                example=success.example,
            )
            for media in success.media
        }
        or None,
        links={
            name: Link(operationId=name, parameters={member: f"$response.body#/{member}"})
            for name, member in success.links.items()
        }
        or None,
    )


def _slugs(refusals: Iterable[Refusal]) -> dict[int, list[str]]:
    """Return the problems of each status."""
    slugs: dict[int, list[str]] = {}
    for refusal in sorted(set(refusals), key=attrgetter("status", "slug")):
        slugs.setdefault(refusal.status, []).append(refusal.slug)
    return slugs


def _problem(status: int, slugs: list[str]) -> Response:
    kinds: tuple[tuple[type, list[str]], ...] = (
        (schema.ProblemBody, [slug for slug in slugs if slug not in DECIDED]),
        (schema.EventProblemBody, [slug for slug in slugs if slug in DECIDED]),
    )
    shapes: list[Schema | Reference] = [
        Schema(
            allOf=[_reference(kind)],
            properties={
                "type": Schema(enum=[f"{TYPE}{slug}" for slug in some]),
                "status": Schema(const=status),
            },
        )
        for kind, some in kinds
        if some
    ]
    return Response(
        description="\n".join(f"- `{slug}`: {TITLES[slug]}." for slug in slugs),
        headers=_headers(*HEADERS.get(status, ())) or None,
        content={PROBLEM: MediaType(schema=shapes[0] if len(shapes) == 1 else Schema(oneOf=shapes))},
    )


def _headers(*names: str) -> dict[str, Header | Reference]:
    text = Schema(type=DataType.STRING)
    return {
        name: Header.model_validate({"description": HEADER_WORDS[name], "required": True, "schema": text})
        for name in names
    }


def _reference(body: type) -> Reference:
    return Reference(**{"$ref": f"{SCHEMAS}{body.__name__}"})
