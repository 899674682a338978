"""What the load generator itself can do: its transport beside the stock one of ``requests``, and its greatest rate.

The server is the least that speaks HTTP: it answers every request with the same bytes and runs no code of ours. Rounds
alternate (ABBA), and ratios are paired within a round.
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import requests
from requests.adapters import HTTPAdapter

from loadtest import compare, drive, folder, plan, transport
from loadtest.judge import judge
from loadtest.ratio import paired
from loadtest.scene import Scene
from loadtest.usage import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 8
REQUESTS = 1500
SECONDS = 3.0
TIMES_MIN = 3.0
ANSWER = b'{"order":"00000000000000000000000000000000","quantity":1}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n%b" % (len(ANSWER), ANSWER)
BODY = b'{"quantity": 1, "partial": false, "buyer": "client 0 order 0"}'


def answer_all(listener: socket.socket) -> None:
    """Answer everything that ends like our requests, until killed."""
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                waiting.register(connection, selectors.EVENT_READ)
                continue
            connection = key.fileobj  # type: ignore[assignment]  # we registered nothing else
            part = connection.recv(65536)
            if part.endswith(b"}"):
                connection.sendall(REPLY)
            elif not part:
                waiting.unregister(connection)
                connection.close()


def stock() -> requests.Session:
    """Return the session that ``requests`` gives by itself, without its retries and its look at the environment."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(max_retries=0))
    return session


def calls(make: Callable[[], requests.Session], url: str) -> tuple[float, float]:
    """Return calls a second, and microseconds of processor time a call, of one thread."""
    headers = {"Content-Type": "application/json"}
    with make() as session:
        began, used = time.perf_counter(), time.process_time()
        for _ in range(REQUESTS):
            prepared = requests.Request("POST", f"{url}/noop", data=BODY, headers=headers).prepare()
            session.send(prepared, timeout=5, allow_redirects=False).json()
        return REQUESTS / (time.perf_counter() - began), (time.process_time() - used) / REQUESTS * 1e6


def greatest_rate(url: str) -> float:
    """Return the rate of the whole load generator against the least server, in requests a second."""
    scene = Scene(url, plan.make("flash-sale", 1, SECONDS), noop=True)
    with tempfile.TemporaryDirectory() as place:
        driven = drive.drive(scene, Path(place), 2, Meter(None), lambda _: None)
        return len(driven.operations) / SECONDS


def slowest_rate() -> tuple[str, float]:
    """Return the slowest thing that is measured here, and its rate: the modes without think time."""
    setup = compare.Setup(workers=2, threads=16, processes=2, trace=False)
    scene = plan.make("flash-sale", 1, SECONDS)
    with tempfile.TemporaryDirectory() as place:
        for name in ("process_lock", "file_lock", folder.CEILING):
            compare.serve_and_run(name, Path(place) / "round-1" / name, scene, setup, lambda _: None)
        results, ceiling = judge(Path(place))
    rates = {result.mode: result.measured.requests_per_s for result in results if result.measured}
    rates["the no-op ceiling"] = ceiling.requests_per_s if ceiling else 0.0
    for name, rate in rates.items():
        sys.stdout.write(f"service: {name} {rate:.0f} req/s\n")
    return min(rates.items(), key=lambda each: each[1])


def main() -> None:
    """Measure and print."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = multiprocessing.get_context("fork").Process(target=answer_all, args=(listener,), daemon=True)
    server.start()
    arms: dict[str, Callable[[], requests.Session]] = {"stock": stock, "lean": transport.session}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for number in range(ROUNDS):
        for name in arms if number % 2 else reversed(arms):
            taken[name].append(calls(arms[name], url))
    for name, values in taken.items():
        rate, cpu = (median(each) for each in zip(*values, strict=True))
        sys.stdout.write(
            f"client: {name} transport {rate:.0f} calls/s of one thread, {cpu:.0f} us of processor a call\n"
        )
    ratio = paired([(a[1], b[1]) for a, b in zip(taken["stock"], taken["lean"], strict=True)])
    if ratio is not None:
        interval = f"95 %: {ratio.low:.2f} to {ratio.high:.2f}" if ratio.low else "no interval"
        sys.stdout.write(f"client: stock takes {ratio.median:.2f} times the processor time of lean ({interval})\n")
    rate = greatest_rate(url)
    server.kill()
    name, slowest = slowest_rate()
    enough = "met" if rate >= TIMES_MIN * slowest else "MISSED"
    sys.stdout.write(
        f"load generator: {rate:.0f} req/s, {rate / slowest:.1f} times the slowest part ({name}, {slowest:.0f} req/s); "
        f"target {TIMES_MIN:g}: {enough}\n"
    )


if __name__ == "__main__":
    main()
