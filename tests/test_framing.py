"""Where a request ends: told at its last byte, whatever the pieces it comes in, and not waited for in vain."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.framing import HEAD_BYTES_MAX, Arriving, Endless, TooLarge, plain
from tests.connections import BODY, BUY, HEAD

BODY_BYTES_MAX = 64
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKS + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
EXPECTS = HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
LOOK = b"GET /tickets HTTP/1.1\r\nHost: x\r\n\r\n"
REQUESTS = {
    "with a length": BUY,
    "in a chunk": CHUNKED,
    "without a body": LOOK,
    "with a body of nothing": HEAD + b"Content-Length: 0\r\n\r\n",
    "in chunks of a byte": CHUNKS + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n",
    "with data that looks like the end": CHUNKS + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "with trailers": CHUNKS + b"3\r\nabc\r\n0\r\nDigest: x\r\nAfter: y\r\n\r\n",
    "with extensions": CHUNKS + b'3;name=value\r\nabc\r\n00;last="yes"\r\n\r\n',
    "with an empty body of chunks": CHUNKS + b"0\r\n\r\n",
}


def cut(pieces: list[bytes]) -> list[bytes]:
    """Return the requests that are found when ``pieces`` come one after another."""
    arriving, found = Arriving(BODY_BYTES_MAX), []
    for piece in pieces:
        arriving.seen += piece
        while request := arriving.next():
            found.append(request)
    return found


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_whole_at_its_last_byte_and_not_before(request_: bytes) -> None:
    """One byte at a time."""
    arriving = Arriving(BODY_BYTES_MAX)
    for place in range(len(request_) - 1):
        arriving.seen += request_[place : place + 1]
        assert arriving.next() == b""
    arriving.seen += request_[-1:]
    assert arriving.next() == request_
    assert not arriving.seen


@given(
    requests=st.lists(st.sampled_from(list(REQUESTS.values())), max_size=6),
    cuts=st.lists(st.integers(min_value=0, max_value=2000)),
    half=st.sampled_from(list(REQUESTS.values())),
)
def test_requests_are_cut_out_wherever_the_pieces_end(requests: list[bytes], cuts: list[int], half: bytes) -> None:
    """Several at once, one in many pieces, the half of one at the end: each comes out as it was sent, in its order."""
    sent = b"".join(requests) + half[: len(half) // 2]
    places = [0, *sorted(place for place in cuts if place < len(sent)), len(sent)]
    assert cut([sent[first:last] for first, last in itertools.pairwise(places)]) == requests


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=40))
def test_nothing_is_lost_or_made_up_whatever_comes(sent: bytes, size: int) -> None:
    """What is no request at all is cut somewhere, or refused."""
    sent = CHUNKS + sent
    with suppress(Endless, TooLarge):
        assert sent.startswith(b"".join(cut([sent[place : place + size] for place in range(0, len(sent), size)])))


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 65\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 65\r\n\r\n",
        CHUNKS + b"41\r\n",
        CHUNKS + b"ffffffff\r\n",
        CHUNKS + b"20\r\n" + b"x" * 32 + b"\r\n21\r\n",
        CHUNKS + b"1;" + b"x" * 200 + b"\r\nx\r\n1;" + b"x" * 200 + b"\r\nx\r\n1;" + b"x" * 200 + b"\r\nx\r\n",
    ],
)
def test_a_body_that_is_too_large_is_not_waited_for(sent: bytes) -> None:
    """Told from its length, or from the chunks that have come, and from what is around them."""
    with pytest.raises(TooLarge):
        cut([sent])


@pytest.mark.parametrize("sent", [b"x" * HEAD_BYTES_MAX, CHUNKS + b"0\r\n" + b"A: b\r\n" * 4000])
def test_headers_without_end_are_not_waited_for(sent: bytes) -> None:
    """Nor trailers."""
    assert cut([sent[:-20_000]]) == []
    with pytest.raises(Endless):
        cut([sent])


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: none\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKS + b"nonsense\r\n",
        CHUNKS + b"-1\r\n",
        CHUNKS + b"1" * 300,
    ],
)
def test_what_makes_no_sense_is_not_waited_for(sent: bytes) -> None:
    """It goes to the parser as it is, which says what is wrong."""
    assert cut([sent]) == [sent]


def test_who_waits_to_be_asked_for_the_body_is_asked_once() -> None:
    """When the head is there and the body is not; the parser does not see the expectation, and would ask again."""
    arriving = Arriving(BODY_BYTES_MAX)
    arriving.seen += EXPECTS[:-4]
    assert arriving.next() == b""
    assert not arriving.continues
    arriving.seen += EXPECTS[-4:-3]
    assert arriving.next() == b""
    assert arriving.continues
    arriving.seen += EXPECTS[-3:]
    assert arriving.next() == EXPECTS.replace(b"\r\nExpect: 100-continue", b"")
    assert not arriving.continues


def test_other_expectations_are_for_the_parser_to_refuse() -> None:
    """So is that of an older client, which must not be asked."""
    older, other = EXPECTS.replace(b"HTTP/1.1", b"HTTP/1.0"), EXPECTS.replace(b"100-continue", b"miracles")
    for sent in (older, other):
        arriving = Arriving(BODY_BYTES_MAX)
        arriving.seen += sent[:-1]
        assert arriving.next() == b""
        assert not arriving.continues
        arriving.seen += sent[-1:]
        assert arriving.next() == sent


@pytest.mark.parametrize(
    ("request_bytes", "is_plain"),
    [
        (BUY, True),
        (LOOK, True),
        (LOOK.replace(b"GET", b"HEAD"), False),
        (BUY.replace(b"Host: x", b"Host: x\r\nConnection:Keep-Alive"), True),
        (BUY.replace(b"Host: x", b"Host: x\r\nConnection: close"), False),
        (BUY.replace(b"Host: x", b"Host: x\r\nConnection: keep-alive, close"), False),
        (BUY.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (BUY.replace(b"Host: x", b"Host: x\r\nContent-Length: 15"), False),
        (BUY.replace(b"Content-Length: ", b"Content-Length: +"), False),
        (BUY.replace(b"Content-Length:", b"Content-Length :"), False),
        (BUY.replace(b"Content-Length:", b" Content-Length:"), False),
        (BUY.replace(b"Host: x", b"Host: x\nContent-Length: 3"), False),
        (BUY.replace(b"Host: x", b"Host: x\x00"), False),
        (CHUNKED, False),
        (CHUNKED.replace(b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING:\tchunked"), False),
        (b"nonsense\r\n\r\n", False),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_plain(request_bytes: bytes, *, is_plain: bool) -> None:
    """After a request that nobody has parsed, only a plain one's connection is read on."""
    assert plain(request_bytes) is is_plain


@given(st.lists(st.sampled_from([b"Content-Length: 15", b"transfer-encoding: x", b"Connection: x", b"X: y", b"bad"])))
def test_a_plain_request_says_its_length_once_at_most(fields: list[bytes]) -> None:
    """And nothing else of where it ends, in whatever order it comes."""
    request = b"\r\n".join([b"POST /buy HTTP/1.1", *fields, b"", BODY])
    assert plain(request) == (
        set(fields) <= {b"Content-Length: 15", b"X: y"} and fields.count(b"Content-Length: 15") < 2
    )
