"""The mode ``lease``: who was paused beyond its lease sells nothing late, and nobody is told what is not so."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from loadtest import check, client, history, plan, serve, transport
from loadtest.history import Operation
from loadtest.scene import Scene
from service.mode import Busy, NotWritten
from service.modes import lease
from service.outcomes import NoSuchEvent, NoSuchOrder, Sold, SoldOut
from service.stores import fenced, fencing
from service.stores.fenced import FencedJsonFile
from service.stores.sealed import unseal
from service.values import Event, Order
from tests.counter import Counter, buying, look, sell
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from loadtest.findings import Checked
    from service.mode import Mode

FORK = get_context("fork")
LEASE_S = 0.2
PAUSES_MAX = 5
STEPS: dict[str, tuple[object, str, str]] = {
    "with the lease": (fencing, "take", "before"),
    "with the fence": (fencing, "take", "after"),
    "after reading": (FencedJsonFile, "read", "after"),
    "after the check": (fenced, "_put", "before"),
    "after the line": (fenced, "_put", "after"),
    "before fsync": (os, "fsync", "before"),
    "before the document": (fenced, "overwrite", "before"),
}
SELLS_AFTER_ALL = {"with the lease", "after the line", "before fsync", "before the document"}
"""Whoever is continued before it has read anything reads what is so now; whoever's line was first has sold."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_S", LEASE_S)


def pausing(real: Callable[..., Any], when: str) -> Callable[..., Any]:
    """Return ``real``, which pauses its own process before or after it runs for the first time."""
    left = [signal.SIGSTOP]

    def paused(*arguments: Any) -> Any:  # noqa: ANN401  # whatever the real one takes and gives
        if when == "before" and left:
            os.kill(os.getpid(), left.pop())
        result = real(*arguments)
        if when == "after" and left:
            os.kill(os.getpid(), left.pop())
        return result

    return paused


def be_holder(mode: Mode, step: str, told: Connection) -> None:
    """Buy, be paused at a step, and tell what came of it."""
    mode.open()
    target, attribute, when = STEPS[step]
    patch = pytest.MonkeyPatch()
    patch.setattr(target, attribute, pausing(getattr(target, attribute), when))
    command = buying(2, buyer="the paused one")
    try:
        told.send((command.order, mode.execute(command)))
    except NotWritten as error:
        told.send((command.order, str(error)))


