"""The store in etcd and its two modes: round trips, lost replies, fences, and how much one key holds."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from service import rules
from service.catalogue import SCHEMES
from service.commands import Buy, Cancel, Hold, Sweep, key_of
from service.mode import Conflict, Damaged, NotWritten, Unknown
from service.outcomes import Held, KeyReused, Sold, SoldOut, Swept
from service.stores import etcd_cluster, etcd_keys, etcd_line
from service.stores.etcd_gateway import TOO_MANY, Gateway, fetch, put
from service.stores.etcd_line import EtcdLine
from service.stores.replay import Refused
from service.stores.sealed import unseal
from service.values import Event, Order, order_id
from tests.counter import NOW, EngineCounter, buying, decide_now, look, sell
from tests.waiting import until
from tests.whys import because

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.serve import Service
    from service.commands import Command
    from service.mode import Mode
    from service.rules import Decision, Page

Answer = requests.Response | Exception
MODES = [name for name, scheme in SCHEMES.items() if scheme == "etcd"]
each_mode = pytest.mark.parametrize("name", MODES)
SERIAL = itertools.count(1)
TTL_S = 60.0


@pytest.fixture
def counter(fresh_url: Callable[[str], str]) -> Iterator[EngineCounter]:
    """A counter with ten tickets on a prefix of its own."""
    made = EngineCounter(fresh_url("etcd"))
    yield made
    made.close()


class Wire:
    """What this process asks of etcd: noted by thread, and lost where a test says so."""

    def __init__(self, send: Callable[..., requests.Response]) -> None:
        self._send = send
        self.asked: list[tuple[str, str]] = []
        self.lose: Callable[[str], str] = lambda _: ""
        """What befalls a request, by its path: nothing, ``before`` it was sent, or ``after`` it was carried out."""

    def send(self, session: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:  # noqa: ANN401  # as requests has it
        path = str(request.path_url).removeprefix("/v3/")
        if path != "lease/keepalive":
            self.asked.append((threading.current_thread().name, path))
        lost = self.lose(path)
        if lost == "before":
            raise requests.ReadTimeout("no reply")
        reply = self._send(session, request, **more)
        if lost == "after":
            raise requests.ConnectionError("connection reset")
        return reply

    def lose_next(self, path: str, when: str, *, number: int = 1) -> None:
        """Lose the ``number``-th request from now on to this path."""
        turn = itertools.count(1)
        self.lose = lambda asked: when if asked == path and next(turn) == number else ""

    def of_this_thread(self) -> list[str]:
        """Return what this thread has asked for, and forget it."""
        mine = [path for name, path in self.asked if name == threading.current_thread().name]
        self.asked.clear()
        return mine


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire(requests.Session.send)

    def send(session: requests.Session, request: requests.PreparedRequest, **more: object) -> requests.Response:
        return made.send(session, request, **more)

    monkeypatch.setattr(requests.Session, "send", send)
    return made


def holding(quantity: int = 1, key: str | None = None) -> Hold:
    return Hold(order_id("default", f"{next(SERIAL):024x}"), "default", quantity, TTL_S, key=key)


def keyed(quantity: int = 1) -> Buy:
    return replace(buying(quantity), key=key_of("default", f"key {next(SERIAL)}"))


@pytest.mark.parametrize(("name", "refusal"), [("etcd_txn", 1), ("etcd_lock", 2)])
def test_an_order_takes_two_round_trips_alone(counter: EngineCounter, wire: Wire, name: str, refusal: int) -> None:
    """One to read, in which the place in line is taken, and one to write, in which it is left; with a key as well. A
    refusal is a read, and a leave.
    """
    mode = counter.opened(name)
    sell(mode)  # the lease of this worker is taken with the first
    wire.of_this_thread()
    for command in (buying(2), keyed(), holding()):
        mode.execute(command)
        assert wire.of_this_thread() == ["kv/txn"] * 2
    assert isinstance(mode.execute(buying(20)), SoldOut)
    assert wire.of_this_thread() == ["kv/txn"] * refusal


def test_each_time_that_others_were_faster_takes_one_round_trip_more(counter: EngineCounter, wire: Wire) -> None:
    """The refused transaction brings the page as it is now."""
    other = counter.opened("etcd_txn")
    faster = [3, 2]

    def decide(page: Page, command: Command) -> Decision:
        if faster:
            seller = threading.Thread(target=sell, args=(other, faster.pop()))
            seller.start()
            seller.join()
        return decide_now(page, command)

    mode = counter.joined("etcd_txn", decide)
    wire.of_this_thread()
    order = sell(mode)
    assert (order.tickets, order.version) == ((6,), 3)
    assert wire.of_this_thread() == ["kv/txn"] * 4


def test_behind_another_an_order_takes_four(
    counter: EngineCounter, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To join the line, to wait, to look again, and to write."""
    monkeypatch.setattr(etcd_line, "WATCH_S", 20.0)
    mode = counter.opened("etcd_lock")
    store = store_of(mode)
    sold: list[Order] = []
    command = buying(2)
    with store.turn(command, 10.0) as turn:
        behind = threading.Thread(target=lambda: sold.append(sell(mode)), name="behind")
        behind.start()
        until(lambda: ("behind", "watch") in wire.asked)
        turn.write(decide_now(turn.page, command).page)
    behind.join()
    assert [path for name, path in wire.asked if name == "behind"] == ["kv/txn", "watch", "kv/txn", "kv/txn"]
    assert (sold[0].tickets, sold[0].version) == ((3,), 2)


