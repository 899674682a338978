"""A command that comes again with its key: done once, and told the same, whatever happened in between."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import resource
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import rules
from service.batch import commit
from service.catalogue import CLAIMS
from service.commands import Buy, Cancel, Command, Confirm, Hold, key_of
from service.mode import NotWritten, Unknown
from service.outcomes import Cancelled, Confirmed, Held, HoldExpired, KeyReused, Sold, SoldOut
from service.stores import fenced, journal, json_file, recovery
from service.stores.json_file import JsonFile
from service.values import Event, Order
from tests.box_office import BoxOffice
from tests.counter import NOW, ON_FILES, Counter, buying, look, sell
from tests.scripts import CAPACITY_MAX, EVENT, STEPS, Step, Wait, commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.mode import Mode
    from service.rules import Decision, Page

FORK = multiprocessing.get_context("fork")
SHORT_BYTES = 1200
KEY = key_of(EVENT, "a key")
WORKERS, ROUNDS = 4, 6
STEPS_OF_A_WRITE = ["half the line", "before fsync", "before the document is written"]


def keyed(kind: str, order: str) -> Command:
    """Return a command with the key; ``order`` is the one that it makes, or that it is about."""
    match kind:
        case "buy":
            return Buy(order, EVENT, 2, key=KEY)
        case "hold":
            return Hold(order, EVENT, 2, 60.0, key=KEY)
        case "refused":
            return Buy(order, EVENT, 50, key=KEY)
        case "confirm":
            return Confirm(order, EVENT, KEY)
    return Cancel(order, EVENT, KEY)


KINDS = {"buy": Sold, "hold": Held, "refused": SoldOut, "confirm": Confirmed, "cancel": Cancelled}


def begun(mode: Mode) -> Order:
    """Have an order on disk that can be confirmed and cancelled."""
    held = mode.execute(Hold(buying().order, EVENT, 1, 60.0))
    assert isinstance(held, Held)
    return held.order


def dying(patch: pytest.MonkeyPatch, step: str) -> None:
    """Let this process be killed at a step of its next write to a journal."""

    def at_the_journal(real: Callable[..., Any], then: Callable[..., object]) -> Callable[..., Any]:
        def called(descriptor: int, *rest: Any) -> Any:  # noqa: ANN401  # whatever the real one takes and gives
            if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".jsonl":
                then(descriptor, *rest)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(descriptor, *rest)

        return called

    write = os.write
    if step == "half the line":
        patch.setattr(os, "write", at_the_journal(write, lambda descriptor, text: write(descriptor, bytes(text)[:60])))
    elif step == "before fsync":
        patch.setattr(os, "fsync", at_the_journal(os.fsync, lambda _: None))
    else:
        for module in (json_file, fenced):
            patch.setattr(module, "overwrite", lambda *_: os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["file_lock", "group_commit", "lease"])
@pytest.mark.parametrize("step", STEPS_OF_A_WRITE)
@pytest.mark.parametrize("kind", KINDS)
def test_the_key_and_the_change_are_one_write(
    counter: Counter, kind: str, step: str, name: str, *, restart: bool
) -> None:
    """Killed at any step, and asked again: done exactly once, with one answer from then on. Both are there or neither:
    a whole line is an answer that was kept, half a line is nothing.
    """
    mode = counter.build(name)
    receiver, sender = FORK.Pipe(duplex=False)

    def be_worker() -> None:
        mode.open()
        about = begun(mode).id if kind in {"confirm", "cancel"} else buying().order
        sender.send(about)
        dying(pytest.MonkeyPatch(), step)
        mode.execute(keyed(kind, about))

    worker = FORK.Process(target=be_worker)
    worker.start()
    about = receiver.recv()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    again = counter.opened(name) if restart else counter.joined(name)
    before = 1 if kind in {"confirm", "cancel"} else 0
    # A purchase that comes again has the identifier of another order, as the service would give it.
    command = keyed(kind, about if before else buying().order)
    first = again.execute(command)
    assert isinstance(first, KINDS[kind])
    if isinstance(first, Sold | Held):
        assert first.order.id == (command.order if step == "half the line" else about)
    after = Event(EVENT, 10, {"confirm": 9, "cancel": 10, "refused": 10}.get(kind, 8), before + (kind != "refused"))
    assert look(again) == after
    sell(again)
    assert again.execute(command) == first
    assert isinstance(again.execute(replace(buying(3), key=KEY)), KeyReused)
    counter.close()
    assert look(counter.opened("file_lock")).version == after.version + 1


def test_half_of_what_one_command_writes_is_right_alone(counter: Counter) -> None:
    """A hold that is over, and the answer to who came too late: killed between the two lines, the end stands, and the
    same answer is given to the same question.
    """
    clock = FORK.Value("d", NOW)

    def decide(page: Page, command: Command) -> Decision:
        return rules.decide(page, command, clock.value)

    mode = counter.build("file_lock", decide)
    receiver, sender = FORK.Pipe(duplex=False)

    def be_worker() -> None:
        mode.open()
        held = begun(mode)
        sender.send(held.id)
        clock.value += 60
        write = os.write

        def first_line(descriptor: int, text: bytes) -> int:
            assert text.count(b"\n") == 2
            write(descriptor, text[: text.index(b"\n") + 9])
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

        pytest.MonkeyPatch().setattr(os, "write", first_line)
        mode.execute(Confirm(held.id, EVENT, KEY))

    worker = FORK.Process(target=be_worker)
    worker.start()
    order = receiver.recv()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    again = counter.joined("file_lock", decide)
    told = HoldExpired(Event(EVENT, 10, 10, 2), order)
    assert again.execute(Confirm(order, EVENT, KEY)) == told
    assert isinstance(again.execute(buying()), Sold)
    assert again.execute(Confirm(order, EVENT, KEY)) == told


def test_answers_are_found_again_wherever_their_lines_have_gone(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a journal that was closed, by the index; after a start; with the index made again; refusals too."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    (counter.directory / f"{EVENT}.json").write_text('{"count": 49}')
    mode = counter.opened("file_lock")
    about = {kind: begun(mode).id for kind in ("confirm", "cancel")}
    asked = [
        replace(keyed(kind, about.get(kind, buying().order)), key=key_of(EVENT, kind))  # a key of its own
        for kind in KINDS
    ]
    first = [mode.execute(command) for command in asked]
    assert [type(reply) for reply in first] == list(KINDS.values())
    for _ in range(20):
        sell(mode)
    growing = (counter.directory / f"{EVENT}.jsonl").read_bytes()
    assert not any(str(command.key).encode() in growing for command in asked)
    other = counter.joined("file_lock")
    version = look(mode).version
    for each in (mode, other, counter.opened("group_commit")):
        assert [each.execute(command) for command in asked] == first
    counter.close()
    for path in counter.directory.glob("orders.sqlite*"):
        path.unlink()
    again = counter.opened("file_lock")
    assert [again.execute(command) for command in asked] == first
    assert look(again).version == version


def test_a_journal_that_only_answers_fill_is_closed_as_any_other(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sold out, and asked again and again with keys: no version is made, and yet each journal has a name of its own,
    the counter goes on, and the store opens.
    """
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    mode = counter.opened("file_lock")
    sold = sell(mode, 10)
    asked = [replace(buying(), key=key_of(EVENT, str(number))) for number in range(40)]
    first = [mode.execute(command) for command in asked]
    assert first == [SoldOut(Event(EVENT, 10, 0, 1), 1)] * 40
    names = journal.closed(counter.directory)[EVENT]
    assert len(names) > 5
    mode.execute(Cancel(sold.id, EVENT))
    for verified in (False, True):
        counter.close()
        counter.claims.append(recovery.prepare(counter.directory, "a test", verify=verified).descriptor)
        again = counter.joined("file_lock")
        assert [again.execute(command) for command in asked] == first
        assert look(again) == Event(EVENT, 10, 10, 2)


