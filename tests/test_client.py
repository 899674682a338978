"""The client: what it sends, what it makes of what comes back, and that it asks nothing twice."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from loadtest import client, drive, history, plan, serve, transport
from loadtest.history import Operation
from loadtest.plan import Wish
from loadtest.scene import Scene
from loadtest.usage import Meter
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

Reply = bytes | None
"""What the scripted server sends for one request; ``None``: it closes the connection instead."""


CUT = b"\r\n\r\n{"
"""How a reply ends that is cut off: after it the server closes the connection."""


def reply(status: str, body: str, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n{headers}\r\n"
    return (head + body).encode()


class Scripted:
    """A server that answers each request with the next reply of its script, and keeps what it was asked."""

    def __init__(self, script: list[Reply]) -> None:
        self.asked: list[bytes] = []
        self.answered: list[int] = []
        self.connections = 0
        self._script = list(script)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(ConnectionError):  # of a client that has gone
                while request := self._request(connection):
                    self.asked.append(request)
                    answer = self._script.pop(0) if self._script else None
                    if answer is None:
                        break
                    self.answered.append(time.monotonic_ns())
                    connection.sendall(answer)
                    if answer.endswith(CUT):
                        break

    @staticmethod
    def _request(connection: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request or (b"application/json" in request and not request.endswith(b"}")):
            part = connection.recv(4096)
            if not part:
                return b""
            request += part
        return request

    def close(self) -> None:
        if self._thread.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    servers: list[Scripted] = []

    def start(*script: Reply) -> Scripted:
        servers.append(Scripted(list(script)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def buy(url: str, **changes: object) -> list[Operation]:
    """Let one client make the purchases of a plan, and return what it recorded."""
    scene = Scene(url, plan.make("last-ticket", 1, 5.0, **changes))
    rows: list[Operation] = []
    client.be_client(scene, 0, time.monotonic_ns(), rows.append, lambda: False)
    return rows


SOLD = reply(
    "201 CREATED",
    '{"order":"o1","event":"default","status":"sold","quantity":1,"tickets":[4],"count":6,"version":3}',
    "Turnstile-Worker: 77\r\n",
)


def test_a_sale_is_recorded_as_it_was_told(scripted: Callable[..., Scripted]) -> None:
    """Outcome, version, count, tickets, order and worker; called before it was sent, returned after it came."""
    server = scripted(SOLD)
    (row,) = buy(server.url)
    assert (row.outcome, row.status, row.version, row.count) == ("done", 201, 3, 6)
    assert (row.tickets, row.order, row.worker) == ((4,), "o1", "77")
    assert row.planned <= row.called < row.returned
    assert b'"buyer": "client 0 order 0"' in server.asked[0]


@pytest.mark.parametrize(
    ("answer", "outcome", "problem"),
    [
        (reply("409 CONFLICT", '{"type":"urn:x:sold-out","version":2,"count":0}'), "refused", "sold-out"),
        (reply("503 BUSY", '{"type":"urn:turnstile:problem:busy"}'), "not done", "busy"),
        (reply("422 NO", "{}"), "not done", ""),
        (reply("500 OH", '{"type":"urn:turnstile:problem:torn-read"}'), "unknown", "torn-read"),
        (reply("502 OH", "<html>"), "unknown", "JSONDecodeError"),
        (reply("302 AWAY", "{}", "Location: /elsewhere\r\n"), "unknown", ""),
        (reply("200 OK", "[1, 2]"), "done", ""),
        (b"HTTP/1.1 201 CREATED\r\nContent-Length: 100\r\n\r\n{", "unknown", "ConnectionError"),
        (b"what?\r\n\r\n", "unknown", "ConnectionError"),
        (None, "unknown", "ConnectionError"),
    ],
)  # fmt: skip
def test_what_comes_back_is_definite_or_it_is_not(
    scripted: Callable[..., Scripted], answer: Reply, outcome: str, problem: str
) -> None:
    """4xx and 503 are definite; a lost, broken or strange reply is unknown; and nothing is asked a second time."""
    server = scripted(answer, SOLD)
    (row,) = buy(server.url)
    assert (row.outcome, row.problem) == (outcome, problem)
    assert len(server.asked) == 1


def test_a_refused_connection_is_certainly_not_done() -> None:
    """No byte of the request was sent."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    (row,) = buy(url)
    assert (row.outcome, row.problem) == ("not done", "NeverSent")


