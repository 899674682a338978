"""The wire: every row of the bad-input table is refused by name, and changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import wire
from service.app import create_app
from service.mode import Busy, Damaged, NotWritten
from service.problems import Problem
from service.settings import Settings
from service.wire import BODY_BYTES_MAX

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from tests.counter import Counter

JSON = "application/json"
TOKEN = "a-token-of-enough-length"  # noqa: S105  # a test's

BAD_INPUT: dict[str, tuple[bytes, str, int, str, str]] = {
    "no body": (b"", JSON, 400, "not-json", "not JSON at character 0"),
    "broken JSON": (b'{"quantity": 1', JSON, 400, "not-json", "not JSON at character 14"),
    "two values": (b'{"quantity": 1} 2', JSON, 400, "not-json", "Extra data"),
    "a trailing comma": (b'{"quantity": 1,}', JSON, 400, "not-json", "expected an object such as"),
    "not a number": (b'{"quantity": NaN}', JSON, 400, "not-json", "NaN is not JSON"),
    "infinity": (b'{"quantity": -Infinity}', JSON, 400, "not-json", "-Infinity is not JSON"),
    "nested too deep": (b"[" * 4000, JSON, 400, "not-json", "expected an object such as"),
    "broken UTF-8": (b'{"buyer": "\xff"}', JSON, 400, "not-utf-8", "byte 11 of the body"),
    "UTF-16": ('{"quantity": 1}'.encode("utf-16"), JSON, 400, "not-utf-8", "byte 0 of the body"),
    "a key twice": (b'{"quantity": 1, "quantity": 2}', JSON, 400, "duplicate-key", '"quantity" stands twice'),
    "a key twice, deep": (b'{"buyer": {"a": 1, "a": 1}}', JSON, 400, "duplicate-key", '"a" stands twice'),
    "not an object": (b"[1]", JSON, 422, "wrong-type", "the body is [1]"),
    "null": (b"null", JSON, 422, "wrong-type", "the body is null"),
    "no quantity": (b"{}", JSON, 422, "missing-field", "quantity is missing: expected a whole number from 1"),
    "an unknown field": (b'{"quantity": 1, "price": 0}', JSON, 422, "unknown-field", '"price" is not known'),
    "an unknown field alone": (b'{"qty": 1}', JSON, 422, "unknown-field", "expected only quantity, partial, buyer"),
    "a boolean quantity": (b'{"quantity": true}', JSON, 422, "wrong-type", "quantity is true"),
    "a float quantity": (b'{"quantity": 1.5}', JSON, 422, "wrong-type", "quantity is 1.5"),
    "a whole float quantity": (b'{"quantity": 1.0}', JSON, 422, "wrong-type", "quantity is 1.0"),
    "an exponent": (b'{"quantity": 1e400}', JSON, 422, "wrong-type", "quantity is"),
    "a text quantity": (b'{"quantity": "1"}', JSON, 422, "wrong-type", 'quantity is "1"'),
    "a null quantity": (b'{"quantity": null}', JSON, 422, "wrong-type", "quantity is null"),
    "quantity 0": (b'{"quantity": 0}', JSON, 422, "out-of-range", "from 1 to 100"),
    "quantity -1": (b'{"quantity": -1}', JSON, 422, "out-of-range", "quantity is -1"),
    "quantity 101": (b'{"quantity": 101}', JSON, 422, "out-of-range", "quantity is 101"),
    "a huge quantity": (b'{"quantity": 1%b}' % (b"0" * 40), JSON, 422, "out-of-range", "from 1 to 100"),
    "4001 digits": (b'{"quantity": 1%b}' % (b"0" * 4000), JSON, 422, "out-of-range", "from 1 to 100"),
    "partial 1": (b'{"quantity": 1, "partial": 1}', JSON, 422, "wrong-type", "partial is 1: expected true or false"),
    "partial text": (b'{"quantity": 1, "partial": "true"}', JSON, 422, "wrong-type", "expected true or false"),
    "a buyer number": (b'{"quantity": 1, "buyer": 7}', JSON, 422, "wrong-type", "buyer is 7"),
    "an empty buyer": (b'{"quantity": 1, "buyer": ""}', JSON, 422, "out-of-range", "1 to 100 characters"),
    "a long buyer": (b'{"quantity": 1, "buyer": "%b"}' % (b"x" * 101), JSON, 422, "out-of-range", "1 to 100 char"),
    "half a surrogate": (b'{"quantity": 1, "buyer": "\\ud800"}', JSON, 422, "wrong-type", "buyer is"),
    "no content type": (b'{"quantity": 1}', "", 415, "wrong-content-type", "the content type is missing"),
    "a form": (b"quantity=1", "application/x-www-form-urlencoded", 415, "wrong-content-type", "expected application/"),
    "plain text": (b'{"quantity": 1}', "text/plain", 415, "wrong-content-type", '"text/plain"'),
    "a large body": (b" " * BODY_BYTES_MAX + b'{"quantity": 1}', JSON, 413, "body-too-large", "more than the 4096"),
}


@pytest.fixture
def client(counter: Counter) -> FlaskClient:
    mode = counter.opened("file_lock")
    return create_app(mode, Settings(admin_token=TOKEN)).test_client()


def on_disk(counter: Counter) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in counter.directory.glob("default.*")}


@pytest.mark.parametrize("row", BAD_INPUT)
@pytest.mark.parametrize("path", ["/buy", "/events/default/buy"])
def test_bad_input_is_refused_by_name_and_changes_nothing(
    counter: Counter, client: FlaskClient, path: str, row: str
) -> None:
    """Each its own problem, whose ``detail`` says what was wrong and what is expected."""
    body, content_type, status, slug, words = BAD_INPUT[row]
    before = on_disk(counter)
    reply = client.post(path, data=body, headers={"Content-Type": content_type} if content_type else {})
    assert reply.mimetype == "application/problem+json"
    problem = reply.get_json()
    assert (reply.status_code, problem["status"]) == (status, status)
    assert problem["type"] == f"urn:turnstile:problem:{slug}"
    assert problem["title"]
    assert words in problem["detail"]
    assert len(problem["detail"]) < 250
    assert on_disk(counter) == before


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (wire.BuyBody, '{"quantity": 1}'),
        (wire.HoldBody, '{"quantity": 1, "ttl_s": 60}'),
        (wire.CapacityBody, '{"capacity": 250}'),
        (wire.NoBody, "{}"),
    ],
)
def test_the_example_is_one_of_what_was_asked_for(model: type[wire.Body], example: str) -> None:
    """Whoever copies it is understood."""
    for body in (b"{", b"[]", b"[" * 4000):
        with pytest.raises(Problem) as problem:
            wire.body_of(model, JSON, body)
        assert str(problem.value).endswith(f"expected an object such as {example}")
    assert wire.body_of(model, JSON, example.encode())


@given(body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_command_or_a_problem(body: bytes) -> None:
    """Nothing else comes out of the parser, whatever goes in."""
    try:
        command = wire.body_of(wire.BuyBody, JSON, body)
    except Problem as problem:
        assert 400 <= problem.status < 500
    else:
        assert 1 <= command.quantity <= wire.QUANTITY_MAX


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), st.lists, max_leaves=4
)


@given(body=st.dictionaries(st.sampled_from(["quantity", "partial", "buyer", "x"]), VALUES))
def test_any_object_is_a_command_or_a_problem(body: dict[str, Any]) -> None:
    """A command is exactly what the object said; anything else is a problem."""
    try:
        command = wire.body_of(wire.BuyBody, JSON, json.dumps(body).encode())
    except Problem as problem:
        assert problem.status in {400, 422}
    else:
        assert type(body["quantity"]) is int
        assert (command.quantity, command.partial, command.buyer) == (
            body["quantity"],
            body.get("partial", False),
            body.get("buyer"),
        )


def test_a_sale_says_everything_about_itself(client: FlaskClient) -> None:
    """201 with the order, its tickets, and the version and count that it made; and where to find it."""
    reply = client.post("/buy", json={"quantity": 3, "buyer": "票"}, headers={"Content-Type": f"{JSON}; charset=utf-8"})
    body = reply.get_json()
    assert reply.status_code == 201
    assert {name: body[name] for name in body if name != "order"} == {
        "event": "default",
        "status": "sold",
        "quantity": 3,
        "tickets": [1, 2, 3],
        "count": 7,
        "version": 1,
        "buyer": "票",
    }
    assert reply.headers["Location"] == f"/orders/{body['order']}"
    found = client.get(reply.headers["Location"])
    assert (found.status_code, found.get_json()) == (200, body)


def test_a_refusal_says_what_it_saw(client: FlaskClient) -> None:
    """409 with the version and the count at which too few were left."""
    reply = client.post("/buy", json={"quantity": 11})
    body = reply.get_json()
    assert (reply.status_code, body["type"]) == (409, "urn:turnstile:problem:sold-out")
    assert (body["event"], body["capacity"], body["count"], body["version"]) == ("default", 10, 10, 0)
    assert body["detail"] == "11 tickets were asked for, and 10 are left"


def test_partial_takes_what_is_left(client: FlaskClient) -> None:
    """As the article's buyers do."""
    assert client.post("/buy", json={"quantity": 8}).status_code == 201
    assert client.post("/buy", json={"quantity": 5, "partial": True}).get_json()["tickets"] == [9, 10]
    assert client.post("/buy", json={"quantity": 5, "partial": True}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/events/nowhere", 404, "no-such-event"),
        ("POST", "/events/nowhere/buy", 404, "no-such-event"),
        ("POST", "/events/..%2f..%2fetc/buy", 404, "not-found"),
        ("GET", "/orders/0123456789abcdef0123456789abcdef", 404, "no-such-order"),
        ("GET", "/orders/%22", 404, "no-such-order"),
        ("GET", "/orders/.*", 404, "no-such-order"),
        ("GET", "/nowhere", 404, "not-found"),
        ("POST", "//buy", 404, "not-found"),
        ("GET", "/events//tickets", 404, "not-found"),
        ("GET", "/buy", 405, "method-not-allowed"),
        ("POST", "/buy?quantity=3", 400, "bad-request"),
        ("GET", "/tickets?fresh=1", 400, "bad-request"),
        ("GET", "/events?limits=3", 400, "bad-request"),
        ("PUT", "/tickets", 405, "method-not-allowed"),
        ("POST", "/noop", 404, "not-found"),
        ("GET", "/events/default/journal", 401, "not-signed-in"),
    ],
)
def test_what_is_not_there_is_a_problem_too(
    client: FlaskClient, method: str, path: str, status: int, slug: str
) -> None:
    """No page of HTML, whatever is asked for; and without the harness no ``/noop``."""
    reply = client.open(path, method=method, json={"quantity": 1} if method == "POST" else None)
    assert (reply.status_code, reply.mimetype) == (status, "application/problem+json")
    assert reply.get_json()["type"].endswith(f":{slug}")
    assert "Turnstile-Worker" not in reply.headers


