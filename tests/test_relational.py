"""SQLite and PostgreSQL: what their tables refuse, how they are made, and that all of it decides as the rule does."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service import engines, rules
from service.batch import commit
from service.commands import Buy, Cancel, Command, Hold
from service.flock import flock
from service.mode import Conflict, NotWritten
from service.modes.postgres_conditional import PostgresConditional
from service.modes.sqlite import SqliteTransaction
from service.outcomes import Reply, Sold
from service.rules import Page
from service.settings import Settings
from service.stores import queries
from service.stores.replay import Refused
from service.stores.rows import effect
from service.stores.sqlite import Sqlite
from service.values import Event, Order, order_id
from tests.box_office import BoxOffice
from tests.counter import NOW, EngineCounter, buying, decide_now, look, sell
from tests.scripts import CAPACITY_MAX, EVENT, STEPS, Step, Wait, commands
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from service.mode import Mode
    from service.rules import Decision
    from service.stores.postgres import Postgres

STARTS = 6
EXAMPLES = 10
BATCH_MAX = 9
SCRIPTS = st.lists(STEPS, min_size=20, max_size=50)
SIMPLE = {"sqlite": "sqlite", "postgresql": "postgres_row_lock"}
each_scheme = pytest.mark.parametrize("scheme", SIMPLE)


@pytest.fixture
def counter(fresh_url: Callable[[str], str], scheme: str) -> Iterator[EngineCounter]:
    """A counter with ten tickets."""
    made = EngineCounter(fresh_url(scheme))
    yield made
    made.close()


def say(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Say something to a database behind the service's back."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            return file.execute(statement.replace("turnstile.", "")).fetchall()
    with psycopg.connect(url, autocommit=True) as server:
        ran = server.execute(statement.encode())
        return ran.fetchall() if ran.description else []


def written(mode: Mode, page: Page) -> None:
    """Write a page that nobody decided."""
    store: Any = mode.store
    with store.transaction() if isinstance(store, Sqlite) else contextlib.nullcontext():
        store.write(page)


def sold(tickets: tuple[int, ...], count: int, version: int, status: str = "sold") -> Page:
    """Return a page on which some tickets are sold, rightly or not."""
    order: Any = Order(order_id(EVENT, "a" * 24), EVENT, status, len(tickets), tickets, count, version, NOW)  # type: ignore[arg-type]  # as above
    return Page(Event(EVENT, 10, count, version), changes=(order,))


@each_scheme
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (sold((3, 4), 5, 2), NotWritten),  # ticket 3 is another's
        (sold((4, 4), 5, 2), NotWritten),  # twice in one order
        (sold((4,), -1, 2), NotWritten),
        (sold((4,), 11, 2), NotWritten),
        (sold((1,), 8, 2, "cancelled"), NotWritten),  # it gives back what is another's
        (sold((4,), 6, 1), Conflict),  # the version that it makes is made
        (sold((4,), 6, 3), Conflict),
    ],
)
def test_a_wrong_program_cannot_sell_a_ticket_twice(
    counter: EngineCounter, scheme: str, wrong: Page, error: type[Exception]
) -> None:
    """Whatever a mode believes, the tables refuse it, and nothing has changed."""
    mode = counter.opened(SIMPLE[scheme])
    first = sell(mode, 3)
    with pytest.raises(error):
        written(mode, wrong)
    assert look(mode) == Event(EVENT, 10, 7, 1)
    assert mode.store.find(first.id) == first
    assert sell(mode, 1).tickets == (4,)


def test_pages_that_are_written_together_cannot_have_one_ticket() -> None:
    """Nor give back what the one before has taken, though the tables are told only how it ends."""
    first, second = sold((4,), 9, 1), sold((4,), 8, 2)
    change: Any = second.changes[0]
    other: Any = replace(change, id=order_id(EVENT, "b" * 24))
    for change in (other, replace(other, status="cancelled")):
        with pytest.raises(NotWritten, match="ticket 4 is not for its order"):
            effect([first, replace(second, changes=(change,))])


@each_scheme
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO turnstile.taken (event, ticket, order_id) SELECT event, ticket, 'another' FROM turnstile.taken",
        "UPDATE turnstile.events SET count = -1",
        "UPDATE turnstile.events SET count = capacity + 1",
        "UPDATE turnstile.changes SET quantity = quantity + 1",
        "INSERT INTO turnstile.changes SELECT * FROM turnstile.changes",
        "INSERT INTO turnstile.events (name, capacity, count, version, given) VALUES ('default', 5, 5, 0, 0)",
    ],
)
def test_what_cannot_be_is_refused_to_everyone(counter: EngineCounter, scheme: str, statement: str) -> None:
    """Also to who comes with a shell: a second owner, more tickets than there are, a version twice."""
    mode = counter.opened(SIMPLE[scheme])
    sell(mode, 3)
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        say(counter.url, statement)


@each_scheme
def test_many_hosts_may_start_at_once(counter: EngineCounter, scheme: str) -> None:
    """On an empty database: the tables are made once, and so is each event."""
    go = threading.Barrier(STARTS)
    failed: list[Exception] = []

    def start() -> None:
        go.wait()
        try:
            engines.made(Settings(url=counter.url)).prepare({EVENT: 10, "concert": 5})
        except Exception as error:  # noqa: BLE001  # told by the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(STARTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    mode = counter.joined(SIMPLE[scheme])
    assert mode.store.names("", 10) == ["concert", EVENT]
    assert say(counter.url, "SELECT edition FROM turnstile.editions") == [(1,)]


@each_scheme
def test_a_start_changes_nothing_that_is_there(counter: EngineCounter, scheme: str) -> None:
    """An event goes on as it stands, whatever the file that it began with says; and ``default`` is made in an empty
    database only.
    """
    mode = counter.opened(SIMPLE[scheme])
    sell(mode, 3)
    counter.event(EVENT, 99)
    assert look(counter.opened(SIMPLE[scheme])) == Event(EVENT, 10, 7, 1)
    engines.made(Settings(url=counter.url)).prepare({})
    assert mode.store.names("", 10) == [EVENT]


@each_scheme
def test_where_there_is_nothing_at_all_an_event_is_made(counter: EngineCounter, scheme: str) -> None:
    """As with files: ``default``, with a hundred tickets."""
    counter.seeds.clear()
    assert look(counter.opened(SIMPLE[scheme])) == Event(EVENT, 100, 100, 0)


@each_scheme
def test_the_tables_of_a_newer_release_are_left_alone(counter: EngineCounter, scheme: str) -> None:
    """An older program does not know what they mean: it does not start, and says why."""
    counter.opened(SIMPLE[scheme])
    say(counter.url, "INSERT INTO turnstile.editions VALUES (7)")
    with pytest.raises(Refused, match="has schema 7, and this release knows 1: use a newer release"):
        engines.made(Settings(url=counter.url)).prepare({})


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """A SQLite file with tables that are not ours is refused, and so is a file that is no database."""
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as file:
        file.execute("CREATE TABLE cats (name TEXT)")
    with pytest.raises(Refused, match="has tables of another program"):
        Sqlite(other).prepare({})
    (tmp_path / "text.db").write_text("no database at all, and long enough to tell")
    with pytest.raises(Refused, match="cannot be used as a database"):
        Sqlite(tmp_path / "text.db").prepare({})


@pytest.mark.parametrize("text", ["-- name: one\nSELECT 1", "-- name: one\n-- One.\n", "no name"])
def test_a_statement_has_a_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A statement without a description or without a text is an error of its file, found when it is loaded."""
    monkeypatch.setattr(queries, "FOLDER", tmp_path)
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "file.sql").write_text(text)
    if text == "no name":
        assert queries.load("engine", "file") == {}
    else:
        with pytest.raises(ValueError, match="without a description"):
            queries.load("engine", "file")