def test_a_connection_is_opened_anew_every_so_often(scripted: Callable[..., Scripted]) -> None:
    """A kept connection stays with one worker, and a race between workers would never be seen."""
    server = scripted(*[SOLD] * 7)
    rows = buy(server.url, orders=7, orders_per_connection=3)
    assert [row.outcome for row in rows] == ["done"] * 7
    assert server.connections == 3


def test_purchases_go_to_several_events_in_turn(scripted: Callable[..., Scripted]) -> None:
    """Those of all clients together reach each event as often as any other."""
    server = scripted(*[SOLD] * 6)
    scene = Scene(server.url, plan.make("last-ticket", 1, 5.0, orders=3, clients=2), events=("a", "b", "c"))
    for number in range(2):
        client.be_client(scene, number, time.monotonic_ns(), lambda _: None, lambda: False)
    assert sorted(request.split()[1] for request in server.asked) == sorted(
        [b"/events/a/buy", b"/events/b/buy", b"/events/c/buy"] * 2
    )


def test_an_order_that_is_found_is_no_look_at_its_event(scripted: Callable[..., Scripted]) -> None:
    """It states the version that sold it, long ago; taken for a look at the event now, it would be a stale read."""
    server = scripted(SOLD.replace(b"201 CREATED", b"200 OK"))
    rows: list[Operation] = []
    scene = Scene(server.url, plan.make("last-ticket", 1, 5.0), finds=("o1",))
    client.be_client(scene, 0, time.monotonic_ns(), rows.append, lambda: False)
    assert server.asked[0].startswith(b"GET /orders/o1 HTTP/1.1\r\n")
    assert [(row.kind, row.outcome, row.order, row.version, row.count) for row in rows] == [
        ("find", "done", "o1", None, None)
    ]


HELD = reply(
    "201 CREATED",
    '{"order":"o1","event":"default","status":"held","quantity":1,"tickets":[4],"count":6,"version":3}',
)
EXPIRED = reply("409 CONFLICT", '{"type":"urn:turnstile:problem:hold-expired","version":4,"count":7}')


def wished(url: str, monkeypatch: pytest.MonkeyPatch, *wishes: Wish, **changes: Any) -> list[Operation]:  # noqa: ANN401
    """Let one client carry out these wishes, and return what it recorded."""
    monkeypatch.setattr(plan, "wishes", lambda _plan, _client: iter(wishes))
    return buy(url, **changes)


