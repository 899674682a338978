"""Clients that others may start from: against the service, through lost replies, and when it is busy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from tests.proxy import proxied
from tests.waiting import PROGRAM_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.serve import Service

CLIENTS = Path(__file__).parent.parent / "examples" / "clients"
KEY = "the-key-of-a-purchase"
ORDER = b'{"order":"e35e00df","tickets":[1,2]}'
DETAIL = b'{"detail":"fewer are left"}'
FOREIGN = {404, 429}
"""What a proxy answers, with a page of its own."""


def started(client: str, url: str, quantity: int = 2, attempts: int = 8, key: str = "") -> subprocess.Popen[str]:
    """Start a client that buys, as its first lines say."""
    words, environment = [url, "default", str(quantity)], dict(os.environ, ATTEMPTS_MAX=str(attempts))
    if client == "buy.sh":
        command = [str(CLIENTS / client), *words]
        environment |= {"KEY": key} if key else {}
    else:
        command = [sys.executable, str(CLIENTS / client), *words, "--attempts", str(attempts)]
        command += ["--key", key] if key else []
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(client: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a client; return its exit code and what it printed."""
    printed, complained = client.communicate(timeout=PROGRAM_S)
    return client.returncode, printed, complained


def seen(service: Service) -> tuple[int, int]:
    """Return how many tickets are left, and how many changes there were."""
    event = requests.get(f"{service.url}/tickets", timeout=PROGRAM_S).json()
    return event["count"], event["version"]


each_client = pytest.mark.parametrize("client", ["buy.sh", "buy.py"])


@each_client
def test_a_client_buys_and_is_refused(served: Callable[..., Service], client: str) -> None:
    """Exit 0 with the tickets, and 1 with the service's own reason; a key that was given is used again."""
    service = served("file_lock", tickets=10)
    first, again = (ended(started(client, service.url, key=KEY)) for _ in range(2))
    assert first[0] == 0
    assert re.search(r"\b1,\s?2\b", first[1])
    assert again == first
    refused = ended(started(client, service.url, quantity=9))
    assert refused[0] == 1
    assert "9 tickets were asked for, and 8 are left" in refused[2]
    assert seen(service) == (8, 1)


@each_client
def test_a_reply_that_is_lost_costs_nothing(served: Callable[..., Service], client: str) -> None:
    """The service sells, the reply is cut off, and the client asks again: one purchase, and its order."""
    service = served("file_lock", tickets=10)
    with proxied(int(service.url.rpartition(":")[2])) as proxy:
        proxy.state = "cut after"
        buyer = started(client, f"http://127.0.0.1:{proxy.port}")
        until(lambda: seen(service) == (8, 1))
        proxy.state = "open"
        code, printed, _ = ended(buyer)
    assert code == 0
    assert re.search(r"\b1,\s?2\b", printed)
    assert seen(service) == (8, 1)


