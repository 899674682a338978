"""What is counted is what happened: over all workers, after a kill, and with no label that a client chose."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from service import catalogue, counts, exposition, watch
from service.commands import Resize, Sweep
from service.committer import Committer
from service.exposition import FRESH_S
from service.families import COUNTED, LOOKED_AT
from service.line import Line
from service.mode import Busy
from service.outcomes import NoSuchEvent
from service.settings import Settings
from service.watch import Watch
from tests.counter import ON_FILES, Counter, buying, decide_now
from tests.metrics import counted, folder_of, total
from tests.processes import children_of, holds, listening
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.serve import Service
    from service.commands import Command
    from service.rules import Decision, Page
    from service.values import Event

ROOT = Path(__file__).parent.parent
IN_PROCESS = [name for name in ON_FILES if name != "single_writer"]
"""The modes that need no process beside this one."""
WAYS_TO_WAIT = {
    "file_lock": "",
    "ticket_lock": "",
    "group_commit": "",
    "single_writer": "",
    "sqlite": "sqlite",
    "postgres_group": "postgresql",
    "redis_group": "redis",
}
"""A mode of each way in which an order waits for its turn, with the engine that it needs."""
UNTOLD = "not all is counted any more, and selling goes on"
BEREFT = """
import os, shutil
from service import counts, logs
logs.begin("text", "warning")
folder = counts.Folder()
from service.metrics import Metrics
metrics = Metrics(folder)
if not os.fork():
    metrics._set_aside()
    shutil.rmtree(folder.path)
    for _ in range(2):
        metrics.turn(0.0, 0.0, done=True)
        metrics.flush()
    print("sold", flush=True)
    os._exit(0)
os.wait()
metrics.alive({os.getpid()})
metrics.died(1)
"""
"""A worker whose folder is taken away when its room is set aside and the client has not opened it."""


def ask(url: str, method: str, path: str, body: object = None) -> int:
    """Ask over a connection of its own, so that all workers are asked, and return the status."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, f"{url}{path}", json=body, timeout=20).status_code


