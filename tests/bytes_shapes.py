"""Requests that nobody should send, as bytes: each *shape* makes one connection's worth of them from a seeded chance.

Buyers have names: an order of a buyer called SMUGGLED was hidden in the body of another request, and no server may find
it there.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

SMUGGLED = "smuggled"
JSON = b"Content-Type: application/json\r\n"
HOST = b"Host: x\r\n"
LOOK = b"GET /tickets HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """What is sent on one connection, and how many requests it is meant to be."""

    data: bytes
    requests: int = 1


def buy(body: bytes = b'{"quantity": 1}', more: bytes = b"", length: bytes | None = None) -> bytes:
    """Return a purchase with this body, with ``more`` header fields, or with another length than it has."""
    said = b"%d" % len(body) if length is None else length
    return b"POST /buy HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: " + said + b"\r\n" + more + b"\r\n" + body


def framed(fields: bytes, body: bytes) -> bytes:
    """Return a purchase whose header says of its body only what ``fields`` say."""
    return b"POST /buy HTTP/1.1\r\n" + HOST + JSON + fields + b"\r\n" + body


HIDDEN = buy(json.dumps({"quantity": 1, "buyer": SMUGGLED}).encode())
INNER = b'{"quantity": 1}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER)
WORDS = {
    name: [word.encode("utf-8" if name == "texts" else "latin-1") for word in words]
    for name, words in tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).items()
}


def valid(_: Random) -> Sent:
    """Make a purchase on purpose."""
    return Sent(buy())


def length(chance: Random) -> Sent:
    """Say a length that is none, or not the body's."""
    said = chance.choice(WORDS["lengths"])
    return Sent(buy(INNER if said.isdigit() else INNER + HIDDEN, length=said))


def two_framings(chance: Random) -> Sent:
    """Say two lengths, or a length and a coding, and hide a purchase where only one of them sees it."""
    whole = CHUNKED + HIDDEN
    fields = [b"Content-Length: %d" % len(whole), chance.choice([b"Transfer-Encoding: chunked", b"Content-Length: 15"])]
    if chance.random() < 0.2:
        fields = [b"Content-Length: %d, %d" % (len(INNER), len(whole))]
    chance.shuffle(fields)
    return Sent(framed(b"".join(field + b"\r\n" for field in fields), whole), 2)


def coding(chance: Random) -> Sent:
    """Say a coding that is nearly ``chunked``, with a length that covers all."""
    whole = CHUNKED + HIDDEN
    fields = [b"Content-Length: %d" % len(whole), chance.choice(WORDS["codings"])]
    chance.shuffle(fields)
    return Sent(framed(b"".join(field + b"\r\n" for field in fields), whole), 2)


def chunks(chance: Random) -> Sent:
    """Send chunks whose sizes, ends or trailers are not in order."""
    size, end, last = (chance.choice(WORDS[name]) for name in ("chunk_sizes", "chunk_ends", "last_chunks"))
    if chance.random() < 0.1:
        last = b"0\r\n" + b"A: b\r\n" * 3000 + b"\r\n"
    return Sent(framed(b"Transfer-Encoding: chunked\r\n", size + end + INNER + end + last))


def nulls(chance: Random) -> Sent:
    """Put bytes that no text has into a request."""
    request = bytearray(buy() if chance.random() < 0.5 else LOOK)
    for _ in range(chance.randint(1, 4)):
        request.insert(chance.randrange(len(request)), chance.choice(b"\x00\x00\x01\x0b\x0c\x1a\x7f\x80\xff\r\n"))
    return Sent(bytes(request))