def test_method_not_allowed_says_which_are(client: FlaskClient) -> None:
    """RFC 9110 asks for ``Allow``; people are told what they may have meant."""
    refused = client.delete("/tickets")
    assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert refused.get_json()["detail"] == "DELETE /tickets is not allowed: expected GET there"


def test_a_page_may_be_asked_for_with_any_query(client: FlaskClient) -> None:
    """People pass links on, and programs add to them; the pages take no part of it for a wish."""
    for path in ("/?event=default&from=friend", "/lab?x", "/docs?y=1", "/web/page.css?v=2"):
        assert client.get(path).status_code == 200


def test_the_journal_is_for_the_administrator(client: FlaskClient, counter: Counter) -> None:
    """401 without the token, 403 where none is set, the lines after a version with it."""
    for quantity in (1, 2, 3):
        client.post("/buy", json={"quantity": quantity})
    signed_in = {"Authorization": f"Bearer {TOKEN}"}
    reply = client.get("/events/default/journal?after=1", headers=signed_in)
    assert [json.loads(line)["quantity"] for line in reply.text.splitlines()] == [2, 3]
    assert client.get("/events/nowhere/journal", headers=signed_in).status_code == 404
    for after in ("-1", "x", "1.5", "9" * 40, "٣"):
        assert client.get(f"/events/default/journal?after={after}", headers=signed_in).status_code == 400
    for wrong in ("Bearer wrong", "Bearer", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x"):
        refused = client.get("/events/default/journal", headers={"Authorization": wrong})
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert client.get("/events/default/journal", headers={"Authorization": "Bearer ü"}).status_code == 401
    nobody = create_app(counter.joined("file_lock"), Settings()).test_client()
    assert nobody.get("/events/default/journal", headers=signed_in).status_code == 403


def test_a_failure_says_truly_whether_anything_was_done(counter: Counter) -> None:
    """Busy and a full disk are 503, certainly not done; anything unforeseen is 500, unknown."""
    raised: dict[type[Exception], tuple[int, str]] = {
        Busy: (503, "busy"),
        NotWritten: (503, "not-written"),
        Damaged: (500, "torn-read"),
        OSError: (500, "unknown-outcome"),
        RuntimeError: (500, "unknown-outcome"),
    }
    for kind, (status, slug) in raised.items():
        mode = counter.opened("file_lock")
        error = Busy(1.0) if kind is Busy else kind("as a test has it")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mode, "execute", Mock(side_effect=error))
            reply = create_app(mode, Settings()).test_client().post("/buy", json={"quantity": 1})
        assert (reply.status_code, reply.get_json()["type"]) == (status, f"urn:turnstile:problem:{slug}")
        assert ("Retry-After" in reply.headers) == (status == 503)
        assert "as a test has it" not in reply.text or status == 503