def buys(url: str, count: int) -> list[int]:
    """Return what so many purchases at once are answered."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: ask(url, "POST", "/buy", {"quantity": 1}), range(count)))


def test_what_was_answered_adds_up_over_all_workers(served: Callable[..., Service]) -> None:
    """By route, status and outcome: each reply once, by whichever worker; each sale had a turn and was in a batch."""
    url = served("group_commit", tickets=20, workers=3).url
    statuses = buys(url, 30)
    assert (statuses.count(201), statuses.count(409)) == (20, 10)
    assert [ask(url, "POST", "/buy", {"quantity": 0}) for _ in range(3)] == [422] * 3
    bought = {"route": "/buy", "method": "POST"}
    until(lambda: total(url, "turnstile_requests_total", **bought) == 33)
    until(lambda: total(url, "turnstile_workers") == 3)  # the first may have sold all before the last was there
    until(lambda: total(url, "turnstile_request_seconds_count", **bought) == 33)  # what is told of one reply or turn is
    until(lambda: of_turns(counted(url)))  # written down one after the other
    time.sleep(FRESH_S)  # what a worker has read before that is told again until then
    assert total(url, "turnstile_requests_total", status="201", outcome="done", **bought) == 20
    assert total(url, "turnstile_requests_total", status="409", outcome="sold-out", **bought) == 10
    assert total(url, "turnstile_requests_total", status="422", outcome="out-of-range", **bought) == 3
    assert total(url, "turnstile_request_seconds_count", **bought) == 33
    seen: dict[str, list[tuple[Mapping[str, str], float]]] = {}

    def is_looked_up() -> bool:
        seen.update(counted(url))
        return seen["turnstile_store_up"] == [({}, 1)]

    until(is_looked_up)
    assert of_turns(seen)
    ((_, turns),) = seen["turnstile_batch_orders_count"]
    assert seen["turnstile_batch_orders_sum"][0][1] >= 30  # and the questions whether it is ready
    assert 1 <= seen["turnstile_fsync_seconds_count"][0][1] <= turns
    assert seen["turnstile_tickets_left"] == [({"event": "default"}, 0)]
    assert seen["turnstile_tickets_capacity"] == [({"event": "default"}, 20)]
    assert seen["turnstile_workers"] == [({}, 3)]
    assert [labels["mode"] for labels, _ in seen["turnstile_build_info"]] == ["group_commit"]


def of_turns(seen: Mapping[str, Sequence[tuple[Mapping[str, str], float]]]) -> bool:
    """Tell whether each turn has its batch, its time inside and its wait, and each that was not had its wait."""
    names = ("batch_orders_count", "hold_seconds_count", "lock_wait_seconds_count", "lock_timeouts_total")
    batches, holds, waits, vain = (seen[f"turnstile_{name}"][0][1] for name in names)
    return holds == batches and waits == batches + vain


def test_every_metric_is_there_from_the_start(served: Callable[..., Service]) -> None:
    """All that are documented, and no other; those with labels when there is something to say."""
    url = served("no_lock").url
    ask(url, "GET", "/tickets")
    ask(url, "GET", "/no/such/thing")
    raw(url, b"nonsense\r\n\r\n")
    wanted = {each.name + ("_count" if each.kind == "histogram" else "") for each in (*COUNTED, *LOOKED_AT)}
    until(lambda: {name for name in counted(url) if not name.endswith(("_sum", "_bucket"))} == wanted)


def test_what_clients_make_up_is_no_label(served: Callable[..., Service]) -> None:
    """Else anybody could fill the memory of whoever reads it: paths, methods and events that there are not."""
    url = served("file_lock").url
    for number in range(5):
        ask(url, "GET", f"/made-up-{number}")
        ask(url, f"BREW{number}", "/tickets")
        ask(url, "GET", f"/events/made-up-{number}")
    until(lambda: total(url, "turnstile_requests_total", status="404") == 10)
    until(lambda: total(url, "turnstile_requests_total", method="other", status="405") == 5)
    until(lambda: total(url, "turnstile_requests_total", route="other", outcome="not-found") == 5)
    until(lambda: total(url, "turnstile_requests_total", route="/events/{event}", outcome="no-such-event") == 5)
    with requests.get(f"{url}/metrics", timeout=20) as reply:
        assert "made-up" not in reply.text
        assert "BREW" not in reply.text


def raw(url: str, request: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(4096)


@pytest.mark.parametrize("mode", WAYS_TO_WAIT)
def test_who_is_refused_is_counted_where_it_was(
    served: Callable[..., Service], fresh_url: Callable[[str], str], mode: str
) -> None:
    """At the door, where there is no route yet; and at the counter, where the wait for a turn was in vain.

    Whichever way it waits: an alert asks for it.
    """
    engine = {"url": fresh_url(WAYS_TO_WAIT[mode])} if WAYS_TO_WAIT[mode] else {}
    url = served(mode, think_s=1.0, wait_s=0.1, **engine).url
    assert b" 400 " in raw(url, b"nonsense\r\n\r\n")
    statuses = buys(url, 8)
    refused = statuses.count(503)
    assert refused
    until(lambda: total(url, "turnstile_requests_total", route="/buy", outcome="busy") == refused)
    until(lambda: is_all_that_waited_in_vain(url, refused))
    until(lambda: total(url, "turnstile_refusals_total", reason="bad-request") == 1)


def is_all_that_waited_in_vain(url: str, refused: int) -> bool:
    """Tell whether so many orders did, and no others than questions whether it is ready, with their little patience."""
    before = total(url, "turnstile_requests_total", route="/readyz", status="503")
    return refused <= total(url, "turnstile_lock_timeouts_total") <= refused + before


def test_a_worker_that_is_killed_takes_no_count_back(served: Callable[..., Service]) -> None:
    """Counters never fall, its gauges vanish, and however many are killed, no more files are kept."""
    service = served("file_lock", tickets=100, workers=2)
    folder = folder_of(service.process.pid)

    def seen(name: str, value: float, **labels: str) -> bool:
        return total(service.url, name, **labels) == value

    def gone(worker: int) -> bool:
        return not list(folder.glob(f"*_{worker}.db"))

    for asked in (8, 16, 24):
        buys(service.url, 8)
        until(partial(seen, "turnstile_fsync_seconds_count", asked))
        until(partial(seen, "turnstile_requests_total", asked, route="/buy"))  # told later, and written down later
        until(partial(seen, "turnstile_workers", 2))
        worker = next(pid for pid in children_of(service.process.pid) if not gone(pid))
        os.kill(worker, signal.SIGKILL)
        until(partial(gone, worker))
        until(partial(seen, "turnstile_workers", 2))
        time.sleep(FRESH_S)
        assert total(service.url, "turnstile_requests_total", route="/buy") == asked
        assert total(service.url, "turnstile_fsync_seconds_count") == asked
    assert total(service.url, "turnstile_worker_deaths_total") == 3
    assert len(list(folder.glob("*.db"))) <= 3 * 4  # the dead, the master, two workers


def test_a_file_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory was full when it was made, say: what is in it is lost, and the service is not."""
    monkeypatch.setattr(counts, "MEMORY", tmp_path)
    monkeypatch.setenv(counts.VARIABLE, "")
    folder = counts.Folder()
    for content in (b"", b"\xff" * 100):
        (folder.path / "counter_7.db").write_bytes(content)
        folder.fold({8})
        assert not (folder.path / "counter_7.db").exists()
    folder.remove()