@pytest.mark.parametrize("buyer", ['a "quoted" buyer, 票\n', "back\\slash", "nought \0 and \\0 and \\\\0", "{1,NULL}"])
@each_scheme
def test_a_buyer_may_be_called_anything(counter: EngineCounter, scheme: str, buyer: str) -> None:
    """What was said of the buyer comes back, to the character, in the order and in the journal."""
    mode = counter.opened(SIMPLE[scheme])
    reply = mode.execute(buying(2, buyer=buyer))
    assert isinstance(reply, Sold)
    assert reply.order.buyer == buyer
    assert mode.store.find(reply.order.id) == reply.order


@pytest.mark.parametrize("name", ["default\0", "Default", "", "default ", "a" * 65, "Ünicode"])
@each_scheme
def test_a_name_that_no_event_has_is_found_nowhere(counter: EngineCounter, scheme: str, name: str) -> None:
    """Above all not under another name, as which a database may read it."""
    mode = counter.opened(SIMPLE[scheme])
    assert type(mode.execute(buying(event=name))).__name__ == "NoSuchEvent"
    assert type(mode.store.look(name)).__name__ == "NoSuchEvent"
    assert type(mode.store.tickets(name, 1, 5)).__name__ == "NoSuchEvent"
    assert type(mode.store.changes(name, 0)).__name__ == "NoSuchEvent"
    assert type(mode.store.find(f"{name}\0")).__name__ == "NoSuchOrder"
    assert look(mode).version == 0


