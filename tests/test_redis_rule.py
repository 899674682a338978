"""The rule that is restated in Lua: it says and keeps what ``rules.decide`` does."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from loadtest.servers import redis as servers
from loadtest.servers.process import Missing
from service import rules
from service.commands import KEY_S, Buy, Cancel, Command, Confirm, Hold, Resize, Sweep, key_of
from service.outcomes import Sold
from service.stores.redis_keyspace import Keyspace
from service.values import Event, order_id
from tests.box_office import BoxOffice
from tests.counter import NOW
from tests.databases import missing
from tests.scripts import CAPACITY_MAX, EVENT, STEPS, Step, Wait, commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.outcomes import Reply

EXAMPLES = 100
WAIT_S = 30.0
KEYS = st.sampled_from([None, "a", "b"])
SWEEPS = st.builds(Sweep, st.just(EVENT), KEYS)
SCRIPTS = st.lists(st.one_of(STEPS, STEPS, STEPS, SWEEPS), min_size=10, max_size=60)
GROUPS = st.lists(st.integers(1, 6), min_size=60, max_size=60)


@pytest.fixture(scope="module")
def fresh_url() -> Iterator[Callable[[str], str]]:
    """As everywhere, but on a server of one's own that need not wait for the disk."""
    number = itertools.count(1)
    try:
        with servers.running() as server:
            server.ask("CONFIG SET appendfsync no")
            yield lambda _: server.url(f"tickets-{next(number)}")
    except Missing as error:
        missing(error)


class Two:
    """An event twice on one server: of one Python decides, of the other Lua."""

    def __init__(self, fresh: Callable[[str], str], capacity: int) -> None:
        urls = fresh("redis"), fresh("redis")
        self.prefixes = tuple(url.partition("prefix=")[2] for url in urls)
        self.client: Any = redis.Redis.from_url(urls[0].partition("?")[0])
        self.python, self.lua = (Keyspace(url, WAIT_S) for url in urls)
        for store in (self.python, self.lua):
            store.prepare({EVENT: capacity})

    def by_python(self, command: Command, now: float) -> Reply:
        """Read, decide, write."""
        page = self.python.read(command)
        decision = rules.decide(page, command, now)
        if decision.page != page:
            self.python.write(decision.page)
        return decision.reply

    def close(self) -> None:
        """Close the connections."""
        self.python.close()
        self.lua.close()
        self.client.close()

    def kept(self, prefix: str) -> dict[str, object]:
        """Return all that the server has of one of the two, by the names of the keys without their prefix."""
        client = self.client
        found: dict[str, object] = {}
        for key in client.keys(f"*{prefix}:*"):
            kind = client.type(key)
            name = key.decode().replace(prefix, "")
            if kind == b"hash":
                found[name] = {field: _opened(value) for field, value in client.hgetall(key).items()}
            elif kind == b"zset":
                found[name] = client.zrange(key, 0, -1, withscores=True)
            elif kind == b"list":
                found[name] = [_opened(value) for value in client.lrange(key, 0, -1)]
            elif kind == b"set":
                found[name] = client.smembers(key)
            else:
                found[name] = _opened(client.get(key))
        return found


def _opened(value: bytes | None) -> object:
    try:
        said = json.loads(value or b"null")
    except ValueError:
        return value
    return said | {"reply": json.loads(said["reply"])} if isinstance(said, dict) and "reply" in said else said


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],
)
@given(capacity=st.integers(0, CAPACITY_MAX), script=SCRIPTS, groups=GROUPS)
def test_lua_and_python_give_the_same_replies_and_keep_the_same(
    fresh_url: Callable[[str], str], capacity: int, script: list[Step], groups: list[int]
) -> None:
    """Every command, with and without a key, repeated, in time and too late; one by one, and many in one call. Then
    every key of one event is what it is of the other, and what the box office has, who knows neither.
    """
    both, office = Two(fresh_url, capacity), BoxOffice(EVENT, capacity)
    now, batch = NOW, list[Command]()
    sizes = iter(groups)
    for step in [*commands(script, itertools.count()), Wait(0.5)]:
        if isinstance(step, Command):
            batch.append(step)
        if batch and (isinstance(step, Wait) or len(batch) >= next(sizes)):
            replies = [both.by_python(command, now) for command in batch]
            assert both.lua.decide(batch, now) == replies == [office.do(command, now) for command in batch]
            for reply in replies:
                event(type(reply).__name__)
            batch.clear()
        now += step.seconds if isinstance(step, Wait) else 0
    assert both.lua.tickets(EVENT, 1, CAPACITY_MAX) == office.tickets()
    assert both.kept(both.prefixes[0]) == both.kept(both.prefixes[1])
    both.close()


