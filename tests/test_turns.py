"""Take a number: one at a time, in the order of arrival, whoever dies or gives up; across processes and threads."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import multiprocessing
import struct
import threading
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service import line as line_module
from service import turns
from service.later import awaited
from service.line import Line
from service.mode import Busy, NotWritten
from service.turns import COUNTER_BYTES, Turns
from tests.waiting import PATIENCE_S, taken, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

FORK = multiprocessing.get_context("fork")
LONG_S = 30.0


def run(line: Line[Any], work: Callable[[], Any], wait_s: float) -> Any:  # noqa: ANN401  # whatever the work returns
    """Stand in line, do the work when it is our turn, and return what it returned."""
    return awaited(line.begin, work, wait_s)


class Waiter:
    """A process that takes a number, says when its turn has come, and leaves when it is told."""

    def __init__(self, path: Path, wait_s: float = LONG_S) -> None:
        self._path, self._wait_s = path, wait_s
        self.told, self._tell = FORK.Pipe(duplex=False)
        self._leave, self._let_leave = FORK.Pipe(duplex=False)
        self.number = before = taken(path)
        self.process = FORK.Process(target=self._be, daemon=True)
        self.process.start()
        until(lambda: taken(path) > before)

    def _be(self) -> None:
        with contextlib.suppress(Busy):
            run(Line(self._path), self._inside, self._wait_s)
            self._tell.send("left")
            return
        self._tell.send("busy")

    def _inside(self) -> None:
        self._tell.send(self.number)
        self._leave.recv()

    def leave(self) -> None:
        """Let it leave, and wait until it has."""
        self._let_leave.send("leave")
        assert self.told.recv() == "left"
        self.process.join()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join()


def told(*waiters: Waiter, wait_s: float = PATIENCE_S) -> list[Connection]:
    """Return whose turn has come, when one has."""
    return [
        each
        for each in connection.wait([waiter.told for waiter in waiters], wait_s)
        if isinstance(each, connection.Connection)
    ]


def nobody_is_told(*waiters: Waiter) -> bool:
    """Tell whether no turn has come, within a moment that is long enough for the kernel."""
    return told(*waiters, wait_s=0.3) == []


@contextlib.contextmanager
def standing(path: Path) -> Iterator[None]:
    """Stand first in the line."""
    place = Turns(path).take()
    assert place.first()
    yield
    place.leave()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


def test_turns_come_in_the_order_of_arrival(path: Path) -> None:
    """Six processes, one after the other; nobody else has a turn before the one before has left."""
    waiters = [Waiter(path) for _ in range(6)]
    for number, waiter in enumerate(waiters):
        assert told(*waiters[number:]) == [waiter.told]
        assert waiter.told.recv() == number
        waiter.leave()


def test_a_killed_waiter_neither_blocks_nor_lets_anyone_pass(path: Path) -> None:
    """The one behind it wakes, sees that others before it are still there, and sleeps on."""
    first, second, third, fourth = (Waiter(path) for _ in range(4))
    assert first.told.recv() == 0
    third.kill()
    assert nobody_is_told(second, fourth)
    first.leave()
    assert told(second, fourth) == [second.told]
    assert second.told.recv() == 1
    second.leave()
    assert fourth.told.recv() == 3
    fourth.leave()


def test_the_kernel_frees_the_turn_of_a_killed_holder(path: Path) -> None:
    """At once, for the next in order."""
    first, second, third = (Waiter(path) for _ in range(3))
    assert first.told.recv() == 0
    first.kill()
    assert told(second, third) == [second.told]
    second.leave() if second.told.recv() == 1 else pytest.fail("the wrong one")
    assert third.told.recv() == 2
    third.leave()


def test_who_gives_up_at_the_deadline_lets_those_behind_move_up_and_nobody_pass(path: Path) -> None:
    """The thread that sleeps for it sleeps on, but its number is free: the next one's turn comes after the first."""
    first = Waiter(path)
    assert first.told.recv() == 0
    impatient = Waiter(path, wait_s=0.05)
    third = Waiter(path)
    assert impatient.told.recv() == "busy"
    assert nobody_is_told(third)
    first.leave()
    assert third.told.recv() == 2
    third.leave()
    impatient.process.join(PATIENCE_S)
    assert impatient.process.exitcode == 0


def test_who_gave_up_leaves_nothing_behind(path: Path) -> None:
    """Its file is closed when the thread that slept for it comes by, and the line goes on, in one process."""
    line = Line[int](path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    inside, leave = threading.Event(), threading.Event()

    def work() -> int:
        inside.set()
        assert leave.wait(PATIENCE_S)
        return 1

    holder = threading.Thread(target=run, args=(line, work, LONG_S))
    holder.start()
    assert inside.wait(PATIENCE_S)
    for _ in range(5):
        with pytest.raises(Busy, match=r"busy for 0\.01 s"):
            run(line, lambda: pytest.fail("it had left"), 0.01)
    leave.set()
    holder.join()
    assert run(line, lambda: 2, LONG_S) == 2
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) == before)