@pytest.mark.parametrize("taken", ["door", "folder"])
def test_whatever_happens_to_the_folder_selling_goes_on(served: Callable[..., Service], taken: str) -> None:
    """Also when a worker dies then, and is to be added up. Without a folder that is said once, and is no 500."""
    service = served("group_commit", tickets=20, workers=2)
    folder, socket_ = folder_of(service.process.pid), listening(int(service.url.rpartition(":")[2]))

    def workers() -> list[int]:
        return [pid for pid in children_of(service.process.pid) if holds(pid, socket_)]

    assert buys(service.url, 8) == [201] * 8
    until(lambda: total(service.url, "turnstile_requests_total", route="/buy") == 8)
    until(lambda: total(service.url, "turnstile_workers") == 2)  # one that only starts would write in the folder
    killed = workers()[0]
    if taken == "door":
        (folder / counts.DOOR).unlink()
    else:
        shutil.rmtree(folder)
        until(lambda: UNTOLD in service.log.read_text())
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in workers() and len(workers()) == 2)
    assert buys(service.url, 8) == [201] * 8
    if taken == "door":
        until(lambda: not list(folder.glob(f"*_{killed}.db")))
        until(lambda: total(service.url, "turnstile_requests_total", route="/buy") == 16)
    else:
        assert_cannot_be_read(service.url, "No such file or directory")
    assert service.log.read_text().count(UNTOLD) == (taken == "folder")
    assert "Traceback" not in service.log.read_text()


def assert_cannot_be_read(url: str, why: str) -> None:
    """Assert that what was counted cannot be read, and that whoever asks is told so and to ask again."""
    time.sleep(FRESH_S)  # what was read before that is told until then
    with requests.get(f"{url}/metrics", timeout=20) as reply:
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        assert reply.json()["type"] == "urn:turnstile:problem:busy"
        assert re.search(f"cannot be read now .*{why}.*; try again", reply.json()["detail"])
        assert "turnstile-metrics" not in reply.text


def test_what_cannot_be_read_is_to_be_asked_for_again(served: Callable[..., Service]) -> None:
    """A file that stays half: 503, for a 500 would say that something was left undone. Then it is whole."""
    service = served("file_lock", workers=1)
    half = folder_of(service.process.pid) / f"counter_half_{service.process.pid}.db"
    half.touch()
    assert_cannot_be_read(service.url, "unpack_from requires a buffer")
    half.unlink()
    until(lambda: total(service.url, "turnstile_store_up") == 1)


