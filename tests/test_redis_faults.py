"""What may happen to Redis, and on the way there: every failure is definite, or said to be unknown."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from redis import Redis as Client

from loadtest.servers import redis
from loadtest.servers.process import Missing
from service import catalogue
from service.mode import Busy, NotWritten, Unknown
from service.modes import redis_lock
from service.outcomes import Sold, SoldOut
from service.stores.redis_keyspace import Keyspace
from service.stores.redis_link import CONNECTIONS_MAX, REPLY_S
from tests.counter import NOW, buying, decide_now, look, sell
from tests.databases import missing
from tests.ledger import Ledger
from tests.processes import state
from tests.proxy import proxied
from tests.waiting import PATIENCE_S, until
from tests.whys import because

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.commands import Command
    from service.mode import Decide, Mode
    from service.rules import Decision, Page
    from tests.proxy import State

FORK = multiprocessing.get_context("fork")
SHORT_S = 0.2
KEY = "0" * 32

each_script = pytest.mark.parametrize("name", ["redis_script", "redis_group"])


@pytest.fixture
def start() -> Iterator[Callable[..., redis.Redis]]:
    """Start servers of one's own, to be killed; the argument is whom one follows."""
    with contextlib.ExitStack() as stack:

        def started(primary: redis.Redis | None = None) -> redis.Redis:
            try:
                return stack.enter_context(redis.running(primary))
            except Missing as error:
                missing(error)
                raise

        yield started


@pytest.fixture
def server(start: Callable[..., redis.Redis]) -> redis.Redis:
    return start()


def opened(
    port: int,
    name: str = "redis_script",
    *,
    decide: Decide = decide_now,
    wait_s: float = 10.0,
    reply_s: float = REPLY_S,
    connections_max: int = CONNECTIONS_MAX,
) -> Mode:
    """Open a mode on the server at a port."""
    store = Keyspace(f"redis://127.0.0.1:{port}", wait_s, reply_s, connections_max)
    store.prepare({"default": 10})
    mode = catalogue.MODES[name](store, decide, wait_s)
    mode.open()
    return mode


@each_script
@pytest.mark.parametrize(("cut", "done"), [("cut before", 0), ("cut after", 1)])
def test_a_connection_that_is_cut_after_the_order_was_sent_leaves_it_unknown(
    server: redis.Redis, name: str, cut: State, done: int
) -> None:
    """Nobody can tell whether it was done; it was not sent again in secret; and its key tells."""
    with proxied(server.port) as proxy:
        mode = opened(proxy.port, name)
        sell(mode)
        for keyed in (None, KEY):
            before = look(mode).version
            proxy.state = cut
            order = replace(buying(2), key=keyed)
            with pytest.raises(Unknown, match="redis did not answer"):
                mode.execute(order)
            proxy.state = "open"
            assert look(mode).version == before + done
        again = mode.execute(replace(buying(2), key=KEY))
        assert isinstance(again, Sold)
        assert (again.order.id == order.order) == bool(done)
        assert look(mode).version == before + 1


@each_script
def test_a_reply_that_does_not_come_in_time_leaves_the_order_unknown(server: redis.Redis, name: str) -> None:
    """The order stands in the queue of a server that is paused: it is done when that goes on, and its key tells."""
    mode, hasty = opened(server.port, name), opened(server.port, name, reply_s=SHORT_S)

    def in_time() -> bool:
        with contextlib.suppress(NotWritten, Unknown):
            return isinstance(hasty.execute(buying(11)), SoldOut)
        return False

    until(in_time)  # by now it is connected, and knows the event
    server.pause()
    order = replace(buying(2), key=KEY)
    with pytest.raises(Unknown, check=because("Timeout")):
        hasty.execute(order)
    server.resume()
    until(lambda: look(mode).version == 1)
    again = mode.execute(replace(buying(2), key=KEY))
    assert isinstance(again, Sold)
    assert again.order.id == order.order