def batches(script: list[Command | Wait], sizes: list[int]) -> Iterator[list[Command] | Wait]:
    """Cut a script into batches; a wait ends one."""
    batch: list[Command] = []
    size = itertools.cycle(sizes)
    most = next(size)
    for step in script:
        if not isinstance(step, Wait):
            batch.append(step)
        if batch and (isinstance(step, Wait) or len(batch) == most):
            yield batch
            batch, most = [], next(size)
        if isinstance(step, Wait):
            yield step
    if batch:
        yield batch


@each_scheme
def test_a_batch_is_decided_as_one_after_the_other(fresh_url: Callable[[str], str], scheme: str) -> None:
    """What is read once for many commands, and written once, gives every reply that the box office gives."""
    longest = 0

    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
    @given(
        st.integers(0, CAPACITY_MAX),
        st.lists(STEPS, min_size=30, max_size=60),
        st.lists(st.integers(1, BATCH_MAX), min_size=1),
    )
    def carried_out(capacity: int, steps: list[Step], sizes: list[int]) -> None:
        nonlocal longest
        clock = NOW

        def decide(page: Page, command: Command) -> Decision:
            return rules.decide(page, command, clock)

        store: Any = engines.made(Settings(url=fresh_url(scheme)))
        store.prepare({EVENT: capacity})
        office = BoxOffice(EVENT, capacity)
        store.open()
        try:
            for batch in batches(list(commands(steps, itertools.count())), sizes):
                if isinstance(batch, Wait):
                    clock += batch.seconds
                    continue
                longest = max(longest, len(batch))
                assert together(store, decide, batch) == [office.do(command, clock) for command in batch]
                assert store.look(EVENT) == office.event
            assert store.tickets(EVENT, 1, CAPACITY_MAX) == office.tickets()
            assert {order: store.find(order) for order in office.orders} == office.orders
        finally:
            store.close()

    carried_out()
    assert longest >= BATCH_MAX // 2


def together(
    store: Sqlite | Postgres, decide: Callable[[Page, Command], Decision], batch: list[Command]
) -> Sequence[Reply | Exception]:
    """Carry out a batch as the modes with a queue do."""
    if isinstance(store, Sqlite):
        mode = SqliteTransaction(store, decide, 5.0)
        with store.transaction():
            return mode._inside(batch)  # noqa: SLF001  # what the queue calls
    row = store.row(EVENT)
    with row.turn(wait=True):
        return commit(row.batch(batch), decide, batch)