def test_a_client_follows_its_own_order(scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    """It confirms and cancels what the reply to the hold named, and records what was refused under that order."""
    server = scripted(HELD, EXPIRED, SOLD.replace(b"201 CREATED", b"200 OK"))
    then = (Wish("confirm", "a confirm"), Wish("cancel", "a cancel", after_s=0.001))
    rows = wished(server.url, monkeypatch, Wish("hold", "a", 1, ttl_s=2.5, then=then))
    assert [asked.split(b" HTTP")[0] for asked in server.asked] == [
        b"POST /events/default/holds", b"POST /orders/o1/confirm", b"DELETE /orders/o1",
    ]  # fmt: skip
    assert b'"ttl_s": 2.5' in server.asked[0]
    assert [(row.kind, row.outcome, row.order, row.problem) for row in rows] == [
        ("hold", "done", "o1", ""), ("confirm", "refused", "o1", "hold-expired"), ("cancel", "done", "o1", ""),
    ]  # fmt: skip
    assert rows[0].ttl_s == 2.5
    assert not any(b"Idempotency-Key" in asked for asked in server.asked)


def test_a_hold_that_did_not_come_about_is_not_followed_up(
    scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no order to confirm."""
    server = scripted(reply("409 CONFLICT", '{"type":"urn:turnstile:problem:sold-out","version":2,"count":0}'))
    rows = wished(server.url, monkeypatch, Wish("hold", "a", 1, ttl_s=1, then=(Wish("confirm", "a confirm"),)))
    assert [row.kind for row in rows] == ["hold"]


@pytest.mark.parametrize("loss", plan.LOSSES)
def test_a_lost_reply_is_asked_for_again_with_the_same_key(
    scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch, loss: plan.Loss
) -> None:
    """Over a new connection; each attempt is a call of unknown outcome, until one is answered."""
    server = scripted(SOLD, SOLD, SOLD)
    rows = wished(server.url, monkeypatch, Wish("buy", "a b", 1, keyed=True, losses=(loss, loss)))
    assert [(row.name, row.outcome, row.problem) for row in rows] == [
        ("a b", "unknown", history.REPLY_LOST), ("a b try 2", "unknown", history.REPLY_LOST), ("a b try 3", "done", ""),
    ]  # fmt: skip
    assert {(row.key, row.buyer) for row in rows} == {(rows[0].key, "a b")}
    until(lambda: len(server.asked) == 3)
    assert all(f"Idempotency-Key: {rows[0].key}\r\n".encode() in asked for asked in server.asked)
    assert len({asked.rpartition(b"\r\n")[2] for asked in server.asked}) == 1
    assert server.connections == 3
    assert rows[1].planned == rows[0].returned <= rows[1].called
    if loss != "at once":
        assert server.answered[0] < rows[0].returned


def test_a_retry_goes_over_a_new_connection(scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    """To another worker, perhaps: also where the old one answered that it does not know."""
    server = scripted(reply("500 OH", '{"type":"urn:turnstile:problem:unknown-outcome"}'), SOLD)
    rows = wished(server.url, monkeypatch, Wish("buy", "a", 1, keyed=True))
    assert [row.outcome for row in rows] == ["unknown", "done"]
    assert server.connections == 2


def test_a_client_asks_again_only_so_often(scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    """And, while its patience lasts, some time later; not at all where nothing would tell that it is the same wish."""
    monkeypatch.setattr(client, "ASKING_S", 0.0)
    server = scripted()
    rows = wished(server.url, monkeypatch, Wish("buy", "a", 1, keyed=True))
    assert [row.outcome for row in rows] == ["unknown"] * client.ATTEMPTS_MAX
    rows = wished(server.url, monkeypatch, Wish("buy", "a", 1))
    assert [row.outcome for row in rows] == ["unknown"]


def test_what_was_certainly_not_done_is_not_asked_for_again(
    scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 is an answer."""
    server = scripted(reply("503 BUSY", '{"type":"urn:turnstile:problem:busy"}'), SOLD)
    rows = wished(server.url, monkeypatch, Wish("buy", "a", 1, keyed=True))
    assert [row.outcome for row in rows] == ["not done"]


def test_two_runs_share_no_key() -> None:
    """A service remembers the keys of the run before, and the same seed makes the same names."""
    scene = plan.make("retries", 1, 5.0)
    wish = next(plan.wishes(scene, 0))
    assert Scene("http://x", scene).key(wish) != Scene("http://x", scene).key(wish)


def test_a_client_that_is_told_to_stop_stops(scripted: Callable[..., Scripted]) -> None:
    """Between two purchases."""
    server = scripted(*[SOLD] * 5)
    rows: list[Operation] = []
    scene = Scene(server.url, plan.make("last-ticket", 1, 5.0, orders=5))
    client.be_client(scene, 0, time.monotonic_ns(), rows.append, lambda: len(rows) >= 2)
    assert len(rows) == 2


def test_an_open_loop_keeps_to_its_plan(scripted: Callable[..., Scripted]) -> None:
    """Purchases are planned ahead, and none is sent before its moment."""
    server = scripted(*[SOLD] * 9)
    start = time.monotonic_ns()
    rows: list[Operation] = []
    scene = Scene(server.url, plan.make("flash-sale", 1, 0.4, rate=20.0, clients=1))
    client.be_client(scene, 0, start, rows.append, lambda: False)
    assert [row.planned - start for row in rows] == [50_000_000 * number for number in range(8)]
    assert all(row.called >= row.planned for row in rows)


def test_called_is_when_it_was_sent_not_when_it_was_planned(scripted: Callable[..., Scripted]) -> None:
    """The check needs the one, latency the other."""
    server = scripted(SOLD)
    rows: list[Operation] = []
    begun = time.monotonic_ns()
    scene = Scene(server.url, plan.make("last-ticket", 1, 5.0))
    client.be_client(scene, 0, begun - 10**9, rows.append, lambda: False)
    assert rows[0].planned == begun - 10**9
    assert rows[0].called >= begun


def test_what_an_open_loop_cannot_send_in_time_is_recorded_as_not_sent(scripted: Callable[..., Scripted]) -> None:
    """A second after its time it gives up, and says of each purchase that it was not sent."""
    server = scripted(*[SOLD] * 9)
    rows: list[Operation] = []
    scene = Scene(server.url, plan.make("flash-sale", 1, 1.0, rate=50.0, clients=1))
    client.be_client(scene, 0, time.monotonic_ns() - 3 * 10**9, rows.append, lambda: False)
    assert len(rows) == 50
    assert {(row.outcome, row.problem) for row in rows} == {("not done", history.NOT_SENT)}
    assert server.asked == []


def test_a_closed_loop_ends_with_its_time(scripted: Callable[..., Scripted]) -> None:
    """No purchase is planned after the end."""
    server = scripted(*[SOLD] * 9)
    rows: list[Operation] = []
    scene = Scene(server.url, plan.make("flash-sale", 1, 1.0, clients=1))
    client.be_client(scene, 0, time.monotonic_ns() - 3 * 10**9, rows.append, lambda: False)
    assert len(rows) <= 1


def test_a_client_gives_up_where_nobody_is() -> None:
    """After so many refused connections in a row."""
    url = f"http://127.0.0.1:{serve.free_port()}"  # of this process alone: else another one might listen there
    rows: list[Operation] = []
    scene = Scene(url, plan.make("flash-sale", 1, 30.0, clients=1))
    client.be_client(scene, 0, time.monotonic_ns(), rows.append, lambda: False)
    assert len(rows) == client.REFUSED_MAX


def test_what_is_not_of_its_kind_is_not_stated(scripted: Callable[..., Scripted]) -> None:
    """A strange reply neither ends the client nor enters the check."""
    strange = '{"version":"1","count":true,"tickets":null,"order":null,"type":null}'
    (row,) = buy(scripted(reply("201 OK", strange)).url)
    assert (row.outcome, row.version, row.count, row.tickets, row.order) == ("done", None, None, (), "")
    (row,) = buy(scripted(reply("201 OK", '{"tickets":[1,"2"]}')).url)
    assert row.tickets == ()


@pytest.mark.parametrize("when", ["before", "amid"])
def test_a_client_process_that_dies_voids_the_run_at_once(
    scripted: Callable[..., Scripted], tmp_path: Path, when: str
) -> None:
    """One sentence, long before the time is over; and the others do not go on."""
    server = scripted(*[SOLD] * 100_000)
    scene = Scene(server.url, plan.make("flash-sale", 1, 60.0, clients=1))

    def kill(_: drive.Progress) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    def killed_first(gate: Barrier, clients: Sequence[BaseProcess]) -> None:
        kill(drive.Progress(0, 0))
        clients[0].join()
        until_ready(gate, clients)

    with pytest.MonkeyPatch.context() as patch:
        if when == "before":
            patch.setattr(drive, "_until_ready", killed_first)
        with pytest.raises(drive.ClientDied, match="a client process ended with -9, so the history has a hole"):
            drive.drive(scene, tmp_path, 1, Meter(None), kill)
    assert (tmp_path / "history.jsonl").exists()


until_ready = drive._until_ready  # noqa: SLF001  # what the test above delays


def test_the_lean_session_is_a_session_of_requests(scripted: Callable[..., Scripted]) -> None:
    """The same interface, the same objects: status, headers, JSON, text."""
    server = scripted(reply("200 OK", '{"a": "ü"}'.encode().decode("latin-1"), "X-Thing: 1\r\n"))
    with transport.session() as session:
        answer = session.get(f"{server.url}/path?query=1", timeout=5)
    assert isinstance(answer, requests.Response)
    assert (answer.status_code, answer.headers["x-thing"], answer.ok) == (200, "1", True)
    assert server.asked[0].startswith(b"GET /path?query=1 HTTP/1.1\r\n")


def test_a_history_survives_saving(tmp_path: Path) -> None:
    """What is saved is loaded again, in the order of the calls; half a line at the end is left out."""
    rows = [
        Operation("buy", "b", 1, 5, 6, 9, "done", 201, 2, partial=True, version=0, count=0, tickets=(1, 2), order="o"),
        Operation("look", "a", 0, 1, 2, 3, "unknown", problem="ReadTimeout"),
    ]
    history.save(tmp_path / "h.jsonl", rows)
    with (tmp_path / "h.jsonl").open("a") as file:
        file.write('{"kind": "bu')
    assert history.load(tmp_path / "h.jsonl") == rows[::-1]


def over(hosts: list[Scripted], is_down: Callable[[int], bool] = lambda _: False, **changes: object) -> list[Operation]:
    """Let one client make the purchases of a plan on several hosts, and return what it recorded."""
    first, *others = [host.url for host in hosts]
    scene = Scene(first, plan.make("last-ticket", 1, 5.0, clients=1, **changes), others=others)
    rows: list[Operation] = []
    client.be_client(scene, 0, time.monotonic_ns(), rows.append, lambda: False, is_down)
    return rows


def test_each_connection_goes_to_the_next_host(scripted: Callable[..., Scripted]) -> None:
    """Every client meets all hosts, and a worker is known by its host too: two machines may have one process number."""
    hosts = [scripted(*[SOLD] * 9) for _ in range(3)]
    rows = over(hosts, orders=7, orders_per_connection=2)
    assert [row.worker for row in rows] == ["1/77", "1/77", "2/77", "2/77", "3/77", "3/77", "1/77"]
    assert [len(host.asked) for host in hosts] == [3, 2, 2]


def test_a_host_that_is_out_gets_no_new_connection(scripted: Callable[..., Scripted]) -> None:
    """As whatever stands before several hosts sees to; and where all are out, it is asked all the same."""
    hosts = [scripted(*[SOLD] * 9) for _ in range(3)]
    rows = over(hosts, lambda host: host == 1, orders=4, orders_per_connection=1)
    assert [row.worker for row in rows] == ["1/77", "3/77", "1/77", "3/77"]
    assert len(over(hosts[:2], lambda _: True, orders=2, orders_per_connection=1)) == 2


def test_where_a_host_is_gone_the_next_one_is_asked(scripted: Callable[..., Scripted]) -> None:
    """A refused connection is a call of its own, certainly not done; the next wish goes elsewhere."""
    gone, there = scripted(), scripted(*[SOLD] * 9)
    gone.close()
    rows = over([gone, there], orders=3)
    assert [(row.outcome, row.worker) for row in rows] == [("not done", ""), ("done", "2/77"), ("done", "2/77")]


def test_what_has_a_key_is_asked_again_of_another_host(scripted: Callable[..., Scripted]) -> None:
    """The reply was lost with its host, and the key is known to all of them."""
    wish = Wish("buy", "client 0 order 0", 1, keyed=True)
    hosts = [scripted(None), scripted(SOLD)]
    scene = Scene(hosts[0].url, plan.make("retries", 1, 5.0, clients=1), others=[hosts[1].url])
    rows: list[Operation] = []
    caller = client._Caller(scene, 0, rows.append, lambda: False, lambda _: False)  # noqa: SLF001  # one wish alone
    assert caller.ask(wish, 0).worker == "2/77"
    caller.close()
    assert [row.outcome for row in rows] == ["unknown", "done"]
    assert all(scene.key(wish).encode() in host.asked[0] for host in hosts)
