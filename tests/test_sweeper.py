"""The sweeper: a hold that nobody touches comes back by itself; the process that sees to it ends with the service."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from service.stores import recovery
from service.stores.document import Checkpoint, rendered
from service.stores.json_file import JsonFile
from service.stores.replay import Refused
from service.sweeper import AGAIN_S, SWEEP_S, Sweeper
from service.values import Event
from tests.counter import ON_FILES
from tests.processes import alive_of, comm, holds, listening
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.serve import Service

SOON_S, LATER_S = 1, 3600


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def sweepers(service: Service) -> list[int]:
    """Return the processes of a service that sweep."""
    return [int(each) for each in alive_of(service.process.pid) if comm(int(each)) == "hold-sweeper"]


def sweeper(service: Service) -> int:
    """Return the one process that sweeps, when there is one."""
    until(lambda: len(sweepers(service)) == 1)
    return sweepers(service)[0]


def hold(http: requests.Session, service: Service, quantity: int, ttl_s: float, event: str = "default") -> str:
    """Hold tickets, and return the order."""
    return str(held(http, service, quantity, ttl_s, event)["order"])


def held(
    http: requests.Session, service: Service, quantity: int, ttl_s: float, event: str = "default"
) -> dict[str, Any]:
    """Hold tickets, and return what was told."""
    reply = http.post(f"{service.url}/events/{event}/holds", json={"quantity": quantity, "ttl_s": ttl_s})
    assert reply.status_code == 201
    told: dict[str, Any] = reply.json()
    return told


def confirmed_in_time(http: requests.Session, service: Service) -> str:
    """Hold a ticket for a moment, and confirm it: again, where a busy machine took longer. Return the order."""
    orders = []

    def is_confirmed() -> bool:
        orders.append(hold(http, service, 1, SOON_S))
        return http.post(f"{service.url}/orders/{orders[-1]}/confirm").status_code == 200

    until(is_confirmed)
    return orders[-1]


def count_on_disk(tmp_path: Path, event: str = "default") -> int:
    """Return what the document says, as a person would ``cat`` it."""
    text = (tmp_path / "service-1" / "data" / f"{event}.json").read_text()
    try:
        return int(json.loads(text)["count"])
    except ValueError:  # it was being written over
        return -1


@pytest.mark.parametrize("mode", ON_FILES)
def test_a_hold_that_nobody_touches_comes_back_on_disk_by_itself(
    served: Callable[..., Service], http: requests.Session, tmp_path: Path, mode: str
) -> None:
    """In every mode, nobody asking: the document's count comes true. The end is a change with a version of its own, not
    before its time; a hold that lasts, and a sale, stay as they are.
    """
    service = served(mode, workers=1)  # as many as every mode but the two that keep nobody out can keep apart
    lasting, confirmed, told = (
        hold(http, service, 3, LATER_S),
        confirmed_in_time(http, service),
        held(http, service, 2, SOON_S),
    )
    ending = told["order"]
    assert count_on_disk(tmp_path) == 4 or time.time() > told["expires_at"]
    until(lambda: count_on_disk(tmp_path) == 6)
    journal = (tmp_path / "service-1" / "data" / "default.jsonl").read_text()
    lines = [json.loads(line) for line in journal.splitlines()]
    begun, ended = (line for line in lines if line.get("order") == ending)
    assert (begun["status"], ended["status"], ended["version"]) == ("held", "expired", begun["version"] + 1)
    assert ended == lines[-1]
    assert ended["at"] >= ended["expires_at"] == begun["expires_at"]
    states = {order: http.get(f"{service.url}/orders/{order}").json() for order in (lasting, ending, confirmed)}
    assert {order: body["status"] for order, body in states.items()} == {
        lasting: "held",
        ending: "expired",
        confirmed: "sold",
    }
    assert http.post(f"{service.url}/orders/{ending}/confirm").json()["type"] == "urn:turnstile:problem:hold-expired"


def test_holds_of_every_event_come_back_and_many_at_once(
    served: Callable[..., Service], http: requests.Session, tmp_path: Path
) -> None:
    """More holds than one command ends, and an event that was made while the service ran."""
    service = served("group_commit", tickets=300)
    admin = {"Authorization": f"Bearer {service.token}"}
    assert http.put(f"{service.url}/events/later", json={"capacity": 5}, headers=admin).status_code == 201
    hold(http, service, 5, SOON_S, event="later")
    for _ in range(4):
        hold(http, service, 60, SOON_S)
    until(lambda: (count_on_disk(tmp_path), count_on_disk(tmp_path, "later")) == (300, 5))


def test_one_that_is_killed_is_followed_by_another(
    served: Callable[..., Service], http: requests.Session, tmp_path: Path
) -> None:
    """It is no worker and holds no port; killed, it is there again, and sweeps."""
    service = served("file_lock")
    first = sweeper(service)
    assert not holds(first, listening(int(service.url.rpartition(":")[2])))
    os.kill(first, signal.SIGKILL)
    until(lambda: sweepers(service) not in ([], [first]))
    hold(http, service, 2, SOON_S)
    until(lambda: count_on_disk(tmp_path) == 10)


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("file_lock", signal.SIGTERM),
        ("file_lock", signal.SIGINT),
        ("file_lock", signal.SIGKILL),
        ("single_writer", signal.SIGTERM),
        ("single_writer", signal.SIGKILL),
    ],
)
def test_it_ends_with_the_service_whatever_ends_that(
    served: Callable[..., Service], tmp_path: Path, mode: str, number: signal.Signals
) -> None:
    """Asked to end, or the master killed: no process is left, beside another daemon too, and the data are free."""
    service = served(mode)
    sweeper(service)
    service.process.send_signal(number)
    assert service.process.wait(PATIENCE_S) == (-number if number == signal.SIGKILL else 0)
    until(lambda: alive_of(service.process.pid) == [])
    until(lambda: is_free(tmp_path / "service-1" / "data"))  # a daemon that was killed has ended when its threads have


def is_free(data: Path) -> bool:
    """Tell whether the next service can have the data, and let them go again."""
    try:
        recovery.prepare(data, "the next one").free()
    except Refused:
        return False
    return True


def test_the_sweeper_and_the_administrator_sweep_and_nobody_else(
    served: Callable[..., Service], http: requests.Session
) -> None:
    """The token of the sweeper is told to nobody, the administrator has one; without either it is refused."""
    service = served("file_lock")
    hold(http, service, 2, LATER_S)
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer "}):
        reply = http.post(f"{service.url}/events/default/sweep", headers=headers)
        assert (reply.status_code, reply.json()["type"]) == (401, "urn:turnstile:problem:not-signed-in")
    asked = http.post(f"{service.url}/events/default/sweep", headers={"Authorization": f"Bearer {service.token}"})
    assert (asked.status_code, asked.json()["ended"]) == (200, 0)
    assert http.get(f"{service.url}/tickets").json()["version"] == 1


class Overseen(Sweeper):
    """A sweeper of which a test sees what it asks for; it is answered as the test likes."""

    def __init__(self, store: JsonFile, answers: list[bool]) -> None:
        super().__init__(store, "127.0.0.1", 1, "token")
        self.asked: list[str] = []
        self._answers = answers

    def _swept(self, event: str) -> bool:
        self.asked.append(event)
        return self._answers.pop(0)


def test_it_asks_again_until_it_was_done_and_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, it asks with the next look; done, it does not ask for the same end again, though a document that is
    behind still shows it; a document that is half written is passed over.
    """
    now = time.time()

    def document(event: str, ends: float | None) -> None:
        (tmp_path / f"{event}.json").write_bytes(rendered(Checkpoint(Event(event, 9, 5, 4), 0, 100, ends)))

    document("over", now - 1)
    document("lasts", now + 1000)
    document("none", None)
    (tmp_path / "half.json").write_bytes(b'{"event":"half"')
    overseen = Overseen(JsonFile(tmp_path), [False, True, True])
    looks: list[Any] = [[], [], [], [], ["the sentinel"]]

    def wait(*_: object) -> object:
        if len(looks) == 2:
            document("over", now - 0.5)
        return looks.pop(0)

    monkeypatch.setattr("service.sweeper.wait", wait)
    overseen.run(0)
    assert overseen.asked == ["over", "over", "over"]
    assert looks == []