def paused_at(step: str, counter: Counter, then: Callable[[Mode], None]) -> tuple[str, object]:
    """Pause a holder at a step, do ``then`` in another process, and return what the holder tells when it goes on."""
    mode = counter.build("lease")
    receiver, sender = FORK.Pipe(duplex=False)
    holder = FORK.Process(target=be_holder, args=(mode, step, sender))
    holder.start()
    assert holder.pid is not None
    try:
        _, status = os.waitpid(holder.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        then(counter.joined("lease"))
        os.kill(holder.pid, signal.SIGCONT)
        order, outcome = receiver.recv()
        return str(order), outcome
    finally:
        holder.kill()
        holder.join()


def journal_of(counter: Counter) -> list[tuple[str, int]]:
    """Return what the service shows of its journal: each order with its version."""
    changes = counter.joined("lease").store.changes("default", 0)
    assert not isinstance(changes, NoSuchEvent)
    return [(values["order"], values["version"]) for values in map(unseal, changes)]


@pytest.mark.parametrize("step", STEPS)
def test_a_paused_holder_that_goes_on_sells_nothing_twice(counter: Counter, step: str) -> None:
    """Paused at any step, while another takes the lease over and sells two orders. It is told the truth, the version
    that lookers see never goes back, and the store opens again, for another mode too, with what was told.
    """
    sold: list[Order] = []
    seen: list[Event] = []

    def take_over(mode: Mode) -> None:
        for _ in range(2):
            seen.append(look(mode))
            sold.append(sell(mode))
        seen.append(look(mode))

    paused, outcome = paused_at(step, counter, take_over)
    seen.append(look(counter.joined("lease")))
    if step in SELLS_AFTER_ALL:
        assert isinstance(outcome, Sold)
        sold.append(outcome.order)
    else:
        assert outcome == "the lease had ended and another took over, so nothing was done"
    sold.sort(key=lambda order: order.version)
    assert [order.version for order in sold] == list(range(1, len(sold) + 1))
    tickets = [ticket for order in sold for ticket in order.tickets]
    assert tickets == list(range(1, len(tickets) + 1))
    assert [event.version for event in seen] == sorted(event.version for event in seen)
    assert seen[-1] == Event("default", 10, 10 - len(tickets), len(sold))
    assert journal_of(counter) == [(order.id, order.version) for order in sold]
    for name in ("lease", "file_lock"):
        again = counter.opened(name)
        assert look(again) == seen[-1]
        assert [again.store.find(order.id) for order in sold] == sold
        assert (again.store.find(paused) == NoSuchOrder(paused)) is isinstance(outcome, str)
        sold.append(sell(again))
        seen.append(look(again))


def test_a_holder_that_nobody_went_past_has_sold(counter: Counter) -> None:
    """The other one had the lease and sold nothing: the line of the first one is no worse for coming late."""

    def refuse(mode: Mode) -> None:
        assert isinstance(mode.execute(buying(11)), SoldOut)

    _, outcome = paused_at("after the check", counter, refuse)
    assert isinstance(outcome, Sold)
    assert (outcome.order.version, look(counter.joined("lease")).version) == (1, 1)
    refused, outcome = paused_at("after reading", counter, refuse)
    assert isinstance(outcome, str)
    assert counter.joined("lease").store.find(refused) == NoSuchOrder(refused)


def test_a_late_line_is_void_for_everybody(counter: Counter) -> None:
    """It stands in the journal, and neither the journal as it is shown, nor the index, nor the next start has it."""

    def take_over(mode: Mode) -> None:
        sell(mode)

    paused, outcome = paused_at("after the check", counter, take_over)
    assert isinstance(outcome, str)
    assert paused.encode() in (counter.directory / "default.jsonl").read_bytes()
    before = journal_of(counter)
    mode = counter.opened("lease")
    assert paused.encode() not in (counter.directory / "default.jsonl").read_bytes()  # it was the last line: cut off
    assert journal_of(counter) == before
    assert mode.store.find(paused) == NoSuchOrder(paused)
    assert sell(mode).version == 2


def test_a_lease_that_was_never_signed_ends_too(counter: Counter) -> None:
    """Killed between making the file and writing into it: it ends after as long as a lease lasts, or with a start."""
    unsigned = counter.directory / "default.lease"
    mode = counter.opened("lease")
    unsigned.touch()
    assert sell(mode).version == 1
    unsigned.touch()
    (counter.directory / f"default.lease.break.12.{'0' * 32}").touch()
    counter.build("lease")
    assert not list(counter.directory.glob("*.lease*"))


def test_a_waiter_with_less_patience_than_a_lease_gets_in_when_it_asks_again(counter: Counter) -> None:
    """What was seen of the lease in vain counts for the next one who waits, so nobody is stuck."""

    def ask(mode: Mode) -> None:
        impatient = counter.joined("lease", wait_s=LEASE_S / 4)
        until(lambda: sold_by(impatient))
        assert look(mode).version == 1

    assert isinstance(paused_at("after reading", counter, ask)[1], str)


def sold_by(mode: Mode) -> bool:
    try:
        sell(mode)
    except Busy:
        return False
    return True


class Buyers:
    """Buyers of a running service, each with a connection and a thread of its own."""

    def __init__(self, service: serve.Service) -> None:
        self.rows: list[Operation] = []
        self._scene = Scene(service.url, plan.make("flash-sale", 1, 60, orders=1))
        self._threads: list[threading.Thread] = []

    def come(self, number: int) -> None:
        """Let so many buyers come."""
        for _ in range(number):
            arguments = (self._scene, len(self._threads), time.monotonic_ns(), self.rows.append, lambda: False)
            self._threads.append(threading.Thread(target=client.be_client, args=arguments))
            self._threads[-1].start()

    def go(self) -> None:
        """Wait until all have their replies."""
        for thread in self._threads:
            thread.join()


def pause_holders(
    mode: str, place: Path, enough: Callable[[list[Operation]], object]
) -> tuple[Checked, list[Operation]]:
    """Pause the holder of the lease between read and write until another has sold, again until it is ``enough``.

    Return what the load test finds, and the operations.
    """
    inside = place / "data" / "inside"
    inside.parent.mkdir(parents=True)
    (place / "data" / "default.json").write_text('{"count": 1000}')
    flags = {"mode": mode, "workers": 3, "threads": 4, "think_s": 0.3, "wait_s": 30}
    with serve.service(place, flags, program="tests.lease_program") as service, transport.session() as session:
        buyers = Buyers(service)
        for _ in range(PAUSES_MAX):
            inside.write_text("")
            buyers.come(2)
            until(lambda: bool(inside.read_text()))
            holder, version = int(inside.read_text()), version_in(place)
            os.kill(holder, signal.SIGSTOP)
            buyers.come(3)  # by new connections, which only the others can accept
            until(lambda before=version: version_in(place) > before)  # type: ignore[misc]  # the default binds it
            os.kill(holder, signal.SIGCONT)
            buyers.go()
            if enough(buyers.rows):
                break
        event_url = f"{service.url}/events/default"
        last = client.look(session, event_url, Operation("look", "the last look", -1, 0, 0, 0, "unknown"))
        journal = session.get(f"{event_url}/journal", headers={"Authorization": f"Bearer {service.token}"})
        (place / "journal.jsonl").write_bytes(journal.content)
    changes = history.load_journal(place / "journal.jsonl")
    return check.check(buyers.rows, changes, check.Start(1000, 1000), last), buyers.rows


def version_in(place: Path) -> int:
    """Return the version in the document, whole by the time that it is asked for again."""
    try:
        return int(json.loads((place / "data" / "default.json").read_text()).get("version", 0))
    except ValueError:
        return 0


def alike(rows: list[Operation]) -> bool:
    """Tell whether one version was made twice."""
    return len({row.version for row in rows}) < len(rows)


def refused(rows: list[Operation]) -> list[Operation]:
    """Return what was not sold."""
    return [row for row in rows if row.status != 201]


def test_the_load_test_tells_a_lease_with_fences_from_one_without(tmp_path: Path) -> None:
    """Both under the same pauses of the holder. With the check turned off, a late write sells what another has sold,
    and the load test says so; with it, the late one is told 503, and the history is right.
    """
    checked, rows = pause_holders("lease_unfenced", tmp_path / "unfenced", alike)
    assert {"lost update", "double sale"} <= {finding.anomaly for finding in checked.findings}
    assert {row.status for row in rows} == {201}
    checked, rows = pause_holders("lease", tmp_path / "fenced", refused)
    assert checked.findings == ()
    assert {(row.status, row.problem) for row in refused(rows)} == {(503, "not-written")}
    assert checked.left == 1000 - checked.sold
