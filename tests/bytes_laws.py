"""The laws of ``bytes_fuzz.py``: what a reply must be, what the workers must be like, and what the store must have."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from tests.bytes_shapes import SMUGGLED
from tests.processes import children_of, holds, listening
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.serve import Service

CAPACITY = 10_000_000
WORKERS = 2
GROWTH_BYTES_MAX = 16 << 20
"""More than the index of the orders that are bought on purpose takes."""
FINE = frozenset({501, 503, 505})
"""The statuses from 500 on that a reply may have."""
HEAD = re.compile(rb"HTTP/1\.\d (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
LENGTH = re.compile(rb"^content-length: *(\d+)\r\n", re.IGNORECASE | re.MULTILINE)
SHOWS = re.compile(
    rb"Traceback|\.py\b|site-packages|/usr/|/root|/home|/tmp|gunicorn|[Ww]erkzeug|Exception|Error\b|\bat 0x"
)
"""What tells of the service's inside."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it came."""

    status: int
    head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Health:
    """The workers, by their process: how much memory and how many files each has."""

    bytes: dict[int, int]
    files: dict[int, int]


def replies(came: bytes) -> Iterator[Reply]:
    """Cut what came into replies. Raises ``ValueError`` where there is none."""
    while came:
        head = HEAD.match(came)
        if head is None:
            raise ValueError(f"no reply begins so: {came[:80]!r}")
        status, length = int(head[1]), LENGTH.search(head[2])
        if status == 100:
            came = came[head.end() :]
            continue
        end = head.end() + (int(length[1]) if length else 0)
        if len(came) < end:
            raise ValueError(f"{len(came)} bytes came of a reply of {end}: {came[:80]!r}")
        yield Reply(status, head[0], came[head.end() : end])
        came = came[end:]


def wrong_with(reply: Reply) -> str:
    """Return what is wrong with a reply, or nothing."""
    if reply.status >= 500 and reply.status not in FINE:
        return f"it was answered {reply.status}: {reply.body[:200]!r}"
    if shows := SHOWS.search(reply.body):
        return f"a reply of {reply.status} shows {shows[0]!r}: {reply.body[:200]!r}"
    if reply.status >= 300 and not (b"application/problem+json" in reply.head and b'"type"' in reply.body):
        return f"a reply of {reply.status} is no problem detail: {reply.body[:200]!r}"
    return ""


def health(service: Service, port: int) -> Health:
    """Look at the workers."""
    door = listening(port)
    workers = [pid for pid in children_of(service.process.pid) if holds(pid, door)]
    page_bytes = 4096
    return Health(
        {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page_bytes for pid in workers},
        {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers},
    )


def unwell(service: Service, port: int, before: Health) -> Iterator[str]:
    """Yield what is the matter with the workers."""
    after = health(service, port)
    if after.bytes.keys() != before.bytes.keys() or len(after.bytes) != WORKERS:
        yield f"the workers were {sorted(before.bytes)} and are {sorted(after.bytes)}"
        return
    for pid, size in after.bytes.items():
        if size - before.bytes[pid] > GROWTH_BYTES_MAX:
            yield f"worker {pid} grew by {size - before.bytes[pid]:,} bytes"
    try:
        until(lambda: all(health(service, port).files[pid] <= count + 1 for pid, count in before.files.items()))
    except AssertionError:
        yield f"the workers had {before.files} open files and have {health(service, port).files}"


def journal(service: Service) -> list[dict[str, Any]]:
    """Return the changes that the store has."""
    with requests.Session() as session:
        session.trust_env = False
        lines = session.get(
            f"{service.url}/events/default/journal", timeout=PATIENCE_S, params={"after": 0},
            headers={"Authorization": f"Bearer {service.token}"},
        )  # fmt: skip
    return [json.loads(line) for line in lines.text.splitlines()]


def books(service: Service, sold: dict[str, int], lost: int) -> Iterator[str]:
    """Yield where the store and what was told differ. ``lost`` connections were reset before all was read."""
    with requests.Session() as session:
        session.trust_env = False
        look = session.get(f"{service.url}/tickets", timeout=PATIENCE_S).json()
    lines = journal(service)
    written = {line["order"]: line["quantity"] for line in lines}
    if any(line["status"] != "sold" for line in lines):
        yield "the store has changes that are no purchases"
    if any(SMUGGLED in (line["buyer"] or "") for line in lines):
        yield "a purchase that was hidden in another request was made"
    if missing := sold.items() - written.items():
        yield f"{len(missing)} purchases were told and are not in the store: {sorted(missing)[:3]}"
    if len(extra := written.keys() - sold.keys()) > lost:
        yield f"{len(extra)} purchases are in the store and nobody was told of them: {sorted(extra)[:3]}"
    if CAPACITY - look["count"] != sum(written.values()):
        yield f"{look['count']} of {CAPACITY} tickets are left, and {sum(written.values())} were sold"