class Shown(JsonFile):
    """A store that shows, one look after the other, when the first hold of its one event ends."""

    def __init__(self, directory: Path, ends: list[float]) -> None:
        super().__init__(directory)
        self._shown = ends

    def overdue(self, now: float) -> Iterator[tuple[str, float]]:
        ends = self._shown.pop(0)
        if ends <= now:
            yield "e", ends


def pauses(monkeypatch: pytest.MonkeyPatch, looks: int) -> list[float]:
    """Let a sweeper look so often, without sleeping; return what will have how long it would have slept."""
    slept: list[float] = []

    def wait(_: object, pause_s: float) -> object:
        slept.append(pause_s)
        return ["the sentinel"] if len(slept) > looks else []

    monkeypatch.setattr("service.sweeper.wait", wait)
    return slept


def test_it_does_not_sleep_while_there_is_more_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand holds that end together come back as fast as commands can end them, and what ends meanwhile has time
    until the next look: else each would be ended by a command of its own.
    """
    now = time.time()
    slept = pauses(monkeypatch, looks=4)
    monkeypatch.setattr("service.sweeper.time.time", iter([now, now + 9]).__next__)
    overseen = Overseen(Shown(tmp_path, [now - 2, now - 1, now + 1, now + 1]), [True, True, True])
    overseen.run(0)
    assert slept == [SWEEP_S, 0, 0, SWEEP_S, 0]
    assert len(overseen.asked) == 3


def test_a_clock_that_is_set_back_does_not_leave_a_hold_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that was asked may see an earlier time, and end nothing: it is asked again, after a while."""
    ends = time.time() - 1
    pauses(monkeypatch, looks=4)
    monkeypatch.setattr("service.sweeper.time.monotonic", iter([0.0, 1.0, AGAIN_S, AGAIN_S, 61.0]).__next__)
    overseen = Overseen(Shown(tmp_path, [ends] * 4), [True, True])
    overseen.run(0)
    assert len(overseen.asked) == 2