def test_who_finds_all_connections_in_use_has_sent_nothing(server: redis.Redis) -> None:
    """The wait for one has an end, and then the counter was busy."""
    mode = opened(server.port, wait_s=0.05, connections_max=1)
    server.pause()
    first = threading.Thread(target=mode.execute, args=(buying(1),))
    first.start()
    link = mode.store._link  # type: ignore[attr-defined]  # noqa: SLF001  # nothing else tells that it is in use
    until(link._turns.empty)  # noqa: SLF001  # as above
    with pytest.raises(Busy, match=r"busy for 0\.05 s"):
        mode.execute(buying(1))
    server.resume()
    first.join()
    assert look(mode).version == 1


@pytest.mark.parametrize("name", ["redis_lock", "redis_script", "redis_group"])
def test_a_server_that_is_gone_has_done_nothing_and_one_that_is_back_is_found(server: redis.Redis, name: str) -> None:
    """A refused connection is definite. One that has ended meanwhile is found out before an order is sent over it."""
    mode = opened(server.port, name)
    sold = sell(mode)
    server.kill()
    for _ in range(2):
        with pytest.raises(NotWritten, match="redis cannot be reached"):
            mode.execute(buying(1))
    with pytest.raises(NotWritten, match="redis cannot be reached"):
        mode.store.look("default")
    server.start()
    assert mode.store.find(sold.id) == sold
    assert sell(mode).version == 2
    server.kill()
    server.start()
    assert sell(mode).version == 3


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("CONFIG SET maxmemory 1", "OOM"),
        ("CONFIG SET min-replicas-to-write 1", "NOREPLICAS"),
        ("REPLICAOF 127.0.0.1 1", "READONLY"),
        ("CONFIG SET maxclients 1", "max number of clients"),
        ("CONFIG SET requirepass secret", "NOAUTH"),
    ],
)
@pytest.mark.parametrize("name", ["redis_lock", "redis_script"])
def test_what_redis_refuses_is_certainly_not_done(server: redis.Redis, name: str, command: str, why: str) -> None:
    """Full, alone, a replica by now, crowded, or closed to us: a 503 that says which."""
    inside, late = opened(server.port), opened(server.port, name)
    assert look(inside).version == 0  # by a connection that stays
    assert server.ask(command).startswith("+OK")
    with pytest.raises(NotWritten, check=because(why)):
        late.execute(buying(1))
    assert look(inside).version == 0


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("LOADING Redis is loading the dataset in memory", NotWritten),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", NotWritten),
        ("MISCONF Errors writing to the AOF file: No space left on device", NotWritten),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", NotWritten),
        ("CLUSTERDOWN The cluster is down", NotWritten),
        ("NOPERM this user has no permissions to run the 'evalsha' command", NotWritten),
        ("ERR user_script:40: attempt to index a nil value script: 0f, on @user_script:40.", Unknown),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Unknown),
    ],
)
def test_what_is_refused_before_it_is_begun_is_told_from_what_failed_inside(
    said: str, outcome: type[Exception]
) -> None:
    """By how the refusal begins; what is not known by name may have been done in part."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            client, _ = listener.accept()
            for reply in ("+PONG", f"-{said}"):
                client.recv(65_536)
                client.sendall(f"{reply}\r\n".encode())
            client.close()

        threading.Thread(target=refuse).start()
        store = Keyspace(f"redis://127.0.0.1:{listener.getsockname()[1]}", PATIENCE_S)
        with contextlib.closing(store), pytest.raises(outcome, check=because(said.partition(" ")[0])):
            store.decide([buying(1)], NOW)


def test_a_script_that_the_server_does_not_know_is_given_to_it(server: redis.Redis) -> None:
    """A new server, or one whose scripts were flushed, refuses it before anything is done."""
    mode = opened(server.port)
    sell(mode)
    server.ask("SCRIPT FLUSH")
    assert sell(mode).version == 2


def test_a_holder_that_is_paused_beyond_its_lease_sells_again(
    server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its claim says, redis_lock does not survive it: tickets have two owners, and the check names them. The one who
    was paused learns of it too late, and is not told that it has sold.
    """
    monkeypatch.setattr(redis_lock, "LEASE_S", SHORT_S)
    receiver, sender = FORK.Pipe(duplex=False)
    ledger, first = Ledger(), FORK.Lock()  # nobody gives it back

    def decide(page: Page, command: Command) -> Decision:
        if first.acquire(block=False):
            os.kill(os.getpid(), signal.SIGSTOP)
        return decide_now(page, command)

    mode = opened(server.port, "redis_lock", decide=decide)

    def be_worker() -> None:
        mode.open()
        sender.send(ledger.buy(mode, 2))

    worker = FORK.Process(target=be_worker)
    worker.start()
    assert worker.pid
    monkeypatch.setattr(redis_lock, "LEASE_S", PATIENCE_S)  # for who is not paused it is long enough
    until(lambda: state(worker.pid or 0) == "T")
    assert ledger.buy(mode, 3).tickets == (1, 2, 3)
    os.kill(worker.pid, signal.SIGCONT)
    paused = receiver.recv()
    worker.join()
    assert (paused.outcome, paused.tickets) == ("unknown", ())
    assert "the lease ended too early" in paused.problem
    ledger.rows.append(paused)
    found = ledger.found(mode.store)
    assert {"double sale", "lost update"} <= set(found)