@pytest.mark.parametrize("name", [name for name in ON_FILES if CLAIMS[name].reach == "processes"])
def test_one_key_at_several_workers_at_once_has_one_effect(counter: Counter, name: str) -> None:
    """Buyers who ask again before the first answer came, at every worker: one is done, and all are told of it."""
    (counter.directory / f"{EVENT}.json").write_text(f'{{"count": {2 * ROUNDS}}}')
    mode = counter.build(name)
    gate = FORK.Barrier(WORKERS)
    pipes = [FORK.Pipe(duplex=False) for _ in range(WORKERS)]

    def be_worker(number: int) -> None:
        mode.open()
        replies = []
        for turn in range(ROUNDS + 1):
            gate.wait(30)
            replies.append(mode.execute(replace(buying(2), key=key_of(EVENT, str(turn)))))
        pipes[number][1].send(replies)

    workers = [FORK.Process(target=be_worker, args=(number,)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    told = [receiver.recv() for receiver, _ in pipes]
    for worker in workers:
        worker.join()
    assert all(replies == told[0] for replies in told)
    *sold, refused = told[0]
    assert [reply.order.version for reply in sold] == list(range(1, ROUNDS + 1))
    assert refused == SoldOut(Event(EVENT, 2 * ROUNDS, 0, ROUNDS), 2)
    assert look(counter.opened("file_lock")) == Event(EVENT, 2 * ROUNDS, 0, ROUNDS)


class Clocked:
    """A clock, and the decision bound to it."""

    def __init__(self) -> None:
        self.now = NOW

    def decide(self, page: Page, command: Command) -> Decision:
        return rules.decide(page, command, self.now)


BROKEN = {"append": "no", "overwrite": "yes"}
"""Where a write breaks, and whether it is done after all. (Behind an fsync that fails, nothing more is sold.)"""


@settings(max_examples=100)
@given(
    capacity=st.integers(0, CAPACITY_MAX),
    script=st.lists(STEPS, max_size=50),
    batches=st.lists(st.tuples(st.integers(1, 6), st.sampled_from([None, None, None, *BROKEN])), min_size=1),
)
def test_a_batch_is_as_its_commands_one_by_one_and_one_that_fails_is_forgotten(
    capacity: int, script: list[Step], batches: list[tuple[int, str | None]]
) -> None:
    """The same key twice in one batch, a hold with its confirmation and its cancellation: each command finds what was
    decided before it. Of a batch whose write fails, the worker remembers nothing but what is on disk.
    """
    clock, serial = Clocked(), itertools.count()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
        directory = Path(place)
        (directory / f"{EVENT}.json").write_text(f'{{"count": {capacity}}}')
        counter, office = Counter(directory), BoxOffice(EVENT, capacity)
        store = counter.opened("group_commit").store
        assert isinstance(store, JsonFile)
        steps, sizes = list(commands(script, serial)), itertools.cycle(batches)
        while steps:
            size, broken = next(sizes)
            batch = list(itertools.takewhile(lambda step: not isinstance(step, Wait), steps[:size]))
            steps = steps[len(batch) :]
            if not batch:
                wait = steps.pop(0)
                assert isinstance(wait, Wait)
                clock.now += wait.seconds
                continue
            asked = [command for command in batch if not isinstance(command, Wait)]
            replies = attempted(store, clock, asked, broken)
            if replies is not None or (broken and BROKEN[broken] == "yes"):
                told = [office.do(command, clock.now) for command in asked]
                assert replies in (told, None)
            assert store.look(EVENT) == office.event or broken == "overwrite"
        # Whoever is inside next brings the document up to date.
        store.read(buying())
        assert store.look(EVENT) == office.event
        assert {order: store.find(order) for order in office.orders} == office.orders
        counter.close()
        assert look(counter.opened("group_commit")) == office.event
        counter.close()


def attempted(store: JsonFile, clock: Clocked, asked: list[Command], broken: str | None) -> object:
    """Commit a batch, of which the write may break somewhere; ``None`` if it did."""

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        store.read(asked[0])  # a journal that is full is closed before anything breaks
        if broken == "append":
            patch.setattr(journal, "append", no_room)
        elif broken == "overwrite":
            patch.setattr(json_file, "overwrite", no_room)
        try:
            return commit(store, clock.decide, asked)
        except NotWritten:
            assert broken == "append"
        except Unknown:
            assert broken == "overwrite"
    return None


def test_a_batch_that_does_not_fit_the_disk_is_done_not_at_all(counter: Counter) -> None:
    """Room for its first line, not for its last: none was sold, its keys are free, and the next orders are right."""
    mode = counter.opened("group_commit")
    store = mode.store
    assert isinstance(store, JsonFile)
    sell(mode)
    clock = Clocked()
    batch: list[Command] = [replace(buying(2), key=key_of(EVENT, str(number))) for number in range(3)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        size = (counter.directory / f"{EVENT}.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, limits[1]))
        with pytest.raises(NotWritten, match="so nothing was done"):
            commit(store, clock.decide, batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert look(mode) == Event(EVENT, 10, 9, 1)
    assert sell(mode).tickets == (2,)
    replies = commit(store, clock.decide, batch)
    assert [reply.order.version for reply in replies if isinstance(reply, Sold)] == [3, 4, 5]
