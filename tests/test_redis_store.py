"""The store in Redis: on which terms it opens, and what it shows."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from redis import Redis as Client
from redis.crc import key_slot

from loadtest.servers import redis
from loadtest.servers.process import Missing
from service import catalogue
from service.commands import Hold
from service.outcomes import Held, NoSuchEvent, NoSuchOrder, Sold
from service.stores import redis_keyspace, redis_terms
from service.stores.lines import change_of
from service.stores.redis_keyspace import Keyspace
from service.stores.replay import Refused
from service.stores.sealed import unseal
from service.values import Event, order_id
from tests.counter import NOW, buying, decide_now, sell
from tests.databases import missing
from tests.proxy import proxied
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service.mode import Mode


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    """A server of one's own, to be set as no seller should."""
    try:
        with redis.running() as started:
            yield started
    except Missing as error:
        missing(error)


@pytest.fixture
def open_on() -> Iterator[Callable[..., Mode]]:
    """Open a mode on a URL, with events."""
    with contextlib.ExitStack() as stack:

        def opened(url: str, name: str = "redis_script", **seeds: int) -> Mode:
            store = stack.enter_context(contextlib.closing(Keyspace(url, 1.0)))
            store.prepare(seeds)
            mode = catalogue.MODES[name](store, decide_now, 1.0)
            mode.open()
            return mode

        yield opened


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("CONFIG SET maxmemory-policy allkeys-lru", "maxmemory-policy is allkeys-lru, by which orders may be deleted"),
        ("CONFIG SET maxmemory-policy volatile-ttl", "set it to noeviction"),
        ("REPLICAOF 127.0.0.1 1", "is a replica"),
        ("CONFIG SET requirepass secret", "the Redis server refuses .*NOAUTH.*: correct the user, the password"),
    ],
)
def test_a_server_that_may_lose_a_sale_in_silence_is_refused(server: redis.Redis, command: str, why: str) -> None:
    """With one sentence that says what to do, before anything is sold."""
    assert server.ask(command).startswith("+OK")
    with pytest.raises(Refused, match=why):
        Keyspace(server.url("tickets"), 1.0).prepare({})


def test_no_server_is_told_in_one_sentence(server: redis.Redis) -> None:
    """Where it was looked for, and what to do."""
    server.kill()
    with pytest.raises(Refused, match=rf"cannot be reached, .*:{server.port}.*start a Redis server there"):
        Keyspace(server.url("tickets"), 1.0).prepare({})