def test_who_came_first_is_served_first(counter: EngineCounter) -> None:
    """Nobody passes: five who came one after the other are served in that order."""
    mode = counter.opened("etcd_lock")
    store = store_of(mode)
    orders: list[tuple[str, int]] = []

    def note(number: int) -> None:
        orders.append((waiters[number].name, sell(mode).version))

    waiters = [threading.Thread(target=note, args=(number,), name=f"{number}") for number in range(5)]
    with store.turn(buying(), 10.0):
        for number, waiter in enumerate(waiters):
            waiter.start()
            until(lambda: len(in_line(store)) == number + 2)  # noqa: B023  # it is over before the next
    for waiter in waiters:
        waiter.join()
    assert sorted(orders, key=lambda order: order[1]) == [(f"{number}", number + 1) for number in range(5)]
    assert in_line(store) == []


def store_of(mode: Mode) -> EtcdLine:
    """Return the store of a mode."""
    store = mode.store
    assert isinstance(store, EtcdLine)
    return store


def in_line(store: EtcdLine) -> list[bytes]:
    """Return the places in line."""
    return [kept.key for kept in store.gateway.look(fetch(*store.keys.line("default"))).found[0]]


def end_leases(store: EtcdLine) -> None:
    """Let all leases end under which somebody stands in line, as etcd does when nobody keeps them."""
    for place in in_line(store):
        lease = int(place.decode().rpartition("/")[2].partition("-")[0], 16)
        store.gateway._asked("lease/revoke", {"ID": lease}, 5.0, changes=True)  # noqa: SLF001  # the service never does


def test_what_is_written_after_the_lease_has_ended_is_refused(counter: EngineCounter) -> None:
    """The fence: also when nobody else has come in between, and nothing else could tell."""
    store = store_of(counter.opened("etcd_lock"))
    command = buying(2)
    with store.turn(command, 10.0) as turn:
        end_leases(store)
        with pytest.raises(Conflict, match="the lease had ended"):
            turn.write(decide_now(turn.page, command).page)
    assert store.look("default") == Event("default", 10, 10, 0)


def test_a_page_that_does_not_follow_is_not_written(counter: EngineCounter) -> None:
    """A program that decides wrongly is refused, as constraints of a schema would: it cannot sell a ticket again."""
    mode = counter.opened("etcd_lock", lambda page, command: decide_now(replace(page, free=(1, 2)), command))
    assert sell(mode).tickets == (1,)
    with pytest.raises(Damaged, match="the 1 tickets sold were not all free"):
        mode.execute(buying())
    assert look(mode).version == 1
    assert in_line(store_of(mode)) == []