def test_what_work_raises_goes_to_the_one_who_asked_for_it(path: Path) -> None:
    """Whether it stood first or had waited; and the line goes on."""
    line = Line[int](path)

    def fail() -> int:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        run(line, fail, LONG_S)
    told: list[object] = []

    def ask(work: Callable[[], int]) -> None:
        try:
            told.append(run(line, work, LONG_S))
        except ValueError as error:
            told.append(str(error))

    with standing(path):
        threads = []
        for work in (fail, lambda: 3):
            threads.append(threading.Thread(target=ask, args=(work,)))
            threads[-1].start()
            until(lambda: taken(path) == 2 + len(threads))
    for thread in threads:
        thread.join()
    assert sorted(told, key=str) == [3, "its own"]  # who leaves the line lets the next one in before it is told


def test_more_than_there_is_room_for_are_turned_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place holds a file open, and a process has so many, whichever queues they are in."""
    monkeypatch.setattr(turns, "ROOM", threading.Semaphore(2))
    queue = Turns(path)
    places = [queue.take(), Turns(path.with_name("another")).take()]
    with pytest.raises(Busy):
        queue.take()
    for place in places:
        place.leave()
    queue.take().leave()


def test_numbers_have_62_bits(path: Path) -> None:
    """Beyond what 32 bits hold, and up to where the byte of a number would leave what the kernel can lock."""
    for start in (2**32 - 1, 2**62):
        path.write_bytes(start.to_bytes(COUNTER_BYTES, "big"))
        first, second = Waiter(path), Waiter(path)
        assert first.told.recv() == start
        assert nobody_is_told(second)
        first.leave()
        assert second.told.recv() == start + 1
        second.leave()


def test_threads_and_processes_wait_in_one_queue(path: Path) -> None:
    """Never two inside, and a number for each turn; four threads in each of four processes."""
    inside, entered = FORK.Value("i", 0, lock=False), FORK.Value("i", 0, lock=False)
    overlaps = FORK.Value("i", 0, lock=False)

    def enter() -> None:
        inside.value += 1
        overlaps.value += inside.value != 1
        entered.value += 1
        inside.value -= 1

    def be_thread(line: Line[None]) -> None:
        for _ in range(25):
            run(line, enter, LONG_S)

    def be_process() -> None:
        line = Line[None](path)
        threads = [threading.Thread(target=be_thread, args=(line,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    processes = [FORK.Process(target=be_process) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert overlaps.value == 0
    assert entered.value == taken(path) == 4 * 4 * 25


def test_waiting_does_not_poll(path: Path) -> None:
    """Who waits asks the kernel a handful of times, however long it takes."""
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        lock = turns._lock  # noqa: SLF001  # to count its calls

        def counted(*arguments: int, **how: bool) -> None:
            asked.append(1)
            lock(*arguments, **how)

        patch.setattr(turns, "_lock", counted)
        with standing(path):
            before = len(asked)
            with pytest.raises(Busy):
                run(Line(path), lambda: pytest.fail("two were inside"), 0.5)
            assert len(asked) - before <= 7


def test_a_line_without_a_thread_turns_away_and_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, whoever cannot be first is told so and leaves its place; others are served."""
    line = Line[int](path)
    with standing(path):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more_threads)
            with pytest.raises(Busy):
                run(line, lambda: pytest.fail("it was turned away"), LONG_S)
        with pytest.raises(Busy, match=r"for 0\.01 s"):
            run(line, lambda: 1, 0.01)
    assert run(line, lambda: 2, LONG_S) == 2


def test_who_cannot_see_whether_it_is_first_leaves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has no room for one more lock: certainly nothing was done, and those who come behind do not wait."""
    line, fcntl_ = Line[int](path), fcntl.fcntl

    def no_room(descriptor: int, kind: int, request: bytes) -> object:
        if request.startswith(struct.pack("h", fcntl.F_RDLCK)):
            raise OSError(errno.ENOLCK, "No locks available")
        return fcntl_(descriptor, kind, request)

    assert run(line, lambda: 1, LONG_S) == 1
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", no_room)
        with pytest.raises(NotWritten, match=r"the queue cannot be locked \(No locks available\), so nothing was done"):
            run(line, lambda: 1, LONG_S)
    assert run(line, lambda: 2, LONG_S) == 2


def no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_the_thread_of_a_line_ends_when_nobody_comes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And another one is there when somebody has to wait again."""
    monkeypatch.setattr(line_module, "IDLE_S", 0.01)
    line = Line[int](path)
    for _ in range(2):
        with standing(path), pytest.raises(Busy):
            run(line, lambda: 1, 0.01)
        until(lambda: line._thread is None)  # noqa: SLF001  # nothing else tells
    assert run(line, lambda: 2, LONG_S) == 2