def test_an_old_server_is_refused(server: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that would begin a script without asking whether it writes."""
    monkeypatch.setattr(redis_terms, "MAJOR_MIN", 99)
    with pytest.raises(Refused, match=r"and 99\.0 or a newer one is needed"):
        Keyspace(server.url("tickets"), 1.0).prepare({})


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("CONFIG SET appendonly no", "keeps no append-only file"),
        ("CONFIG SET appendfsync everysec", "appendfsync everysec, so a power loss may lose"),
        ("ACL SETUSER default -config", "does not tell its appendfsync"),
        ("PING", ""),
    ],
)
def test_whoever_starts_the_service_is_told_what_a_power_loss_may_take(
    server: redis.Redis, capsys: pytest.CaptureFixture[str], command: str, told: str
) -> None:
    """It sells all the same: many want it so."""
    server.ask(command)
    Keyspace(server.url("tickets"), 1.0).prepare({})
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == bool(told)


@pytest.mark.parametrize("url", ["redis://h/0?prefix=", "redis://h/0?prefix=a}b", "redis://h/0?prefix=a:b"])
def test_a_prefix_cannot_break_what_keeps_keys_together(url: str) -> None:
    """Whatever could end the hash tag, or be taken for another event's key, is refused."""
    with pytest.raises(Refused, match="cannot be that of keys"):
        Keyspace(url, 1.0)


@pytest.mark.parametrize("url", ["redis://h:port/0", "redis://h/0?colour=red", "redis://h/0?socket_timeout=soon"])
def test_an_address_that_is_none_is_told_before_anything_is_tried(url: str) -> None:
    """By what is wrong with it."""
    with pytest.raises(Refused, match="is none that Redis can be reached at"):
        Keyspace(url, 1.0)


def test_a_password_stands_where_logs_leave_it_out() -> None:
    """One in the query would be shown with the address."""
    with pytest.raises(Refused, match="a password belongs before the host") as refused:
        Keyspace("redis://h/0?password=secret", 1.0)
    assert "secret" not in str(refused.value)


def test_events_are_made_once_and_default_where_there_is_none(
    fresh_url: Callable[[str], str], open_on: Callable[..., Mode]
) -> None:
    """What is there stays as it is, whoever starts; each prefix has events of its own."""
    first, second = fresh_url("redis"), fresh_url("redis")
    mode = open_on(first, concert=5)
    sell(open_on(second))
    assert mode.store.create("concert", 7) is False
    assert mode.store.create("opera", 7) is True
    again = open_on(first, concert=9, play=3)
    assert again.store.names("", 10) == ["concert", "opera", "play"]
    assert again.store.names("concert", 1) == ["opera"]
    assert again.store.look("concert") == Event("concert", 5, 5)
    assert open_on(second).store.look("default") == Event("default", 100, 99, 1)
    assert again.store.look("default") == NoSuchEvent("default")


def test_what_is_read_in_pieces_is_whole(
    fresh_url: Callable[[str], str], open_on: Callable[..., Mode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events whose holds have ended, and the changes of an event, beyond what is asked for at once."""
    monkeypatch.setattr(redis_keyspace, "PIECE", 2)
    url, names = fresh_url("redis"), [f"event-{number}" for number in range(5)]
    mode = open_on(url, **dict.fromkeys(names, 5))
    for name, ttl_s in zip(names, (3.0, 1.0, 9.0, 2.0, 1.0), strict=True):
        assert isinstance(mode.execute(Hold(order_id(name, "a" * 24), name, 1, ttl_s)), Held)
    unopened = Keyspace(url, 1.0)  # as the sweeper has it, in a process of its own
    assert list(unopened.overdue(NOW + 2.0)) == [("event-1", NOW + 1.0), ("event-3", NOW + 2.0), ("event-4", NOW + 1.0)]
    unopened.close()
    replies = [mode.execute(buying(event="event-0")) for _ in range(4)]
    bought = [reply.order for reply in replies if isinstance(reply, Sold)]
    assert len(bought) == 4
    for after in range(6):
        lines = mode.store.changes("event-0", after)
        assert not isinstance(lines, NoSuchEvent)
        assert [change_of(unseal(line)).version for line in lines] == list(range(after + 1, 6))
    assert [mode.store.find(order.id) for order in bought] == bought
    assert mode.store.find(order_id("event-0", "f" * 24)) == NoSuchOrder(order_id("event-0", "f" * 24))


def test_all_keys_of_an_event_are_on_one_node_of_a_cluster(
    fresh_url: Callable[[str], str], open_on: Callable[..., Mode]
) -> None:
    """They share a hash tag, also the lock, and the keys of those who ask again."""
    url = fresh_url("redis")
    for name in ("redis_lock", "redis_script"):
        mode = open_on(url, name, default=10)
        sell(mode)
        mode.execute(Hold(order_id("default", name.encode().hex()[:24]), "default", 1, 9.0, key="0" * 32))
    with Client.from_url(url.partition("?")[0]) as client:
        keys = list(client.scan_iter(f"{{{url.partition('prefix=')[2]}:*"))
        assert len(keys) == 6
        assert len(set(map(key_slot, keys))) == 1


def test_a_socket_in_the_file_system_is_an_address_too(
    server: redis.Redis, tmp_path: Path, open_on: Callable[..., Mode]
) -> None:
    """On one machine, for both of the modes' ways to Redis."""
    with proxied(server.port, tmp_path / "redis.sock") as proxy:
        assert proxy.target == server.port
        for version, name in enumerate(("redis_lock", "redis_script"), 1):
            mode = open_on(f"redis://{tmp_path}/redis.sock?db=3&prefix=tickets", name)
            assert sell(mode).version == version
    with Client(port=server.port, db=3) as client:
        assert json.loads(client.lrange("{tickets:default}:changes", 0, 0)[0])["tickets"] == [1]


def test_nothing_stays_connected_across_the_fork(server: redis.Redis) -> None:
    """What prepares has closed its connections."""
    Keyspace(server.url("tickets"), 1.0).prepare({"concert": 5})
    until(lambda: "connected_clients:1\r\n" in server.ask("INFO clients"))


@pytest.mark.parametrize("name", ["redis_lock", "redis_script", "redis_group"])
def test_an_event_that_is_lost_with_a_server_is_not_there(
    fresh_url: Callable[[str], str], open_on: Callable[..., Mode], name: str
) -> None:
    """A failover may lose it as it may lose a sale: a 404, and no surprise."""
    url = fresh_url("redis")
    mode = open_on(url, name, default=10)
    order = sell(mode)
    assert mode.store.find(order.id) == order
    with Client.from_url(url.partition("?")[0]) as client:
        for key in client.scan_iter(f"*{url.partition('prefix=')[2]}:*"):
            client.delete(key)
    gone = NoSuchEvent("default")
    assert (mode.execute(buying()), mode.store.look("default"), mode.store.tickets("default", 1, 9)) == (
        gone,
        gone,
        gone,
    )
    assert mode.store.find(order.id) == NoSuchOrder(order.id)