@pytest.mark.parametrize(
    ("name", "faster"), [("etcd_txn", "etcd_lock"), ("etcd_lock", "etcd_txn"), ("etcd_lock", "etcd_lock")]
)
def test_who_was_away_between_read_and_write_decides_again(counter: EngineCounter, name: str, faster: str) -> None:
    """On what is there then; also when the other sells in the other mode, as while hosts are changed over to it."""
    other = counter.opened(faster)
    away = [True]

    def decide(page: Page, command: Command) -> Decision:
        if away:
            away.clear()
            if name == faster:
                end_leases(store_of(other))
            sell(other, 4)
        return decide_now(page, command)

    order = sell(counter.joined(name, decide), 2)
    assert (order.tickets, order.version) == ((5, 6), 2)


@each_mode
def test_a_reply_that_is_lost_leaves_the_order_in_doubt_and_its_key_resolves_it(
    counter: EngineCounter, wire: Wire, name: str
) -> None:
    """It was written: that is unknown, and who asks again with the same key is told what was done."""
    mode = counter.opened(name)
    command = keyed(3)
    sell(mode)
    wire.lose_next("kv/txn", "after", number=2)
    with pytest.raises(Unknown, check=because("the connection was lost")):
        mode.execute(command)
    assert look(mode).version == 2
    again = mode.execute(replace(command, order=order_id("default", "a" * 24)))
    assert isinstance(again, Sold)
    assert (again.order.id, again.order.version) == (command.order, 2)
    assert look(mode).version == 2


def test_an_order_in_doubt_that_was_never_carried_out_is_called_back(counter: EngineCounter, wire: Wire) -> None:
    """Who takes their place out of the line while it is still there knows that nothing was written, nor will be."""
    mode = counter.opened("etcd_lock")
    sell(mode)
    wire.lose_next("kv/txn", "before", number=2)
    with pytest.raises(NotWritten, match="called back"):
        mode.execute(buying())
    assert sell(mode).version == 2


def test_without_a_line_it_stays_in_doubt(counter: EngineCounter, wire: Wire) -> None:
    """Under ``etcd_txn`` nobody can know that what was sent will not be carried out yet."""
    mode = counter.opened("etcd_txn")
    wire.lose_next("kv/txn", "before", number=2)
    with pytest.raises(Unknown, check=because("no reply in time")):
        mode.execute(buying())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_place_in_doubt_is_given_up_with_its_lease(counter: EngineCounter, wire: Wire, when: str) -> None:
    """Nothing was sold; the place, if it is there, ends with the lease that nobody keeps, and the next one sells."""
    mode = counter.opened("etcd_lock")
    sell(mode)
    wire.lose_next("kv/txn", when)
    with pytest.raises(NotWritten, match="so nothing was done"):
        mode.execute(buying())
    assert sell(mode).version == 2


@each_mode
def test_what_changes_nothing_is_asked_of_another_member(counter: EngineCounter, wire: Wire, name: str) -> None:
    """A look that is lost, before or after, is a look that the next member answers."""
    mode = counter.opened(name)
    for when in ("before", "after"):
        wire.lose_next("kv/txn", when)
        assert look(mode) == Event("default", 10, 10, 0)


def test_a_member_that_refuses_connections_is_passed_over(fresh_url: Callable[[str], str]) -> None:
    """Certainly nothing was sent to it. If all refuse, certainly nothing was done."""
    dead = "127.0.0.1:1"
    url = fresh_url("etcd").replace("etcd://", f"etcd://{dead},")
    store = EtcdLine(url)
    store.prepare({"default": 10})
    for _ in range(5):
        assert store.look("default") == Event("default", 10, 10, 0)
    store.close()
    with pytest.raises(NotWritten, check=because("the connection was refused")):
        Gateway([dead, dead]).change((), [put(b"a", b"b")])
    assert list(EtcdLine(f"etcd://{dead}/x").overdue(NOW)) == []  # the sweeper looks again, and goes on


