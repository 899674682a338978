"""The API's document says what the service does, and the service does what the document says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from pydantic import TypeAdapter

from service import rules, schema, wire
from service.api import running
from service.api.openapi import DECIDED, OPERATIONS, document
from service.api.operation import ANY, NO_TOKEN, PROBLEM, Refusal
from service.app import create_app
from service.office import uncounted
from service.problems import HEADERS, TITLES, TYPE
from service.reference import page
from service.settings import Settings
from tests.counter import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient
    from playwright.sync_api import Browser
    from werkzeug.test import TestResponse

    from loadtest.serve import Service
    from service.api.operation import Operation
    from tests.counter import Counter

TOKEN = "an-admin-token-of-a-test"  # noqa: S105  # of a test
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
HELD = {"quantity": 1, "ttl_s": 60}
ELSEWHERE = {"not-written", "not-ready", "torn-read", "forbidden"}
"""What takes a store that fails, or a service without a token (``test_wire.py``)."""
ROWS = {row.name: row for row in (*OPERATIONS, running.HARNESS)}


@pytest.fixture
def client(counter: Counter) -> FlaskClient:
    return create_app(counter.opened("file_lock"), Settings(admin_token=TOKEN, harness=True)).test_client()


@pytest.mark.parametrize("harness", [False, True])
def test_the_document_is_openapi(client: FlaskClient, *, harness: bool) -> None:
    """Of version 3.1, by that standard's own schema, and served as it is."""
    said = document("1", harness=harness)
    assert said["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(said).validate()
    if harness:
        served = client.get("/openapi.json").get_json()
        version = served["info"]["version"]
        assert served == json.loads(json.dumps(document(version, harness=True)))


@pytest.mark.parametrize("harness", [False, True])
def test_every_route_is_documented_and_nothing_else(counter: Counter, *, harness: bool) -> None:
    """By path and method; what Flask answers by itself, HEAD and OPTIONS, aside."""
    app = create_app(counter.opened("file_lock"), Settings(harness=harness))
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    paths = document("1", harness=harness)["paths"]
    assert routes == {(path, method) for path, methods in paths.items() for method in methods}


def test_every_problem_is_documented() -> None:
    """Each that has a title can be the answer to something; but for the one of methods that are not documented."""
    text = json.dumps(document("1", harness=False))
    assert set(re.findall(rf'"{TYPE}([a-z0-9-]+)"', text)) == set(TITLES) - {"method-not-allowed"}


def test_the_examples_are_what_they_are_examples_of() -> None:
    """What is shown as sent would be taken, and what is shown as answered could have been."""
    for row in ROWS.values():
        if row.body:
            assert wire.body_of(row.body, "application/json", json.dumps(row.example).encode())
        for success in row.successes:
            if success.body and success.example:
                TypeAdapter(success.body).validate_json(json.dumps(success.example), strict=True)


def test_limits_stand_in_the_document() -> None:
    """The very ones by which requests are refused."""
    said = document("1", harness=False)
    buying = said["components"]["schemas"]["BuyBody"]
    assert (buying["required"], buying["additionalProperties"]) == (["quantity"], False)
    assert (buying["properties"]["quantity"]["minimum"], buying["properties"]["quantity"]["maximum"]) == (1, 100)
    (after,) = [
        each for each in said["paths"]["/events/{event}/journal"]["get"]["parameters"] if each["name"] == "after"
    ]
    assert after["schema"] == {"default": 0, "minimum": 0, "maximum": 10**18 - 1, "type": "integer"}
    (key,) = said["paths"]["/buy"]["post"]["parameters"]
    assert key["schema"]["pattern"] == f"^{wire.KEY.pattern}$"


def test_every_answer_that_is_documented_is_given(counter: Counter) -> None:
    """On one walk through all operations; each answer has the type that its row says, to the last field."""
    clock = [NOW]
    mode = counter.opened("file_lock", lambda page, command: rules.decide(page, command, clock[0]))
    texts = iter([uncounted, b"# nothing\n".lower])

    def exposed() -> bytes:
        return next(texts)()

    app = create_app(mode, Settings(admin_token=TOKEN, harness=True), exposed=exposed)
    walk = Walk(app.test_client(), clock)
    seen = {(name, *conforming(ROWS[name], reply)) for name, reply in walk.all()}
    documented = {(row.name, success.status, "") for row in ROWS.values() for success in row.successes}
    documented |= {(row.name, each.status, each.slug) for row in ROWS.values() for each in row.refusals}
    documented |= {(row.name, 401, "not-signed-in") for row in ROWS.values() if row.shows}
    assert {each for each in documented - seen if each[2] not in ELSEWHERE} == set()


def conforming(row: Operation, reply: TestResponse) -> tuple[int, str]:
    """Return the status of a reply and the slug of its problem; it is one of the row's, and of its type."""
    assert reply.headers["Turnstile-Worker"].isdigit()
    if reply.mimetype == PROBLEM:
        slug = reply.get_json()["type"].removeprefix(TYPE)
        assert Refusal(reply.status_code, slug) in {*row.refusals, *ANY, *(NO_TOKEN if row.shows else ())}
        body: type = schema.EventProblemBody if slug in DECIDED else schema.ProblemBody
        said: dict[str, object] = TypeAdapter(body).validate_json(reply.data, strict=True)
        assert (said["status"], said["title"]) == (reply.status_code, TITLES[slug])
        assert HEADERS.get(reply.status_code, {}).items() <= dict(reply.headers).items()
        return reply.status_code, slug
    (success,) = [each for each in row.successes if each.status == reply.status_code]
    assert set(success.headers) <= set(reply.headers.keys())
    assert reply.mimetype in success.media or (not success.media and not reply.data)
    if success.body:
        TypeAdapter(success.body).validate_json(reply.data, strict=True)
    return reply.status_code, ""


@dataclass
class Walk:
    """A walk through all that can be asked, on an event of ten tickets."""

    client: FlaskClient
    clock: list[float]

    def all(self) -> Iterator[tuple[str, TestResponse]]:
        """Yield the name of each operation that was asked, and its answer."""
        for row in ROWS.values():
            for reply in self.refused(row):
                yield row.name, reply
        looks = ("look_default", "look", "tickets", "events", "mode", "healthz", "readyz", "metrics", "metrics")
        for name in (*looks, "journal", "sweep"):
            yield name, self.ask(name)
        for name in ("page", "lab", "docs", "openapi", "web"):
            reply = self.ask(name)
            yield name, reply
            yield name, self.ask(name, headers={"If-None-Match": reply.headers["ETag"]})
        yield "noop", self.ask("noop", {"quantity": 1})
        yield from self.bought_and_held()
        yield "put", self.ask("put", {"capacity": 5}, event="new")
        yield "put", self.ask("put", {"capacity": 6}, event="new")
        yield "put", self.ask("put", {"capacity": 0})

    def refused(self, row: Operation) -> Iterator[TestResponse]:
        """Ask in every way that is wrong whatever the tickets are."""
        if "{" in row.path:
            yield self.ask(row.name, row.example, event="no%2Fwhere", order="no%2Fwhere", name="no%2Fwhere")
        if any(each.slug.startswith("no-such") for each in row.refusals):
            yield self.ask(row.name, row.example, event="nowhere", order="f" * 32)
        for number in row.query:
            yield self.ask(row.name, query_string={number.name: "x"})
            yield self.ask(row.name, query_string={number.name: ["1", "2"]})
        if row.shows:
            yield self.ask(row.name, row.example, headers={"Authorization": "Bearer wrong"})
        if any(each.status == 415 for each in row.refusals):
            yield from self.refused_bodies(row)
        if row.keyed:
            order = self.ask("buy", {"quantity": 1}, headers={"Idempotency-Key": f"used-{row.name}"}).get_json()[
                "order"
            ]
            yield self.ask(row.name, row.example, order=order, headers={"Idempotency-Key": "a b"})
            if Refusal(422, "key-reused") in row.refusals:
                yield self.ask(row.name, row.example, order=order, headers={"Idempotency-Key": f"used-{row.name}"})
            self.ask("cancel", order=order)

    def refused_bodies(self, row: Operation) -> Iterator[TestResponse]:
        """Send every body that is wrong."""
        example = dict(row.example or {})
        for body in (b"{", b"\xff", b'{"a": 1, "a": 2}', b"[]", b'{"x": 1}', b" " * (wire.BODY_BYTES_MAX + 1)):
            yield self.ask(row.name, data=body, content_type="application/json")
        yield self.ask(row.name, data=b"{}", content_type="text/plain")
        cut_off = {"CONTENT_LENGTH": "2"}
        yield self.ask(row.name, data=b"{", content_type="application/json", environ_overrides=cut_off)
        yield self.ask(row.name, {})
        for first in list(example)[:1]:
            yield self.ask(row.name, example | {first: -1})

    def bought_and_held(self) -> Iterator[tuple[str, TestResponse]]:
        """Let orders live all the lives that they can."""
        for name, body in (("buy", {"quantity": 1, "buyer": "who"}), ("buy_default", {"quantity": 1}), ("hold", HELD)):
            reply = self.ask(name, body)
            yield name, reply
            yield name, self.ask(name, {**body, "quantity": 100})
            order = reply.get_json()["order"]
            for then in ("find", "confirm", "find", "cancel", "cancel", "confirm", "find"):
                yield then, self.ask(then, order=order)
        order = self.ask("hold", HELD).get_json()["order"]
        yield "tickets", self.ask("tickets")
        self.clock[0] += HELD["ttl_s"] + 1
        for then in ("confirm", "cancel", "find"):
            yield then, self.ask(then, order=order)
        self.ask("buy", {"quantity": 2})
        yield "journal", self.ask("journal")

    def ask(self, operation: str, body: object = None, **how: Any) -> TestResponse:  # noqa: ANN401  # as Flask has it
        """Ask, with what stands for the parts of the path or for Flask's own words in ``how``."""
        row = ROWS[operation]
        places = {"event": "default", "order": "0" * 32, "name": "page.css"}
        path = row.path.format(**{place: how.pop(place, usual) for place, usual in places.items()})
        headers = (ADMIN if row.shows else {}) | how.pop("headers", {})
        if body is not None:
            how["json"] = body
        return self.client.open(path, method=row.method.upper(), headers=headers, **how)


def test_the_page_says_all_that_the_document_says() -> None:
    """Every path, every problem and every field, without a script."""
    said = document("1", harness=True)
    shown = page(said)
    for row in ROWS.values():
        assert f'id="{row.name}"' in shown
        assert f"<code>{row.path}</code>" in shown
    for schema_of in said["components"]["schemas"].values():
        assert all(f"<code>{name}</code>" in shown for name in schema_of["properties"])
    assert all(f"<code>{slug}</code>" in shown for slug in set(TITLES) - {"method-not-allowed"})
    assert "<script" not in shown
    targets = re.findall(r'(?:href|src)="([^"]+)"', shown)
    anchors = set(re.findall(r'id="([^"]+)"', shown))
    assert {target[1:] for target in targets if target.startswith("#")} <= anchors
    assert all(target.startswith(("#", "/")) for target in targets)


@pytest.mark.parametrize(
    "path", ["/events?limit=1&limit=2", "/events?after=a&after=b", "/events/default/tickets?last=1&last=1"]
)
def test_a_parameter_that_comes_twice_is_refused(client: FlaskClient, path: str) -> None:
    """As a key of JSON is: no two readers could agree on which one counts."""
    reply = client.get(path)
    assert (reply.status_code, reply.get_json()["type"]) == (400, f"{TYPE}bad-request")
    assert "stands 2 times in the query: expected it once" in reply.get_json()["detail"]


def test_what_the_document_says_is_escaped() -> None:
    """No text of it becomes markup."""
    said = document("1", harness=False)
    shown = page({**said, "info": {"description": "`<b>` <i>", "version": "<u>"}})
    assert "<code>&lt;b&gt;</code> &lt;i&gt;" in shown
    assert "Version &lt;u&gt;." in shown


@pytest.mark.parametrize(("width", "how"), [(360, {"color_scheme": "dark"}), (1280, {"color_scheme": "light"})])
def test_the_page_is_readable(
    served: Callable[..., Service], browser: Browser, width: int, how: dict[str, Any]
) -> None:
    """No violation for axe; nothing is wider than a phone; the policy forbids nothing that the page needs."""
    service = served("file_lock", workers=1)
    shown = browser.new_page(viewport={"width": width, "height": 800}, **how)
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.goto(f"{service.url}/docs")
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    assert shown.evaluate("getComputedStyle(document.querySelector('pre')).borderRadius") == "8px"
    shown.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    assert [(one["id"], one["help"]) for one in shown.evaluate("axe.run()")["violations"]] == []
    assert said == []
    shown.close()