def encodings(chance: Random) -> Sent:
    """Send JSON in other encodings than UTF-8, or in none."""
    text = '{"quantity": 1, "buyer": "票\u00e9"}'
    coded = chance.choice(["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "gb18030", "cp037", "utf-8-sig"])
    body = text.encode(coded, errors="replace")
    if chance.random() < 0.3:
        body = b'{"quantity": 1, "buyer": "' + chance.randbytes(chance.randint(1, 30)) + b'"}'
    return Sent(buy(body, chance.choice([b"", b"Content-Encoding: gzip\r\n", b"X: \xff\xfe\r\n"])))


def deep(chance: Random) -> Sent:
    """Nest JSON as deep as a body may be long, or longer."""
    depth = chance.choice([10, 500, 1000, 2000, 4000, 5000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'{"quantity":', b"}"), (b"[[", b"")])
    return Sent(buy(opening * depth + b"1" + closing * depth))


def numbers(chance: Random) -> Sent:
    """Ask for a quantity that is none."""
    number = b"9" * chance.randint(19, 4200) if chance.random() < 0.2 else chance.choice(WORDS["numbers"])
    return Sent(buy(b'{"quantity": %s}' % number))


def holds(chance: Random) -> Sent:
    """Ask for a hold that lasts for no time at all, of no tickets."""
    body = b'{"quantity": 0, "ttl_s": %s}' % chance.choice(WORDS["numbers"])
    return Sent(buy(body).replace(b"/buy", b"/events/default/holds"))


def keys(chance: Random) -> Sent:
    """Ask again with one key, for the same or for something else."""
    key = b"Idempotency-Key: %x\r\n" % chance.getrandbits(64)
    bodies = [INNER, INNER, chance.choice([b'{"quantity": 2}', b'{"quantity": 1, "buyer": null}', b"{}"])]
    return Sent(b"".join(buy(body, key) for body in bodies), len(bodies))


def texts(chance: Random) -> Sent:
    """Send what is nearly JSON, or nearly what is expected."""
    return Sent(buy(chance.choice(WORDS["texts"])))


def headers(chance: Random) -> Sent:
    """Send too many header fields, too long ones, or some that are none."""
    match chance.randrange(4):
        case 0:
            return Sent(buy(more=b"A: b\r\n" * chance.choice([60, 61, 62, 65, 1000, 5000])))
        case 1:
            return Sent(buy(more=b"A: " + b"x" * chance.choice([4000, 4095, 4096, 9000, 20_000]) + b"\r\n"))
    return Sent(buy(more=chance.choice(WORDS["headers"]) + b"\r\n"))


def lines(chance: Random) -> Sent:
    """Begin with a line that is none."""
    line = chance.choice(WORDS["lines"])
    if chance.random() < 0.1:
        line = b"GET /" + b"x" * chance.choice([2000, 2048, 5000, 20_000]) + b" HTTP/1.1"
    return Sent(line + chance.choice([b"\r\n", b"\n"]) + HOST + b"\r\n")


def routes(chance: Random) -> Sent:
    """Ask for places that are none."""
    method, route, place = (chance.choice(WORDS[name]) for name in ("methods", "routes", "places"))
    return Sent(method + b" " + route.replace(b"{}", place) + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")


def pipelined(chance: Random) -> Sent:
    """Send many requests at once, at times with one among them that is none."""
    many = [chance.choice([LOOK, LOOK, buy()]) for _ in range(chance.randint(2, 12))]
    if chance.random() < 0.5:
        many.insert(chance.randrange(len(many) + 1), chance.choice([two_framings, chunks, nulls, lines])(chance).data)
    return Sent(b"".join(many), len(many))


def half(chance: Random) -> Sent:
    """Send a part of a request, and no more."""
    request = chance.choice([buy(), LOOK, framed(b"Transfer-Encoding: chunked\r\n", CHUNKED)])
    return Sent(request[: chance.randrange(1, len(request))])


def flips(chance: Random) -> Sent:
    """Change some bytes of a request: flip, remove, repeat."""
    request = bytearray(chance.choice([buy(), LOOK, framed(b"Transfer-Encoding: chunked\r\n", CHUNKED)]))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(request))
        match chance.randrange(4):
            case 0:
                request[at] ^= 1 << chance.randrange(8)
            case 1:
                del request[at : at + chance.randint(1, 5)]
            case 2:
                request[at:at] = request[at : at + chance.randint(1, 20)]
            case _:
                request[at] = chance.randrange(256)
    return Sent(bytes(request))


def noise(chance: Random) -> Sent:
    """Speak another protocol, or none."""
    return Sent(chance.choice(WORDS["noise"]) if chance.random() < 0.5 else chance.randbytes(chance.randint(1, 400)))


SHAPES: tuple[Callable[[Random], Sent], ...] = (
    valid, length, two_framings, coding, chunks, nulls, encodings, deep, numbers, holds, keys, texts, headers, lines,
    routes, pipelined, half, flips, noise,
)  # fmt: skip
