"""Bytes that no client should send, against the running service: ``python -m tests.bytes_fuzz --requests 100000``.

Each case is a connection: what ``bytes_shapes.py`` makes of the seed and the case's number is sent, the sending side is
closed, and all that comes back is read. The laws:

- every reply is whole, and its status is none of 5xx but 503, and 501 and 505 where HTTP says so;
- no reply shows a traceback, a path or what the service is made of, and the log has no traceback either;
- the store has exactly the purchases that were answered with 201, and none that was hidden in another request's body;
- the workers are the same as before, with as many open files, and hardly more memory.

``--case 1234`` sends one case again and shows it.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import threading
from collections import Counter as Tally
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import click

from loadtest import serve
from tests import reliability
from tests.bytes_laws import CAPACITY, WORKERS, books, health, replies, unwell, wrong_with
from tests.bytes_shapes import SHAPES

CLIENTS = 4
REPLY_S = 30.0
"""More than the service itself waits for the rest of a request."""
PIECES_MAX = 3
SHOWN_MAX = 20
WARM_SHARE = 10
"""Memory is compared with what it was after a tenth of the cases."""


@dataclass
class Tried:
    """What came of all cases."""

    requests: int = 0
    replies: Tally[tuple[str, int]] = field(default_factory=Tally)
    sold: dict[str, int] = field(default_factory=dict)
    """How many tickets each order has that was told with a 201."""
    lost: int = 0
    """Connections that were reset before all was read: what was bought there, nobody was told."""
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def made(seed: int, number: int) -> tuple[str, bytes, int]:
    """Return a case: its shape's name, its bytes, and how many requests they are meant to be."""
    shape = SHAPES[number % len(SHAPES)]
    sent = shape(Random(f"{seed} {number}"))
    return shape.__name__, sent.data, sent.requests


def port_of(url: str) -> int:
    """Return the port of a service's address."""
    return int(url.rpartition(":")[2])


def exchanged(port: int, data: bytes, pieces: int = 1) -> tuple[bytes, bool]:
    """Send all in so many pieces, close the sending side; return all that came, and whether it ended in order."""
    came = bytearray()
    size = len(data) // pieces + 1
    with socket.create_connection(("127.0.0.1", port), REPLY_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for start in range(0, len(data), size):
                client.sendall(data[start : start + size])
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(1 << 16):
                came += piece
        except (ConnectionResetError, BrokenPipeError):
            return bytes(came), False
    return bytes(came), True


def try_one(port: int, seed: int, number: int, tried: Tried) -> None:
    """Send a case, and note what came of it."""
    shape, data, meant = made(seed, number)
    wrong: list[str] = []
    try:
        came, whole = exchanged(port, data, 1 + number // len(SHAPES) % PIECES_MAX)
        if whole:
            wrong = note(came, shape, tried)
    except (OSError, ValueError) as error:
        whole, wrong = True, [str(error)]
    with tried.lock:
        tried.requests += meant
        tried.lost += not whole
        tried.wrong += [f"case {number} ({shape}): {sentence}; {data[:200]!r} was sent" for sentence in wrong]


def note(came: bytes, shape: str, tried: Tried) -> list[str]:
    """Note the replies that came, and return what is wrong with them. Raises ``ValueError``."""
    found = list(replies(came))
    with tried.lock:
        for reply in found:
            tried.replies[shape, reply.status] += 1
            if reply.status == 201:
                told = json.loads(reply.body)
                tried.sold[told["order"]] = told["quantity"]
    return [sentence for reply in found if (sentence := wrong_with(reply))]


def fuzzed(folder: Path, mode: str, seed: int, requests_min: int) -> Tried:
    """Start a service, send at least so many requests, and return what came of them."""
    (folder / "data").mkdir()
    (folder / "data" / "default.json").write_text(f'{{"count": {CAPACITY}}}')
    with serve.service(folder, {"mode": mode, "workers": WORKERS, "threads": 4, "harness": "false"}) as service:
        port = port_of(service.url)
        tried, number = Tried(), 0
        before = health(service, port)
        while tried.requests < requests_min:
            _batch(port, seed, range(number, number + 2 * len(SHAPES)), tried)
            number += 2 * len(SHAPES)
            if tried.requests <= requests_min // WARM_SHARE:
                before = health(service, port)
        tried.wrong += unwell(service, port, before)
        tried.wrong += books(service, tried.sold, tried.lost)
    log = (folder / "service.log").read_text(errors="replace")
    if "Traceback" in log:
        tried.wrong.append(f"the log has a traceback: {log[log.index('Traceback') :][:2000]}")
    return tried


def _batch(port: int, seed: int, numbers: range, tried: Tried) -> None:
    def be_client(own: range) -> None:
        for number in own:
            try_one(port, seed, number, tried)

    clients = [threading.Thread(target=be_client, args=(numbers[place::CLIENTS],)) for place in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def table(tried: Tried) -> str:
    """Return how many replies of each status each shape had."""
    statuses = sorted({status for _, status in tried.replies})
    rows = [f"| shape | {' | '.join(map(str, statuses))} |", f"| --- |{' --: |' * len(statuses)}"]
    for shape in SHAPES:
        counts = [f"{tried.replies[shape.__name__, status]:,}" for status in statuses]
        rows.append(f"| {shape.__name__.replace('_', ' ')} | {' | '.join(counts)} |")
    return "\n".join(rows)


@click.command
@click.option("--requests", "requests_min", default=100_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--mode", default="group_commit", show_default=True)
@click.option("--case", type=int, help="send this one alone, and show it")
@click.option("--write", is_flag=True, help="put the table into docs/reliability.md")
def main(requests_min: int, seed: int, mode: str, case: int | None, write: bool) -> None:  # noqa: FBT001  # as click has it
    """Send the service what no client should send."""
    with tempfile.TemporaryDirectory() as folder:
        if case is not None:
            _show(Path(folder), mode, *made(seed, case)[:2])
            return
        tried = fuzzed(Path(folder), mode, seed, requests_min)
    text = (
        f"{table(tried)}\n\n{tried.requests:,} requests, {len(tried.sold):,} of them purchases on purpose; "
        f"{tried.lost:,} connections were reset before all was read; {len(tried.wrong)} laws broken."
    )
    click.echo("\n".join([text, *tried.wrong[:SHOWN_MAX]]))
    if write:
        reliability.fill("bytes", text)
    sys.exit(1 if tried.wrong else 0)


def _show(folder: Path, mode: str, shape: str, data: bytes) -> None:
    (folder / "data").mkdir()
    with serve.service(folder, {"mode": mode, "workers": 1}) as service:
        click.echo(f"{shape}: {data!r}\n{exchanged(port_of(service.url), data)[0]!r}")


if __name__ == "__main__":
    main()