def test_a_lock_whose_write_got_no_reply_leaves_the_order_unknown(server: redis.Redis) -> None:
    """Before the write nothing is done; after it was sent, nobody knows."""
    with proxied(server.port) as proxy:
        cut: list[State] = ["open"]

        def decide(page: Page, command: Command) -> Decision:
            proxy.state = cut[0]
            return decide_now(page, command)

        mode = opened(proxy.port, "redis_lock", decide=decide)
        sell(mode)
        cut[0] = "cut after"
        with pytest.raises(Unknown):
            mode.execute(buying(1))
        with pytest.raises(NotWritten):
            mode.execute(buying(1))
        proxy.state = "open"
        assert look(mode).version == 2


def test_an_acknowledged_sale_is_lost_when_a_replica_takes_over_that_had_not_heard_of_it(
    start: Callable[..., redis.Redis],
) -> None:
    """As its claim says, redis_script does not survive a failover: the sale was on the primary's disk, its reply had
    left, and the replica sells the same ticket again. The check names it. ``WAIT`` would have told that nobody had it.
    """
    primary = start()
    replica = start(primary)
    ledger = Ledger()
    with proxied(primary.port) as address, proxied(primary.port) as between:
        replica.ask(f"REPLICAOF 127.0.0.1 {between.port}")
        until(lambda: "master_link_status:up" in replica.ask("INFO replication"))
        mode = opened(address.port)
        assert ledger.buy(mode).outcome == "done"
        assert reached(primary, PATIENCE_S)
        between.state = "silent"
        lost = ledger.buy(mode, 2)
        assert lost.outcome == "done"
        assert ledger.found(mode.store) == {}
        assert not reached(primary, 0.01)
        primary.kill()
        address.drop()
        replica.promote()
        address.target = replica.port
        again = ledger.buy(mode, 2)
        assert (again.outcome, again.version, again.tickets) == ("done", lost.version, lost.tickets)
        found = ledger.found(mode.store)
    assert {"double sale", "lost update", "phantom order"} <= set(found)
    assert lost.name in found["phantom order"]


def reached(primary: redis.Redis, wait_s: float) -> bool:
    """Tell whether what has been written by now reaches a replica in time."""
    with Client(port=primary.port, single_connection_client=True) as client:
        client.set("probe", 1)  # ``WAIT`` speaks of the writes of its own connection, and of all before them
        return bool(client.wait(1, int(1000 * wait_s)))
