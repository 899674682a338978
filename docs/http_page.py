"""What the reference says of HTTP: operations and problems, from the rows that routes and OpenAPI are made of."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from service.api.openapi import OPERATIONS, document
from service.api.operation import ANY, NO_TOKEN
from service.api.running import HARNESS
from service.problems import TITLES, TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.api.operation import Operation

ROWS = (*OPERATIONS, HARNESS)
MEANS = {
    "4": "certainly not done",
    "503": "certainly not done; come again when `Retry-After` says",
    "500": "unknown: ask again with the same key",
    "501": "certainly not done",
}


def operations() -> str:
    """Return each operation: what it asks for, and how it may be answered."""
    made = document("", harness=True)
    return "\n\n".join("\n".join(_operation(row, made)) for row in ROWS)


def problems() -> str:
    """Return the table of problems, each with its statuses, and with what a client may conclude."""
    statuses: dict[str, set[int]] = defaultdict(set)
    for row in ROWS:
        for refusal in _refusals(row):
            statuses[refusal.slug].add(refusal.status)
    rows = [f"| `type`: `{TYPE}`... | status | title | what it says of the request |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{slug}` | {', '.join(str(status) for status in sorted(statuses[slug]))} | {title} "
        f"| {_meaning(statuses[slug])} |"
        for slug, title in TITLES.items()
        if statuses[slug]
    ]
    return "\n".join(rows)


def bodies() -> str:
    """Return a table for each JSON object that is sent or answered."""
    schemas = document("", harness=True)["components"]["schemas"]
    return "\n\n".join("\n".join(_body(name, schema)) for name, schema in sorted(schemas.items()))


def _operation(row: Operation, made: dict[str, Any]) -> Iterator[str]:
    said = made["paths"][row.path][row.method]
    yield f"### {row.method.upper()} {row.path}"
    yield ""
    yield f"{row.summary}. {row.description}".strip()
    yield ""
    if row.shows:
        yield f"- needs: {made['components']['securitySchemes'][row.shows]['description']}, as `Authorization: Bearer`"
    if row.body:
        yield f"- body: [{row.body.__name__}](#{row.body.__name__.lower()})"
    for parameter in said["parameters"]:
        yield f"- {parameter['in']} `{parameter['name']}`: {parameter['description']} ({_kind(parameter['schema'])})"
    for success in row.successes:
        shape = f", [{success.body.__name__}](#{success.body.__name__.lower()})" if success.body else ""
        headers = f", with {', '.join(f'`{name}`' for name in success.headers)}" if success.headers else ""
        yield f"- **{success.status}**{shape}{headers}: {success.description}"
    own: dict[int, list[str]] = defaultdict(list)
    for refusal in sorted(set(_refusals(row)) - set(ANY), key=lambda each: (each.status, each.slug)):
        own[refusal.status].append(f"`{refusal.slug}`")
    for status, slugs in own.items():
        yield f"- {status}: {', '.join(slugs)}"


def _refusals(row: Operation) -> tuple[Any, ...]:
    return (*row.refusals, *ANY, *(NO_TOKEN if row.shows else ()))


def _meaning(statuses: set[int]) -> str:
    meanings = {MEANS.get(str(status)) or MEANS[str(status)[0]] for status in statuses}
    return "; ".join(sorted(meanings))


def _body(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield schema["description"]
    yield ""
    yield "| member | type | | what it is |"
    yield "| --- | --- | --- | --- |"
    for member, kind in schema["properties"].items():
        default = kind.get("default")
        must = "always" if member in schema["required"] else f"default: `{json.dumps(default)}`"
        must = must.replace("default: `null`", "if there is one")
        yield f"| `{member}` | {_kind(kind)} | {must} | {kind.get('description', '')} |"


def _kind(schema: dict[str, Any]) -> str:
    """Return a schema in a few words."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            words = f"[{name}](#{name.lower()})"
        case {"anyOf": [*some]}:
            words = " or ".join(_kind(each) for each in some)
        case {"enum": [*values]}:
            words = ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            words = f"`{value}`"
        case {"pattern": str(pattern)}:
            words = f"`{pattern}`".replace("|", "\\|")
        case {"type": "array"}:
            words = f"array of {_kind(schema['items'])}"
        case _:
            bounds = [str(schema[bound]) for bound in ("minimum", "maximum") if bound in schema]
            words = f"{schema['type']}{' from ' + ' to '.join(bounds) if bounds else ''}"
    return words


PARTS = {"operations": operations, "problems": problems, "bodies": bodies}