class Counter(ThreadingHTTPServer):
    """A server that answers as it is told, one status after the other, the last for ever, and keeps the keys."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.statuses = statuses
        self.keys: list[str] = []
        self.retry_after = "0"


class Answering(BaseHTTPRequestHandler):
    """One request to it."""

    server: Counter

    def do_POST(self) -> None:  # as http.server calls it
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        body = ORDER if status == 201 else DETAIL if status not in FOREIGN else b"<h1>404, says a proxy</h1>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[Callable[..., Counter]]:
    """Have servers that answer so."""
    servers: list[Counter] = []

    def start(*statuses: int) -> Counter:
        servers.append(Counter(list(statuses)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@each_client
@pytest.mark.parametrize(
    ("statuses", "asked", "code", "said"),
    [
        ([503, 500, 201], 3, 0, ""),
        ([409], 1, 1, "fewer are left"),
        ([503], 2, 1, "was busy or away 2 times"),
        ([500], 2, 2, "nobody knows whether"),
        ([429, 408, 201], 3, 0, ""),
        ([500, 429, 201], 3, 0, ""),
        ([500, 409], 2, 1, "fewer are left"),
        ([500, 404], 2, 2, "nobody knows whether"),
        ([404], 1, 1, "404"),
    ],
)
def test_what_is_certain_is_told_from_what_is_not(
    answering: Callable[..., Counter], client: str, statuses: list[int], asked: int, code: int, said: str
) -> None:
    """What was not decided is asked again, with one key, and so often and no more; 409 is an answer."""
    server = answering(*statuses)
    buyer = started(client, f"http://127.0.0.1:{server.server_port}", attempts=max(asked, 2))
    returned, _, complained = ended(buyer)
    assert (returned, len(server.keys)) == (code, asked)
    assert len(set(server.keys)) == 1
    assert said in complained
    if code == 2:
        assert server.keys[0] in complained


@each_client
def test_nobody_is_kept_away_for_hours(answering: Callable[..., Counter], client: str) -> None:
    """However long a proxy says, a client asks again after some seconds."""
    server = answering(503, 201)
    server.retry_after = "9" * 30
    assert ended(started(client, f"http://127.0.0.1:{server.server_port}"))[0] == 0
    assert len(server.keys) == 2


@each_client
def test_where_nobody_is_surely_nothing_was_bought(client: str) -> None:
    """No connection, so nothing was sent: exit 1, and not 2."""
    code, printed, complained = ended(started(client, f"http://127.0.0.1:{serve.free_port()}", attempts=2))
    assert (code, printed) == (1, "")
    assert "was busy or away 2 times" in complained


def test_an_address_that_is_none_is_told_at_once() -> None:
    """Nothing was sent, so nobody has to wonder."""
    code, printed, complained = ended(started("buy.py", "127.0.0.1:8000"))
    assert (code, printed) == (1, "")
    assert complained == "127.0.0.1:8000 is no address: expected one such as http://127.0.0.1:8000\n"


def test_a_script_that_is_not_told_what_to_buy_says_how_it_is_called() -> None:
    """In a line, and with an exit code that no purchase has."""
    run = subprocess.run([CLIENTS / "buy.sh"], capture_output=True, text=True, timeout=PROGRAM_S, check=False)
    assert run.returncode == 64
    assert run.stderr.startswith("usage: ")
    assert run.stderr.count("\n") == 1


def program(name: str) -> str:
    """Return where a load generator is that ``make test`` does not install; without it, skip."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{sys.prefix}/{name}/bin")
    if found is None:
        pytest.skip(f"there is no {name} to run its example with")
    return found


def swarmed(locust: str, url: str, users: int, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Locust for 3 s with the file to start from."""
    words = f"--headless --users {users} --spawn-rate {users} --run-time 3s --only-summary --host {url}"
    command = [locust, "--locustfile", str(CLIENTS / "locustfile.py"), *words.split()]
    environment = os.environ | more
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PROGRAM_S, check=False)


def test_a_buyer_of_locust_asks_again_with_the_same_key(answering: Callable[..., Counter]) -> None:
    """After a refusal that says so, and where nobody knows; the next purchase has another key."""
    server = answering(503, 500, 201)
    swarmed(program("locust"), f"http://127.0.0.1:{server.server_port}", 1)
    assert len(server.keys) > 3
    assert len(set(server.keys[:3])) == 1
    assert server.keys[3] != server.keys[0]


def test_locust_sells_with_the_file_to_start_from(served: Callable[..., Service]) -> None:
    """It buys from the event that it is told, sees nothing go wrong, and ends with 0."""
    locust, service = program("locust"), served("group_commit", tickets=10_000)
    other = {"Authorization": f"Bearer {service.token}"}
    url = f"{service.url}/events/other"
    assert requests.put(url, json={"capacity": 10_000}, headers=other, timeout=PROGRAM_S).ok
    run = swarmed(locust, service.url, 5, EVENT="other")
    assert run.returncode == 0, run.stdout + run.stderr
    assert seen(service)[1] == 0
    assert requests.get(url, timeout=PROGRAM_S).json()["version"] > 0


def test_k6_sells_with_the_script_to_start_from(served: Callable[..., Service], tmp_path: Path) -> None:
    """What it counts as sold is what is sold."""
    k6, service = program("k6"), served("group_commit", tickets=60)
    summary = tmp_path / "summary.json"
    words = ["-e", f"URL={service.url}", "-e", "DURATION=3s", "--no-thresholds", "--no-usage-report", "--quiet"]
    command = [k6, "run", *words, f"--summary-export={summary}", str(CLIENTS / "k6.js")]
    subprocess.run(command, capture_output=True, timeout=PROGRAM_S, check=True)
    metrics = json.loads(summary.read_text())["metrics"]
    assert metrics["checks"]["fails"] == 0
    assert metrics["tickets_sold"]["count"] == 60 - seen(service)[0] > 0
