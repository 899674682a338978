"""What may happen to PostgreSQL and on the way to it: what is said of an order then, and what has become of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import threading
import time
from collections import Counter as Tally
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from loadtest import client, history, serve, transport
from loadtest.check import Start, check
from loadtest.history import Operation
from loadtest.servers import postgres
from loadtest.servers.process import Missing
from service import engines
from service.answers import problem
from service.catalogue import SCHEMES
from service.commands import key_of
from service.mode import Busy, Conflict, NotWritten, Unknown
from service.outcomes import NoSuchOrder, Sold
from service.settings import Settings
from service.stores import postgres_inside, postgres_link, postgres_pool
from service.stores.postgres import Postgres
from service.stores.replay import Refused
from service.values import Event, Order
from tests.counter import NOW, EngineCounter, buying, decide_now, look, sell
from tests.crowd import Crowd
from tests.databases import missing
from tests.processes import state
from tests.proxy import Proxy, proxied
from tests.test_relational import say
from tests.waiting import PATIENCE_S, until
from tests.whys import because

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.servers.postgres import Postgres as Server
    from service.commands import Buy, Command
    from service.mode import Decide, Mode
    from service.outcomes import Reply
    from service.rules import Decision, Page

MODES = [name for name, scheme in SCHEMES.items() if scheme == "postgresql"]
HOLDING = ["postgres_row_lock", "postgres_advisory", "postgres_group"]
"""Modes of which one may stand inside with a lock."""
FORK = multiprocessing.get_context("fork")
TICKETS = 1_000_000
KILLS = 2
SHORT_S = 0.2
each_mode = pytest.mark.parametrize("name", MODES)
each_holding_mode = pytest.mark.parametrize("name", HOLDING)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this file's own: it is killed and paused."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(postgres.running())
        except Missing as error:
            missing(error)
        yield running


@pytest.fixture(scope="module")
def database(server: Server) -> str:
    """The address of a database. To make one for each test would be most of the work."""
    return server.url("faults")


@pytest.fixture
def counter(database: str) -> Iterator[EngineCounter]:
    """A counter with ten tickets, where nothing was before."""
    say(database, "DROP SCHEMA IF EXISTS turnstile CASCADE")
    made = EngineCounter(database)
    yield made
    made.close()


@pytest.fixture
def wired(counter: EngineCounter, server: Server) -> Iterator[tuple[EngineCounter, Proxy]]:
    """A counter with ten tickets that reaches its database by a wire."""
    counter.opened(MODES[0])
    with proxied(server.port) as wire:
        made = EngineCounter(counter.url.replace(f":{server.port}/", f":{wire.port}/"))
        yield made, wire
        made.close()


def keyed(key: str) -> Buy:
    """Return a purchase of two tickets with an idempotency key."""
    return replace(buying(2), key=key_of("default", key))


def sold(mode: Mode, quantity: int = 1) -> Order:
    """Sell. With little patience it may be told on a busy machine that nothing was done, and asks again then."""
    orders: list[Order] = []

    def is_sold() -> bool:
        with contextlib.suppress(Busy, NotWritten):
            orders.append(sell(mode, quantity))
        return bool(orders)

    until(is_sold)
    return orders[0]


def once(action: Callable[[], object]) -> Decide:
    """Return a decision before which something happens the first time."""
    first = threading.Lock()

    def decide(page: Page, command: Command) -> Decision:
        if first.acquire(blocking=False):
            action()
        return decide_now(page, command)

    return decide


def lose_replies(wire: Proxy) -> None:
    """Let what is said arrive, and the connection end when the reply is there."""
    wire.state = "cut after"


@each_mode
def test_a_reply_to_the_commit_that_is_lost_is_unknown_and_the_key_resolves_it(
    wired: tuple[EngineCounter, Proxy], name: str
) -> None:
    """The server has committed and nobody hears of it: ``Unknown``, no refusal. The same again gives the answer."""
    counter, wire = wired
    mode = counter.opened(name, once(lambda: lose_replies(wire)))
    order = keyed("lost")
    with pytest.raises(Unknown, match="ended while the order was committed"):
        mode.execute(order)
    wire.state = "open"
    reply = mode.execute(replace(order, order=buying().order))
    assert isinstance(reply, Sold)
    assert (reply.order.id, reply.order.tickets) == (order.order, (1, 2))
    assert look(mode) == Event("default", 10, 8, 1)


def test_a_purchase_without_a_key_is_found_by_its_order(wired: tuple[EngineCounter, Proxy]) -> None:
    """The conditional UPDATE too is unknown when its reply is lost: it was done."""
    counter, wire = wired
    mode = counter.opened("postgres_conditional", once(lambda: lose_replies(wire)))
    assert isinstance(mode.store, Postgres)
    with mode.store.transaction():
        pass  # it has a connection now, on which the order is sent
    order = buying(2)
    with pytest.raises(Unknown):
        mode.execute(order)
    wire.state = "open"
    assert not isinstance(mode.store.find(order.order), NoSuchOrder)


@each_holding_mode
def test_a_connection_that_ends_before_the_commit_is_sent_did_nothing(
    wired: tuple[EngineCounter, Proxy], name: str
) -> None:
    """Cut while the order is decided: certainly not done, and the next order finds the lock free."""
    counter, wire = wired
    mode = counter.opened(name, once(wire.drop))
    with pytest.raises(NotWritten, match="so nothing was done"):
        mode.execute(buying(2))
    assert sell(mode).tickets == (1,)


@each_mode
def test_a_server_that_is_away_is_told_of_and_one_that_is_back_is_used(
    counter: EngineCounter, server: Server, name: str
) -> None:
    """Killed and started again: orders in between are certainly not done, and later ones are, on new connections."""
    mode = counter.opened(name)
    first = sell(mode)
    if name == MODES[0]:
        server.kill()
        for command in (lambda: mode.execute(buying()), lambda: mode.store.look("default")):
            with pytest.raises(NotWritten, match="PostgreSQL cannot be reached"):
                command()
        assert list(mode.store.overdue(NOW)) == []
        with pytest.raises(Refused, match=r"PostgreSQL cannot be used .*: start the server, or correct --url"):
            engines.made(Settings(url=counter.url)).prepare({})
        server.start()
    else:
        ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'turnstile'"
        say(counter.url, ended)
    assert sell(mode).tickets == (2,)
    assert mode.store.find(first.id) == first


@each_mode
def test_a_statement_that_takes_too_long_is_ended_and_did_nothing(
    counter: EngineCounter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The server's own bound ends it, before anything is committed."""
    monkeypatch.setattr(postgres_link, "STATEMENT_S", SHORT_S)
    mode = counter.opened(name, wait_s=SHORT_S)
    say(
        counter.url,
        "CREATE FUNCTION turnstile.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); END'; "
        "CREATE TRIGGER slow BEFORE INSERT ON turnstile.changes FOR EACH ROW EXECUTE FUNCTION turnstile.sleep()",
    )
    with pytest.raises(NotWritten, check=because("statement timeout")):
        mode.execute(buying())
    say(counter.url, "DROP TRIGGER slow ON turnstile.changes")
    assert sold(mode).tickets == (1,)