@pytest.mark.parametrize(
    ("code", "message", "outcome"),
    [
        (3, "etcdserver: request is too large", NotWritten),
        (8, TOO_MANY, NotWritten),
        (8, "etcdserver: mvcc: database space exceeded", Unknown),
        (14, "etcdserver: no leader", Unknown),
        (14, "etcdserver: request timed out", Unknown),
        (14, "etcdserver: leader changed", Unknown),
    ],
)
def test_what_etcd_says_of_a_change_that_it_did_not_do_is_certain_or_not(
    monkeypatch: pytest.MonkeyPatch, code: int, message: str, outcome: type[Exception]
) -> None:
    """The change that exceeds the space is answered so when it has been done; without a leader, it may be done yet."""

    def refuse(*_: object, **__: object) -> requests.Response:
        reply = requests.Response()
        reply.status_code = 503
        reply._content = f'{{"code": {code}, "message": "{message}"}}'.encode()  # noqa: SLF001  # there is no other way
        return reply

    monkeypatch.setattr(requests.Session, "send", refuse)
    gateway = Gateway(["127.0.0.1:1", "127.0.0.1:2"])
    with pytest.raises(outcome, check=because(message)):
        gateway.change((), [put(b"a", b"b")])
    with pytest.raises(NotWritten, check=because(message)):
        gateway.look(fetch(b"a"))


@each_mode
def test_two_commands_with_one_key_do_not_both_find_it_unused(counter: EngineCounter, name: str) -> None:
    """Also when neither changes the event: an answer that is kept is a change of its key."""
    mode = counter.opened(name)
    first = keyed(20)
    second = replace(buying(19), key=first.key)
    raced: list[Any] = []

    def decide(page: Page, command: Command) -> Decision:
        decision = decide_now(page, command)
        if not raced:
            raced.append(None)
            end_leases(store)
            raced.append(mode.execute(second))
        return decision

    racing = counter.joined(name, decide)
    store = store_of(racing)
    assert isinstance(racing.execute(first), KeyReused)
    assert isinstance(raced[1], SoldOut)
    assert isinstance(mode.execute(second), SoldOut)


@each_mode
def test_a_hundred_holds_that_end_together_end_in_one_write(counter: EngineCounter, name: str) -> None:
    """As many as any command ends, with a version each: a transaction of etcd has 128 steps at most."""
    counter.event("default", 100)
    mode = counter.opened(name)
    held = [mode.execute(holding()) for _ in range(100)]
    assert all(isinstance(reply, Held) for reply in held)
    later = counter.joined(name, lambda page, command: rules.decide(page, command, NOW + TTL_S))
    assert list(later.store.overdue(NOW + TTL_S)) == [("default", NOW + TTL_S)]
    reply = later.execute(replace(keyed(100), buyer="all"))
    assert isinstance(reply, Sold)
    assert (reply.order.tickets, reply.order.version) == (tuple(range(1, 101)), 201)
    assert list(later.store.overdue(NOW + TTL_S)) == []
    assert later.execute(Sweep("default")) == Swept(Event("default", 100, 0, 201), 0)