def test_the_lowest_tickets_are_sold_first_over_any_distance(fresh_url: Callable[[str], str]) -> None:
    """What came back is sold before what was never sold, also over many holds, and where a piece ends."""
    both, office = Two(fresh_url, 10_000), BoxOffice(EVENT, 10_000)
    held = [Hold(order_id(EVENT, f"{n:024x}"), EVENT, 1, ttl_s=1.0 + n % 7) for n in range(250)]
    bought = [Buy(order_id(EVENT, f"{n:024x}"), EVENT, 100) for n in range(1000, 1090)]
    steps: list[Command] = [*held, *bought, *[Cancel(order.order, EVENT) for order in bought[:80:3]]]
    steps += [
        Resize(EVENT, 9_000),
        Resize(EVENT, 9_300),
        Cancel(bought[-1].order, EVENT),
        Resize(EVENT, 9_200),  # in the midst of what came back
        Resize(EVENT, 1),
        Sweep(EVENT),
    ]
    steps += [Buy(order_id(EVENT, f"{n:024x}"), EVENT, 100, partial=True) for n in range(2000, 2040)]
    steps += [Resize(EVENT, 20_000), Buy(order_id(EVENT, "f" * 24), EVENT, 100)]
    for late, step in enumerate(steps):
        now = NOW + late / 20
        assert both.lua.decide([step], now) == [both.by_python(step, now)] == [office.do(step, now)]
    assert both.lua.tickets(EVENT, 1, 20_000) == office.tickets()
    assert both.kept(both.prefixes[0]) == both.kept(both.prefixes[1])
    both.close()


A, B = (order_id(EVENT, letter * 24) for letter in "ab")
HELD, SOLD = Hold(A, EVENT, 2, ttl_s=2.0), Buy(A, EVENT, 2)
BEFORE: dict[str, list[Command]] = {
    "unknown": [Sweep(EVENT), Sweep(EVENT)],
    "held": [HELD, Sweep(EVENT)],
    "sold": [SOLD, Sweep(EVENT)],
    "confirmed": [HELD, Confirm(A, EVENT)],
    "cancelled": [SOLD, Cancel(A, EVENT)],
    "held and cancelled": [HELD, Cancel(A, EVENT)],
}


@pytest.mark.parametrize("late_s", [1.75, 2.0])
@pytest.mark.parametrize("kind", [Confirm, Cancel])
@pytest.mark.parametrize("before", BEFORE)
def test_whatever_became_of_an_order_it_is_confirmed_and_cancelled_alike(
    fresh_url: Callable[[str], str], before: str, kind: type[Confirm | Cancel], late_s: float
) -> None:
    """In time, and at the moment when it is over; with a key, again with it, with it for another order, and without."""
    both = Two(fresh_url, 5)
    keys = [key_of(EVENT, letter) for letter in "kl"]
    asked = [
        kind(A, EVENT, keys[0]),
        kind(A, EVENT, keys[0]),
        kind(B, EVENT, keys[0]),
        kind(A, EVENT, keys[1]),
        kind(A, EVENT),
    ]
    for step, now in [*((step, NOW) for step in BEFORE[before]), *((step, NOW + late_s) for step in asked)]:
        assert both.lua.decide([step], now) == [both.by_python(step, now)]
    assert both.kept(both.prefixes[0]) == both.kept(both.prefixes[1])
    both.close()


def test_no_more_holds_end_than_the_tickets_of_which_are_needed(fresh_url: Callable[[str], str]) -> None:
    """Of two that are over, the first is enough."""
    both = Two(fresh_url, 3)
    holds = [Hold(order_id(EVENT, letter * 24), EVENT, 1, ttl_s=1.0) for letter in "ab"]
    steps: list[Command] = [*holds, Buy(order_id(EVENT, "c" * 24), EVENT, 2)]
    for late, step in enumerate(steps):
        assert both.lua.decide([step], NOW + late) == [both.by_python(step, NOW + late)]
    for store in (both.python, both.lua):
        assert store.look(EVENT) == Event(EVENT, 3, 0, 4)
    both.close()


def test_a_key_is_remembered_for_as_long_as_the_rule_says(fresh_url: Callable[[str], str]) -> None:
    """The server forgets a key by itself, and not before the rule does."""
    both = Two(fresh_url, 3)
    keyed = Buy(order_id(EVENT, "a" * 24), EVENT, 1, key=key_of(EVENT, "a"))
    assert isinstance(both.lua.decide([keyed], NOW)[0], Sold)
    both.python.write(rules.decide(both.python.read(keyed), keyed, NOW).page)
    for prefix in both.prefixes:
        assert KEY_S < both.client.ttl(f"{{{prefix}:{EVENT}}}:key:{keyed.key}") <= KEY_S + 3600
    both.close()