def test_a_store_that_does_not_answer_is_told_in_time(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before whoever asks gives up, and would think the service down. Other events are told of all the same."""
    counter.event("whole", 3)
    monkeypatch.setattr(exposition, "LOOK_S", PATIENCE_S)
    mode, going_on = counter.opened("file_lock"), threading.Event()
    looked, look = exposition._Looked(mode), mode.store.look  # noqa: SLF001  # the rest of it needs a folder of counts

    def told() -> dict[str, dict[str, float]]:
        return {
            family.name: {sample.labels.get("event", ""): sample.value for sample in family.samples}
            for family in looked.collect()
        }

    def silent(name: str) -> Event | NoSuchEvent:
        return look(name) if going_on.wait(PATIENCE_S) else NoSuchEvent(name)

    with monkeypatch.context() as patch:
        patch.setattr(mode.store, "look", silent)
        patch.setattr(exposition, "LOOK_S", 0.2)
        assert (told()["turnstile_store_up"], told()["turnstile_tickets_left"]) == ({"": 0}, {})
        going_on.set()
        until(lambda: told()["turnstile_store_up"] == {"": 1})
    (counter.directory / "default.json").write_text('{"event":"default","capac')
    assert (told()["turnstile_store_up"], told()["turnstile_tickets_left"]) == ({"": 0}, {"whole": 3})


def test_a_count_that_cannot_be_made_is_lost_and_no_more() -> None:
    """Whoever tells of a turn has an order that is done: it must hear of nothing else. All processes say it once."""
    command = [sys.executable, "-c", BEREFT]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "sold\n"), ended.stderr
    assert ended.stderr.count(UNTOLD) == 1
    assert "Traceback" not in ended.stderr


def test_the_process_that_writes_counts_too(served: Callable[..., Service]) -> None:
    """Its fsyncs are those of the service."""
    url = served("single_writer").url
    assert ask(url, "POST", "/buy", {"quantity": 1}) == 201
    until(lambda: total(url, "turnstile_fsync_seconds_count") == 1)
    until(lambda: total(url, "turnstile_batch_orders_count") >= 1)


def test_a_folder_lives_as_long_as_its_service(tmp_path: Path) -> None:
    """One that ends takes it along; one that was killed leaves it to the next start, which begins at 0."""
    (tmp_path / "data").mkdir()
    flags = {"mode": "file_lock", "workers": 1, "threads": 2}
    with serve.service(tmp_path, flags) as service:
        assert ask(service.url, "POST", "/buy", {"quantity": 1}) == 201
        left = folder_of(service.process.pid)
        assert left.stat().st_mode & 0o777 == 0o700
        service.kill()
    assert left.exists()
    with serve.service(tmp_path, flags) as service:
        own = folder_of(service.process.pid)
        assert own.exists()
        assert not left.exists()
        assert total(service.url, "turnstile_requests_total", route="/buy") == 0
    assert not own.exists()


def test_where_nothing_is_counted_it_is_said(served: Callable[..., Service]) -> None:
    """404, and what to do about it."""
    url = served("file_lock", metrics="false").url
    with requests.get(f"{url}/metrics", timeout=20) as reply:
        assert reply.status_code == 404
        assert "start the service with TURNSTILE_METRICS=true" in reply.json()["detail"]


class Recorder(Watch):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.turns: list[tuple[float, float]] = []
        self.fsyncs: list[float] = []
        self.vain = 0

    def turn(self, wait_s: float, hold_s: float, *, done: bool) -> None:  # noqa: ARG002  # for who is asked
        self.turns.append((wait_s, hold_s))

    def in_vain(self, wait_s: float) -> None:
        assert wait_s >= 0
        self.vain += 1

    def synced(self, took_s: float) -> None:
        self.fsyncs.append(took_s)


@pytest.mark.parametrize("mode", IN_PROCESS)
def test_every_mode_tells_of_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """One for each command, also those that no buyer sends; its fsync was inside it."""
    (tmp_path / "default.json").write_text('{"count": 10}')
    built, _ = catalogue.build(catalogue.chosen(Settings(mode=mode, data=tmp_path)))
    built.open()
    monkeypatch.setattr(watch, "here", recorder := Recorder())
    for command in (buying(), buying(), Resize("default", 11)):
        built.execute(command)
    assert (len(recorder.turns), len(recorder.fsyncs)) == (3, 3)
    assert all(wait >= 0 and hold >= fsync for (wait, hold), fsync in zip(recorder.turns, recorder.fsyncs, strict=True))
    built.execute(Sweep("default"))
    assert len(recorder.turns) == 4


def test_what_waits_is_what_the_queue_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each queue tells its length to whoever watches when it is made. Who has left does not wait."""
    lengths: list[Callable[[], int]] = []
    monkeypatch.setattr(watch.here, "queue", lengths.append)
    inside = threading.Event()

    def commit(batch: Sequence[int]) -> list[NoSuchEvent]:
        inside.wait(PATIENCE_S)
        return [NoSuchEvent("x")] * len(batch)

    committer: Committer[int] = Committer(lambda *, wait: nullcontext(wait), commit)

    first = threading.Thread(target=committer.begin, args=(1, lambda _: None))
    first.start()
    until(committer._inside.locked)  # noqa: SLF001  # nothing else tells
    committer.begin(2, lambda _: None)
    leave = committer.begin(3, lambda _: None)
    until(lambda: [length() for length in lengths] == [1])  # the queue's thread has the other in its hand
    assert leave()
    assert [length() for length in lengths] == [0]
    inside.set()
    first.join()
    until(lambda: [length() for length in lengths] == [0])


def test_who_has_left_the_line_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where each has a turn of its own."""
    lengths: list[Callable[[], int]] = []
    monkeypatch.setattr(watch.here, "queue", lengths.append)
    line: Line[None] = Line(tmp_path / "queue")
    inside, done = threading.Event(), threading.Event()

    def work() -> None:
        inside.set()
        done.wait(PATIENCE_S)

    first = threading.Thread(target=line.begin, args=(work, lambda _: None))
    first.start()
    assert inside.wait(PATIENCE_S)
    leaves = [line.begin(lambda: None, lambda _: None) for _ in range(3)]
    until(lambda: [length() for length in lengths] == [2])  # the line's thread has one in its hand
    assert leaves[2]()
    assert [length() for length in lengths] == [1]
    done.set()
    first.join()
    until(lambda: [length() for length in lengths] == [0])


@pytest.mark.parametrize("mode", ["file_lock", "ticket_lock", "group_commit"])
def test_who_waits_in_a_thread_and_in_vain_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """As with tracing, or where no server knows that outcomes may come later."""
    (tmp_path / "default.json").write_text('{"count": 10}')
    inside, done = threading.Event(), threading.Event()

    def decide(page: Page, command: Command) -> Decision:
        inside.set()
        done.wait(PATIENCE_S)
        return decide_now(page, command)

    monkeypatch.setattr(catalogue, "deciding", lambda _: decide)
    built, _ = catalogue.build(catalogue.chosen(Settings(mode=mode, data=tmp_path, wait_s=0.05)))
    built.open()
    monkeypatch.setattr(watch, "here", recorder := Recorder())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(built.execute, buying())
        assert inside.wait(PATIENCE_S)
        for _ in range(2):
            with pytest.raises(Busy):
                built.execute(buying())
        assert recorder.vain == 2
        done.set()
        first.result()
    assert recorder.vain == 2


@pytest.mark.parametrize("file", ["deploy/alerts.yml", "deploy/grafana/turnstile.json", "docs/observe.md"])
def test_who_asks_for_a_metric_asks_for_one_that_there_is(file: str) -> None:
    """An alert for a name that is misspelt would never fire."""
    suffixes = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count", "")}
    there = {each.name + suffix for each in (*COUNTED, *LOOKED_AT) for suffix in suffixes[each.kind]}
    asked = set(re.findall(r"\bturnstile_[a-z_]+", (ROOT / file).read_text()))
    assert asked
    assert asked <= there