def test_a_store_that_cannot_be_read_is_not_ready(client: FlaskClient, counter: Counter) -> None:
    """Nor is one whose document is gone."""
    (counter.directory / "default.json").unlink()
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("error", [Busy(1.0), NotWritten("the engine is away")])
def test_a_service_whose_engine_does_not_answer_is_not_ready(counter: Counter, error: Exception) -> None:
    """As with a file that cannot be read: 503, and the reason."""
    mode = counter.opened("file_lock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mode.store, "look", Mock(side_effect=error))
        reply = create_app(mode, Settings()).test_client().get("/readyz")
    assert (reply.status_code, reply.get_json()["type"]) == (503, "urn:turnstile:problem:not-ready")
    assert "engine: does not answer" in reply.get_json()["detail"]


def test_the_mode_states_its_claim(client: FlaskClient) -> None:
    """What the load test holds it to."""
    body = client.get("/mode").get_json()
    assert (body["mode"], body["claim"]["reach"], body["workers"]) == ("file_lock", "processes", 4)


def test_a_torn_document_is_an_unknown_outcome_and_not_ready(client: FlaskClient, counter: Counter) -> None:
    """Never a wrong count: 500 for who asks, 503 for who asks whether it is ready; and alive all the same."""
    (counter.directory / "default.json").write_text('{"event":"default","capac')
    reply = client.get("/tickets")
    assert (reply.status_code, reply.get_json()["type"]) == (500, "urn:turnstile:problem:torn-read")
    assert client.post("/buy", json={"quantity": 1}).status_code == 500
    ready = client.get("/readyz")
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "1")
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/ticket", "GET /tickets"),
        ("/event/default", "GET /events/{event} or PUT /events/{event}"),
        ("/orders/e35e00df/confrim", "POST /orders/{order}/confirm"),
        ("/nothing-like-it", "GET /tickets or POST /buy"),
        ("/no%0Aline%20or%20%27word%27", "GET /tickets or POST /buy"),
    ],
)
def test_a_route_that_there_is_not_is_answered_with_one_like_it(client: FlaskClient, path: str, near: str) -> None:
    """As it stands in the documentation, with what may be asked there."""
    detail = client.get(path).get_json()["detail"]
    assert detail == f"there is no route GET {path}: expected one such as {near}"