@each_mode
def test_a_wait_for_a_lock_of_another_program_ends_too(counter: EngineCounter, name: str) -> None:
    """Somebody has the table locked: certainly not done, after the patience of the service."""
    mode = counter.opened(name, wait_s=SHORT_S)
    sold(mode)
    with postgres_link.connected(counter.url, postgres_link.Bounds(10.0, 60.0)) as other, other.transaction():
        other.execute("LOCK TABLE turnstile.changes")
        with pytest.raises(Busy, match=r"busy for 0\.2 s"):
            mode.execute(buying())
    assert sold(mode).tickets == (2,)


@each_mode
def test_who_finds_no_connection_free_is_told_so(
    counter: EngineCounter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """All connections of the worker are in use: certainly not done."""
    monkeypatch.setattr(postgres_pool, "CONNECTIONS_MAX", 1)
    mode = counter.opened(name, wait_s=SHORT_S)
    assert isinstance(mode.store, Postgres)
    sold(mode)
    with mode.store.transaction(), pytest.raises(Busy, match=r"busy for 0\.2 s"):
        mode.execute(buying())
    assert sold(mode).tickets == (2,)


def test_a_server_that_lets_no_more_in_is_told_of(counter: EngineCounter) -> None:
    """Too many connections at the server: certainly not done."""
    mode = counter.opened(MODES[0])
    say(counter.url, "CREATE ROLE guest LOGIN PASSWORD 'guest' CONNECTION LIMIT 0")
    say(counter.url, "GRANT ALL ON SCHEMA turnstile TO guest")
    guest = EngineCounter(re.sub("//.*@", "//guest:guest@", counter.url))
    with pytest.raises(NotWritten, check=because("too many connections")):
        guest.joined(MODES[0]).execute(buying())
    guest.close()
    say(counter.url, "DROP OWNED BY guest; DROP ROLE guest")
    assert look(mode).version == 0


@each_mode
def test_a_server_that_is_paused_while_it_commits_leaves_it_unknown(
    counter: EngineCounter, server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No reply in time: nobody knows, and the key resolves it when the server goes on."""
    for bound in ("STATEMENT_S", "REPLY_S"):  # what comes before the commit may take its time on a busy machine
        monkeypatch.setattr(postgres_link, bound, 1.0)
    mode = counter.opened(name, once(server.pause), wait_s=SHORT_S)
    sell(counter.joined(name))
    order = keyed("paused")
    try:
        with pytest.raises(Unknown, check=because("did not answer in time")):
            mode.execute(order)
    finally:
        server.resume()
    again = counter.joined(name)
    reply = again.execute(replace(order, order=buying().order))
    assert isinstance(reply, Sold)
    assert reply.order.tickets == (2, 3)
    assert look(again) == Event("default", 10, 7, 2)


@each_holding_mode
def test_what_a_paused_host_sends_too_late_is_refused(
    counter: EngineCounter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One who stands still inside loses the lock by the server's word; the next one sells; and when the first goes on,
    its order is certainly not done.
    """
    monkeypatch.setattr(postgres_link, "PAUSED_S", SHORT_S)
    receiver, sender = FORK.Pipe(duplex=False)
    mode = counter.build(name, once(lambda: os.kill(os.getpid(), signal.SIGSTOP)))

    def be_host() -> None:
        mode.open()
        try:
            sender.send(mode.execute(buying(5)))
        except (NotWritten, Unknown) as error:
            sender.send(error)

    host = FORK.Process(target=be_host)
    host.start()
    monkeypatch.setattr(postgres_link, "PAUSED_S", PATIENCE_S)  # for who is not paused it is long enough
    assert host.pid is not None
    pid = host.pid
    until(lambda: state(pid) == "T")
    other = counter.joined(name)
    assert sell(other, 2).tickets == (1, 2)
    os.kill(pid, signal.SIGCONT)
    late = receiver.recv()
    host.join()
    assert isinstance(late, NotWritten)
    assert look(other) == Event("default", 10, 8, 1)


def test_a_batch_of_which_each_is_thought_over_is_no_paused_host(
    counter: EngineCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who pauses before each order of a batch keeps the lock for as long as all of them take."""
    monkeypatch.setattr(postgres_link, "PAUSED_S", 15 * SHORT_S)
    monkeypatch.setattr(postgres_inside, "STAY_S", SHORT_S)
    mode = counter.opened("postgres_group", slowly)
    replies: list[Reply] = []
    buyers = [threading.Thread(target=lambda: replies.append(mode.execute(buying()))) for _ in range(10)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert [type(reply) for reply in replies] == [Sold] * 10


def slowly(page: Page, command: Command) -> Decision:
    """Decide after a pause: ten of them are more than a paused host has."""
    time.sleep(2 * SHORT_S)
    return decide_now(page, command)


def test_who_looks_does_not_wait_for_those_who_wait_for_a_lock(counter: EngineCounter) -> None:
    """All connections for buyers are in use: an event is looked at all the same."""
    mode = counter.opened(MODES[0], wait_s=SHORT_S)
    assert isinstance(mode.store, Postgres)
    with contextlib.ExitStack() as all_of_them:
        for _ in range(postgres_pool.CONNECTIONS_MAX):
            all_of_them.enter_context(mode.store.transaction())
        assert look(mode) == Event("default", 10, 10, 0)


def test_an_advisory_lock_that_another_program_did_not_take_is_a_refusal(counter: EngineCounter) -> None:
    """The tables refuse the version that is made already: certainly not done, and no 500."""
    mode = counter.opened("postgres_advisory", once(lambda: sell(counter.joined("postgres_row_lock"))))
    with pytest.raises(Conflict) as told:
        mode.execute(buying())
    assert problem(told.value).status == HTTPStatus.SERVICE_UNAVAILABLE
    assert look(mode).version == 1


def test_a_service_with_no_server_does_not_start(tmp_path: Path) -> None:
    """One sentence, in which the password is not."""
    url = f"postgresql://somebody:secret@127.0.0.1:{serve.free_port()}/tickets"
    (tmp_path / "data").mkdir()
    with pytest.raises(serve.NotServed) as told, serve.service(tmp_path, {"url": url}):
        pass
    assert "PostgreSQL cannot be used" in str(told.value)
    assert "secret" not in (tmp_path / "service.log").read_text()


@pytest.mark.parametrize("name", ["postgres_row_lock", "postgres_group"])
def test_a_server_that_is_killed_under_load_loses_nothing(
    tmp_path: Path, counter: EngineCounter, server: Server, name: str
) -> None:
    """SIGKILL of the server, twice: everybody is served again, and replies, journal and the last look agree."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text(f'{{"count": {TICKETS}}}')
    with serve.service(tmp_path, {"url": counter.url, "mode": name, "workers": 2, "threads": 4}) as service:
        crowd = Crowd(service.url, TICKETS, 1)
        try:
            crowd.doors.set()
            crowd.served_again()
            for _ in range(KILLS):
                server.psql("postgres", "CHECKPOINT")  # else it recovers what all other tests have done
                server.kill()
                server.start()
                crowd.served_again()
        finally:
            crowd.disperse()
        found, outcomes = judged(service, crowd.rows, tmp_path)
    assert found == []
    assert outcomes["done"] > 0


def test_a_worker_that_is_killed_under_load_loses_nothing_in_sqlite(tmp_path: Path) -> None:
    """SIGKILL of one who may be writing: the next one writes, and replies, journal and the last look agree."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text(f'{{"count": {TICKETS}}}')
    url = f"sqlite:///{tmp_path}/tickets.db"
    with serve.service(tmp_path, {"url": url, "workers": 2, "threads": 4}) as service:
        crowd = Crowd(service.url, TICKETS, 1)
        try:
            crowd.doors.set()
            crowd.served_again()
            for _ in range(3 * KILLS):
                os.kill(int(crowd.rows[-1].worker.rpartition("/")[2] or 0), signal.SIGKILL)
                crowd.served_again()
        finally:
            crowd.disperse()
        found, outcomes = judged(service, crowd.rows, tmp_path)
    assert found == []
    assert outcomes["done"] > 0


def judged(service: serve.Service, rows: list[Operation], folder: Path) -> tuple[list[str], Tally[str]]:
    """Return what the load test's check has to say of all replies, and how many had which outcome."""
    event = f"{service.url}/events/default"
    with transport.session() as session:
        headers = {"Authorization": f"Bearer {service.token}"}
        lines = session.get(f"{event}/journal?after=0", headers=headers, timeout=client.REPLY_S)
        last = client.look(session, event, Operation("look", "the last look", -1, 0, 0, 0, "unknown"))
    kept = folder / "journal.jsonl"
    kept.write_text(lines.text)
    operations = sorted(rows, key=lambda row: row.called)
    checked = check(operations, history.load_journal(kept), Start(TICKETS, TICKETS), last)
    return [finding.worst.sentence for finding in checked.findings], Tally(row.outcome for row in operations)