@pytest.mark.parametrize("scheme", ["postgresql"])
def test_the_rule_in_sql_answers_as_the_rule(counter: EngineCounter) -> None:
    """Two events have the same said to them, one where SQL sells and one where ``decide`` does: all replies are equal,
    but for the names.
    """
    number = itertools.count()
    sells, decides = counter.opened("postgres_conditional"), counter.joined("postgres_row_lock")
    assert isinstance(sells, PostgresConditional)
    in_sql = 0
    sold_in_sql = sells.store.sell

    def counting(order: Order) -> Order:
        nonlocal in_sql
        after = sold_in_sql(order)
        in_sql += 1
        return after

    sells.store.sell = counting  # type: ignore[method-assign]  # to see that it is used

    @settings(max_examples=3 * EXAMPLES, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
    @given(st.integers(0, CAPACITY_MAX), SCRIPTS)
    def carried_out(capacity: int, steps: list[Step]) -> None:
        events = [f"{kind}-{next(number)}" for kind in ("sells", "decides")]
        for event in events:
            assert decides.store.create(event, capacity)
        for command in commands(steps, itertools.count()):
            if not isinstance(command, Wait):
                one, other = (
                    mode.execute(renamed(command, event)) for mode, event in zip((sells, decides), events, strict=True)
                )
                assert nameless(one) == nameless(other)

    carried_out()
    assert in_sql >= EXAMPLES


def renamed(command: Command, event: str) -> Command:
    """Return the same command for another event."""
    changed = replace(command, event=event, key=command.key and f"{event}-{command.key}")
    return replace(changed, order=order_id(event, command.order[8:])) if command.order else changed


def nameless(reply: Reply) -> object:
    """Return a reply without the names in it."""
    order, event = getattr(reply, "order", None), getattr(reply, "event", None)
    if isinstance(order, Order):
        return type(reply), replace(order, id="", event="")
    return type(reply), replace(event, name="") if isinstance(event, Event) else None


@each_scheme
def test_holds_beyond_what_was_read_for_a_batch_are_read_when_they_are_needed(
    counter: EngineCounter, scheme: str
) -> None:
    """Many cancel, in one batch, just the holds that were read for those who want tickets: others have ended too."""
    mode = counter.opened(SIMPLE[scheme])
    holds = [Hold(order_id(EVENT, f"{number:024x}"), EVENT, 1, float(number + 1)) for number in range(10)]
    for hold in holds:
        mode.execute(hold)
    cancels: list[Command] = [Cancel(hold.order, EVENT) for hold in holds[:3]]
    buys: list[Command] = [Buy(order_id(EVENT, f"b{number:023x}"), EVENT, 1) for number in range(5)]
    replies = together(mode.store, late, [*cancels, *buys])  # type: ignore[arg-type]  # it is one of these stores
    assert [type(reply) for reply in replies[3:]] == [Sold] * 5
    assert look(mode).count == 0


def late(page: Page, command: Command) -> Decision:
    """Decide when all of these holds have ended, but for those who cancel theirs in time."""
    return decide_now(page, command) if isinstance(command, Cancel) else rules.decide(page, command, NOW + 60)


def test_a_service_that_starts_waits_in_line_with_those_who_sell(tmp_path: Path) -> None:
    """SQLite would let it try for five seconds, and find no gap among workers who queue at the file lock."""
    store = Sqlite(tmp_path / "tickets.db")
    with flock(store.lock, wait=True):
        starting = threading.Thread(target=store.prepare, args=({"default": 10},))
        starting.start()
        until(lambda: waits_for(store.lock))
    starting.join()
    store.open()
    assert store.look("default") == Event("default", 10, 10)
    store.close()


def waits_for(path: Path) -> bool:
    """Tell whether somebody waits for the lock of a file, by the kernel's list."""
    inode = path.stat().st_ino
    rows = Path("/proc/locks").read_text().splitlines()
    return any(" -> FLOCK" in row and f":{inode} " in row for row in rows)
