"""Bytes that no client should send: nothing breaks, nothing shows, nothing is bought that was not asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest import serve
from tests.bytes_fuzz import Tried, exchanged, fuzzed, made, note, port_of
from tests.bytes_laws import CAPACITY, WORKERS, Health, Reply, books, health, journal, replies, unwell, wrong_with
from tests.bytes_shapes import LOOK, SHAPES, SMUGGLED, buy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.serve import Service

REQUESTS = 3_000
PROBLEM = b"Content-Type: application/problem+json\r\n"
BODY = b'{"type":"x"}'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "data").mkdir()
    (folder / "data" / "default.json").write_text(f'{{"count": {CAPACITY}}}')
    with serve.service(folder, {"mode": "group_commit", "workers": WORKERS, "threads": 4}) as started:
        yield started


@pytest.mark.parametrize("mode", ["group_commit"])
def test_nothing_comes_of_bytes_that_no_client_should_send(tmp_path: Path, mode: str) -> None:
    """No 500, no traceback, no tickets but those that were bought on purpose, the same workers, the same files."""
    tried = fuzzed(tmp_path, mode, 1, REQUESTS)
    assert tried.wrong == []
    assert tried.requests >= REQUESTS
    assert {shape for shape, _ in tried.replies} == {shape.__name__ for shape in SHAPES}
    assert {200, 201, 400, 413, 422, 431, 501} <= {status for _, status in tried.replies}


def test_a_case_is_made_again_from_its_number() -> None:
    """The same bytes for the same seed, and others for another."""
    cases = [made(1, number) for number in range(200)]
    assert cases == [made(1, number) for number in range(200)]
    assert cases != [made(2, number) for number in range(200)]
    assert {shape for shape, _, _ in cases} == {shape.__name__ for shape in SHAPES}


def test_replies_are_cut_where_they_end() -> None:
    """Several, one without a body, and one that is only asked to go on; half a reply is none."""
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
    more = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 NOT MODIFIED\r\n\r\n"
    assert [(reply.status, reply.body) for reply in replies(one + more + one)] == [
        (200, b"ab"),
        (304, b""),
        (200, b"ab"),
    ]
    for broken in (one[:-1], one + b"x", b"<html>"):
        with pytest.raises(ValueError, match=r"no reply begins so|bytes came of a reply of"):
            list(replies(broken))


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(503, PROBLEM, BODY), ""),
        (Reply(501, PROBLEM, BODY), ""),
        (Reply(500, PROBLEM, BODY), "it was answered 500"),
        (Reply(502, PROBLEM, BODY), "it was answered 502"),
        (Reply(400, PROBLEM, b'{"type":"x","detail":"Traceback (most"}'), "shows b'Traceback'"),
        (Reply(200, b"", b'in "/home/x"'), "shows b'/home'"),
        (Reply(400, PROBLEM, b'{"type":"x","detail":"line 4 of app.py"}'), "shows b'.py'"),
        (Reply(404, b"Content-Type: text/html\r\n", b"<h1>Not Found</h1>"), "is no problem detail"),
        (Reply(308, b"Content-Type: text/html\r\n", b"<h1>Redirecting</h1>"), "is no problem detail"),
    ],
)
def test_a_reply_that_is_not_right_is_found(reply: Reply, sentence: str) -> None:
    """By its status, by what it shows, and by its kind."""
    found = wrong_with(reply)
    assert sentence in found if sentence else not found


def test_the_store_is_held_against_what_was_told(service: Service) -> None:
    """A purchase that nobody was told of, one that is not there, and one that was hidden in another request."""
    port = port_of(service.url)

    def bought(body: bytes) -> dict[str, int]:
        tried = Tried()
        note(exchanged(port, buy(body))[0], "valid", tried)
        return tried.sold

    before = {line["order"]: line["quantity"] for line in journal(service)}
    told = bought(b'{"quantity": 3}')
    assert list(told.values()) == [3]
    sold = before | told
    assert list(books(service, sold, 0)) == []
    assert list(books(service, sold | {"f" * 32: 1}, 0)) == [
        f"1 purchases were told and are not in the store: [('{'f' * 32}', 1)]"
    ]
    (order,) = told
    assert list(books(service, before, 0)) == [f"1 purchases are in the store and nobody was told of them: ['{order}']"]
    assert list(books(service, before, 1)) == []
    hidden = bought(b'{"quantity": 1, "buyer": "%s"}' % SMUGGLED.encode())
    assert list(books(service, sold | hidden, 0)) == ["a purchase that was hidden in another request was made"]


def test_workers_are_held_against_what_they_were(service: Service) -> None:
    """Others than before, and more memory: each is said."""
    port = port_of(service.url)
    assert exchanged(port, LOOK)[1]
    now = health(service, port)
    assert len(now.bytes) == WORKERS
    assert list(unwell(service, port, now)) == []
    assert "the workers were [1]" in next(unwell(service, port, Health({1: 0}, {1: 0})))
    assert "grew by" in next(unwell(service, port, Health(dict.fromkeys(now.bytes, 0), now.files)))


def test_what_a_proxy_hands_on_does_not_choose_the_route(service: Service) -> None:
    """SCRIPT_NAME is a header like any other that nobody reads: found by the fuzzer as a 500, and as another route."""
    port = port_of(service.url)
    for value in (b"/x", b"/buy", b"\xff"):
        (reply,) = replies(exchanged(port, buy(more=b"SCRIPT_NAME: " + value + b"\r\n"))[0])
        assert reply.status == 201


def test_an_address_without_a_path_is_the_first_page(service: Service) -> None:
    """And not sent on to it (RFC 9112, 3.2.2): found by the fuzzer as a page of HTML that is not ours."""
    port = port_of(service.url)
    (bare,) = replies(exchanged(port, b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n")[0])
    (page,) = replies(exchanged(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0])
    assert (bare.status, bare.body) == (200, page.body)