def test_what_is_long_is_fetched_piece_by_piece(counter: EngineCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes, and holds of several events that are over: all of them, each once."""
    monkeypatch.setattr(etcd_cluster, "PAGE_KEYS", 2)
    names = ["concert", "concert-2", "default"]
    for name in names:
        counter.event(name, 10)
    mode = counter.opened("etcd_txn")
    for number, name in itertools.product(range(3), names):
        mode.execute(replace(holding(), order=order_id(name, f"{number:024x}"), event=name, ttl_s=10.0 + number))
    assert sorted(mode.store.overdue(NOW + 10)) == [(name, NOW + 10) for name in names]
    assert list(mode.store.overdue(NOW + 9)) == []
    assert versions(mode) == [1, 2, 3]
    assert versions(mode, 2) == [3]
    assert mode.store.names("concert", 5) == names[1:]
    assert mode.store.names("", 2) == names[:2]


def versions(mode: Mode, after: int = 0) -> list[int]:
    """Return the versions of the changes behind ``after``."""
    lines = mode.store.changes("default", after)
    assert not isinstance(lines, tuple)
    return [unseal(line)["version"] for line in lines]  # type: ignore[union-attr]  # the event is there


def test_tickets_that_all_came_back_take_no_room(counter: EngineCounter) -> None:
    """The free tickets are listed as runs, and those up to the end of all that were given out not at all."""
    counter.event("default", 1000)
    mode = counter.opened("etcd_txn")
    orders = [sell(mode, 100) for _ in range(4)]
    for order in (orders[2], orders[1], orders[3], orders[0]):
        mode.execute(Cancel(order.id, "default"))
    store = store_of(mode)
    ((kept,),) = store.gateway.look(fetch(store.keys.event("default"))).found
    assert (unseal(kept.value)["given"], unseal(kept.value)["returned"]) == (0, [])
    assert sell(mode, 2).tickets == (1, 2)


@each_mode
def test_an_event_that_no_longer_fits_is_refused_and_holds_up_nobody(
    counter: EngineCounter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certainly nothing is done, and it is said why; what makes it shorter goes on."""
    mode = counter.opened(name)
    orders = [sell(mode) for _ in range(5)]
    monkeypatch.setattr(etcd_keys, "EVENT_BYTES_MAX", 100)
    with pytest.raises(NotWritten, match="lie in so many pieces that"):
        mode.execute(Cancel(orders[1].id, "default"))
    monkeypatch.undo()
    assert sell(mode).version == 6


def test_hosts_that_start_at_once_make_an_event_once(fresh_url: Callable[[str], str]) -> None:
    """Whoever comes second finds it there; another prefix is another world; no events at all: ``default``."""
    url = fresh_url("etcd")
    starts = [threading.Thread(target=EtcdLine(url).prepare, args=({"concert": 5 + number},)) for number in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    store, elsewhere = EtcdLine(url), EtcdLine(fresh_url("etcd"))
    assert store.names("", 10) == ["concert"]
    made = store.look("concert")
    assert isinstance(made, Event)
    assert made.capacity in range(5, 9)
    assert store.create("concert", 3) is False
    elsewhere.prepare({})
    assert elsewhere.look("default") == Event("default", 100, 100, 0)
    store.close()
    elsewhere.close()


def test_what_cannot_be_used_is_refused_before_anything_is_sold(fresh_url: Callable[[str], str]) -> None:
    """No cluster there, keys of another format, no address: one sentence each."""
    with pytest.raises(Refused, match=r"no member of etcd answered, .* see that most members run"):
        EtcdLine("etcd://127.0.0.1:1/x").prepare({})
    store = EtcdLine(fresh_url("etcd"))
    store.gateway.change((), [put(store.keys.format(), b"2")])
    with pytest.raises(Refused, match="have format '2', and this service knows '1'"):
        store.prepare({})
    store.close()
    for url in ("etcd://", "etcd:///x", "etcd://127.0.0.1/x", "etcd://127.0.0.1:1/a/b", "etcd://a:1,/x"):
        with pytest.raises(Refused, match="is no address of etcd: expected etcd://HOST:PORT"):
            EtcdLine(url)


def test_a_hold_that_nobody_touches_comes_back_by_itself(
    served: Callable[..., Service], fresh_url: Callable[[str], str]
) -> None:
    """The whole service over etcd: bought, held, and the sweeper ends what is over."""
    service = served("etcd_lock", url=fresh_url("etcd"))
    with requests.Session() as session:
        session.trust_env = False

        def count() -> int:
            return int(session.get(f"{service.url}/tickets", timeout=30).json()["count"])

        assert session.post(f"{service.url}/buy", json={"quantity": 3}, timeout=30).status_code == 201
        held = session.post(f"{service.url}/events/default/holds", json={"quantity": 2, "ttl_s": 1}, timeout=30)
        assert held.json()["tickets"] == [4, 5]
        until(lambda: count() == 7)
        header = {"Authorization": f"Bearer {service.token}"}
        lines = session.get(f"{service.url}/events/default/journal?after=0", headers=header, timeout=30).text
        assert [unseal(line)["status"] for line in lines.encode().splitlines(keepends=True)] == [
            "sold",
            "held",
            "expired",
        ]
    assert time.time() > float(held.json()["expires_at"])
