"""The API's document, at ``/openapi.json`` for programs and at ``/docs`` for people: made when first asked for."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape

from service import __version__
from service.api.operation import PROBLEM
from service.pages import kept
from service.problems import TITLES, TYPE

if TYPE_CHECKING:
    import flask

TEMPLATE = "reference.html.jinja"
CODE, TEXT = Markup("<code>{}</code>"), Markup("{}")
KINDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "object": "object",
    "null": "null",
}
"""What the types of JSON are called on the page."""


def add_reference(app: flask.Flask, *, harness: bool) -> None:
    """Add the routes of the API's document."""

    @app.get("/openapi.json")
    def openapi() -> flask.Response:
        read, _ = made(harness=harness)
        return kept(read, "application/json")

    @app.get("/docs")
    def docs() -> flask.Response:
        _, shown = made(harness=harness)
        return kept(shown, "text/html; charset=utf-8")


@functools.cache
def made(*, harness: bool) -> tuple[bytes, bytes]:
    """Return the document, and the page that says the same."""
    # Not with the service: a quarter of a second and 25 MB in each worker, for what a worker is seldom asked for.
    from service.api.openapi import document  # noqa: PLC0415  # as said above

    said = document(__version__, harness=harness)
    return f"{json.dumps(said, separators=(',', ':'))}\n".encode(), page(said).encode()


def page(said: dict[str, Any]) -> str:
    """Return a page of HTML that says what the document says."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"words": _words, "kind": _kind, "json": _json, "problems": _problems}
    template = (resources.files("service.api") / TEMPLATE).read_text(encoding="utf-8")
    shared = said["components"]["responses"]
    calls = [
        _call(path, method, called, said["components"]["schemas"])
        for path, methods in said["paths"].items()
        for method, called in methods.items()
    ]
    refused = [{"status": name.removeprefix("any-"), **answer} for name, answer in shared.items()]
    return environment.from_string(template).render(said=said, calls=calls, any=refused)


def _call(path: str, method: str, called: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return an operation in the order in which the page speaks of it; what any call may be told is not repeated."""
    said = [{"status": status, **answer} for status, answer in called["responses"].items() if "$ref" not in answer]
    asked = called.get("requestBody", {}).get("content", {}).get("application/json", {})
    return {
        "security": (),
        **called,
        "path": path,
        "method": method,
        "body": schemas[_name(asked["schema"])] if asked else None,
        "sent": asked.get("example"),
        "answers": [_answer(each) for each in said if PROBLEM not in each.get("content", {})],
        "refusals": [each for each in said if PROBLEM in each.get("content", {})],
    }


def _answer(said: dict[str, Any]) -> dict[str, Any]:
    content = said.get("content", {})
    first: dict[str, Any] = next(iter(content.values()), {})
    return {
        "headers": {},
        **said,
        "media": ", ".join(content),
        "body": _name(first.get("schema", {})),
        "example": first.get("example"),
    }


def _problems(said: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the problems that an answer can be, each with what it means."""
    schema = said["content"][PROBLEM]["schema"]
    types = [name for each in schema.get("oneOf", [schema]) for name in each["properties"]["type"]["enum"]]
    return [(slug, TITLES[slug]) for slug in (name.removeprefix(TYPE) for name in types)]


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _kind(schema: dict[str, Any]) -> Markup:
    """Return in a few words what a value may be."""
    if name := _name(schema):
        return Markup('<a href="#{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return Markup(", ").join(CODE.format(each) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("items", {}).get("$ref"):
        return Markup("list of {}").format(_kind(schema["items"]))
    return escape(KINDS[schema["type"]] + _bounds(schema))


def _bounds(schema: dict[str, Any]) -> str:
    """Return the limits of a number."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if most is not None:
        return f", {least} to {most}"
    return "" if least is None else f", {least} or more"


def _words(text: str) -> Markup:
    """Return a sentence in which what stands between backticks is code."""
    parts = text.split("`")
    return Markup("").join((CODE if place % 2 else TEXT).format(part) for place, part in enumerate(parts))


def _json(value: object) -> str:
    return json.dumps(value)
