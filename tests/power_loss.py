"""Sell, and lose the power at every moment: each sale that was acknowledged must be there, and the store sell on.

``python -m tests.power_loss --states 100000`` opens more states than the tests have time for.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from service import rules
from service.batch import commit
from service.commands import Buy, Cancel, Command, Confirm, Hold, Resize, Sweep, key_of
from service.outcomes import Held, Reply, Sold
from service.stores import journal, recovery
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile
from service.stores.lines import order_of
from service.stores.order_index import OrderIndex
from service.stores.replay import Refused
from service.stores.sealed import unseal
from tests.counter import NOW, buying
from tests.disk_steps import Killed, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.crash_states import Crash, Image, Pending

SHORT_BYTES = 1500
"""A journal of some six orders."""
CAPACITY = 16
NO_CHANGES = re.compile(rb'"status":"(opened|continued|carried)"')
DRAWS_MAX = 20
"""Of what chance draws, at most so many times as many as are wanted: many are states that were seen before."""
AGAIN = 50
"""Of so many states, one is lost once more, while it is opened."""

KINDS: tuple[type[JsonFile], ...] = (JsonFile, FencedJsonFile)
Workload = Callable[["Shop"], None]
Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass
class Shop:
    """A store in a folder, whose steps are recorded, and whose clock stands until it is moved."""

    folder: Path
    kind: type[JsonFile]
    recorder: Recorder
    now: float = NOW
    claims: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start the service, after all of it has ended."""
        self.end()
        self.claims.append(recovery.prepare(self.folder, "a test").descriptor)
        self.told()
        self.join()

    def end(self) -> None:
        """Give the folder free."""
        while self.claims:
            os.close(self.claims.pop())

    def join(self) -> None:
        """Let a new worker take the place of the one before."""
        self.store = self.kind(self.folder)
        self.store.open()

    def told(self) -> None:
        """Let everybody know how far it has come."""
        self.recorder.told({name: len(lines) for name, lines in written(self.folder).items()})

    def create(self, name: str) -> None:
        """Make an event, and tell so."""
        self.store.create(name, 3)
        self.told()

    def do(self, *commands: Command) -> Sequence[Reply | Exception]:
        """Carry out commands of one event, together where the store can, and tell the replies."""
        if isinstance(self.store, FencedJsonFile):
            replies: Sequence[Reply | Exception] = [self._alone(self.store, command) for command in commands]
        else:
            replies = commit(self.store, self._decide, commands)
        self.told()
        return replies

    def _alone(self, store: FencedJsonFile, command: Command) -> Reply:
        fence = store.fence(command.event)
        page = store.read(command)
        decision = self._decide(page, command)
        if decision.page != page:
            store.write(decision.page, fence)
        return decision.reply

    def _decide(self, page: rules.Page, command: Command) -> rules.Decision:
        return rules.decide(page, command, self.now)


def every_command(shop: Shop) -> None:
    """Every kind of command, with and without a key, alone and together; a start anew; an event made while it runs."""
    key = key_of("default", "a key")
    shop.start()
    (held,) = shop.do(Hold(buying().order, "default", 2, 60.0))
    assert isinstance(held, Held)
    for _ in range(2):
        shop.do(Buy(buying().order, "default", 3, buyer="票", key=key))
    shop.do(Confirm(held.order.id, "default"))
    (sold, _, _) = shop.do(buying(1), Hold(buying().order, "default", 1, 5.0), buying(2))
    assert isinstance(sold, Sold)
    shop.do(Buy(buying().order, "default", 9, key=key_of("default", "too many")))
    shop.do(Cancel(sold.order.id, "default", key=key_of("default", "back")))
    shop.create("concert")
    shop.do(buying(1, event="concert"))
    shop.now += 10
    shop.do(Sweep("default"), buying(1), Resize("default", CAPACITY + 8))
    shop.start()
    for _ in range(3):
        shop.do(Hold(buying().order, "default", 1, 5.0), buying(1))
        shop.now += 6
        shop.do(Sweep("default"), Buy(buying().order, "default", 1, key=key_of("default", str(shop.now))))
    shop.do(Resize("default", CAPACITY + 6, key=key_of("default", "fewer")))
    shop.do(buying(1, event="concert"))


def sold_on(shop: Shop) -> None:
    """Several orders in one write, and a journal that is closed."""
    shop.start()
    shop.do(*(buying(1) for _ in range(4)))
    while not journal.closed(shop.folder):
        shop.do(buying(1), buying(1))
    shop.do(buying(1))


def _killed(what: str, step: int, restart: bool, shop: Shop) -> None:  # noqa: FBT001  # bound where it is named
    """One is killed at a step of what it does, others go on from there, and only then the power is lost."""
    shop.recorder.dies_at = step if what == "start" else None
    try:
        shop.start()
        path = shop.folder / "default.jsonl"
        while what == "closing" and path.stat().st_size < SHORT_BYTES:
            shop.do(Hold(buying().order, "default", 1, 600.0))
        shop.recorder.dies_at = len(shop.recorder.steps) + step
        if what == "create":
            shop.create("concert")
        else:
            shop.do(buying(1), buying(1))
    except Killed:
        pass
    shop.recorder.dies_at = None
    (shop.start if restart or what == "start" else shop.join)()
    if what == "create":
        shop.create("concert")
        shop.do(buying(1, event="concert"))
    shop.do(buying(1))


KILLS: dict[str, Workload] = {
    f"{what} at {step}{', started again' if restart else ''}": partial(_killed, what, step, restart)
    for what, steps in {"start": 14, "sale": 3, "closing": 12, "create": 12}.items()
    for step in range(steps)
    for restart in ((True,) if what == "start" else (False, True))
}


def written(folder: Path) -> dict[str, list[bytes]]:
    """Return the lines of each event that say what was done, from its first journal to its last."""
    files: dict[str, dict[int, tuple[int, Path]]] = {}
    for path in folder.glob("*.jsonl"):
        name, _, since = path.stem.partition(".")
        files.setdefault(name, {})[path.stat().st_ino] = (int(since) if since else sys.maxsize, path)
    return {name: [line for _, path in sorted(each.values()) for line in _told(path)] for name, each in files.items()}


def _told(path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines(keepends=True)
    return [line for line in lines if line.endswith(b"\n") and not NO_CHANGES.search(line)]


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of a state: how many lines of each event are there, or what is ``wrong`` with it."""

    lines: Mapping[str, int]
    wrong: str = ""


class Judge:
    """Opens states in a folder, and holds them to the lines that were written when nothing went wrong."""

    def __init__(self, folder: Path, shop: Shop, chance: random.Random) -> None:
        self.chance = chance
        self.seen: dict[bytes, Opened] = {}
        self.wrong: list[str] = []
        self._folder = folder
        self._shop = shop
        self._lines = written(shop.folder)
        self._next = {
            name: [_next(lines[:end]) for end in range(len(lines) + 1)] for name, lines in self._lines.items()
        }

    def judge(self, image: Image, told: Mapping[str, int], what: str) -> None:
        """Open a state if it is a new one, and hold it to what was told before the power went."""
        digest = image.digest()
        opened = self.seen.get(digest)
        if opened is None:
            opened = self.seen[digest] = self._opened(image)
            if not opened.wrong and self.chance.randrange(AGAIN) == 0:
                self._lost_again(image, told, what)
        sentence = opened.wrong or next(
            (
                f"{lines} lines of {name} were acknowledged, and {opened.lines.get(name, 'none')} are there"
                for name, lines in told.items()
                if opened.lines.get(name, -1) < lines
            ),
            "",
        )
        if sentence:
            self.wrong.append(f"power lost {what}: {sentence}")

    def _opened(self, image: Image) -> Opened:
        image.put(self._folder)
        try:
            claimed = recovery.prepare(self._folder, "a test")
        except Refused as error:
            return Opened({}, f"it does not open: {error}")
        try:
            return self._sells_on()
        finally:
            os.close(claimed.descriptor)

    def _sells_on(self) -> Opened:
        found = written(self._folder)
        for name, lines in found.items():
            if lines != self._lines.get(name, [])[: len(lines)]:
                return Opened({}, f"the lines of {name} are not those that were written")
        shop = Shop(self._folder, self._shop.kind, Recorder(self._folder), self._shop.now)
        shop.join()
        for name, lines in found.items():
            (reply,) = shop.do(buying(1, event=name, partial=True))
            expected = self._next[name][len(lines)]
            if isinstance(reply, Sold) and (reply.order.version, reply.order.tickets[0]) != expected:
                return Opened({}, f"version and ticket {expected} are next, and {reply.order} was sold")
        return Opened({name: len(lines) for name, lines in found.items()})

    def _lost_again(self, image: Image, told: Mapping[str, int], what: str) -> None:
        """Lose the power while the state is opened, at every moment of that."""
        image.put(self._folder)
        recorder = Recorder(self._folder)
        with pytest.MonkeyPatch.context() as patch:
            recorder.record(patch)
            os.close(recovery.prepare(self._folder, "a test").descriptor)
        for crash in list(recorder.crashes()):
            for came in (*crash.corners(), *(crash.drawn(self.chance) for _ in range(3) if crash.pending)):
                self.judge(crash.image(came), told, f"{what}, and again at step {crash.step} of the start after it")


def _next(lines: Sequence[bytes]) -> tuple[int, int]:
    """Return the version that comes next, and the lowest ticket that nobody has."""
    changes = [change for change in map(unseal, lines) if change["status"] != "noted"]
    orders = {each["order"]: order_of(each) for each in changes if "order" in each}
    owned = {ticket for order in orders.values() if order.status in {"sold", "held"} for ticket in order.tickets}
    return len(changes) + 1, next(ticket for ticket in range(1, len(owned) + 2) if ticket not in owned)


def lost(
    workload: Workload, kind: type[JsonFile], states: int, chance: random.Random, plant: Plant = lambda _: None
) -> Judge:
    """Run a workload on a store, and lose the power in so many distinct ways; return what the judge found."""
    memory = Path("/dev/shm")  # noqa: S108  # a folder of its own there
    base = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None, prefix="turnstile-"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
            patch.setattr(OrderIndex, "catch_up_beside", lambda _: None)
            (base / "sold").mkdir()
            (base / "opened").mkdir()
            (base / "sold" / "default.json").write_text(f'{{"count": {CAPACITY}}}')
            shop = Shop(base / "sold", kind, Recorder(base / "sold"))
            with pytest.MonkeyPatch.context() as recording:
                shop.recorder.record(recording)
                plant(recording)
                workload(shop)
            shop.end()
            plant(patch)
            judge = Judge(base / "opened", shop, chance)
            for crash, came, what in _ways(list(shop.recorder.crashes()), states, judge):
                judge.judge(crash.image(came), crash.told, f"after step {crash.step} ({what})")
        return judge
    finally:
        shutil.rmtree(base)


def _ways(crashes: Sequence[Crash], states: int, judge: Judge) -> Iterator[tuple[Crash, Sequence[Pending], str]]:
    """Yield what may have come at each moment: the corners of all, and then what chance draws."""
    for crash in crashes:
        for number, corner in enumerate(crash.corners()):
            yield crash, corner, f"corner {number}"
    pending = [crash for crash in crashes if crash.pending]
    for number in range(states * DRAWS_MAX):
        if len(judge.seen) >= states:
            break
        crash = judge.chance.choice(pending)
        yield crash, crash.drawn(judge.chance), f"draw {number}"


def all_lost(states: int, seed: int) -> tuple[int, list[str]]:
    """Lose the power in all workloads, in so many distinct ways in all; return how many, and what was wrong."""
    opened, wrong = 0, []
    for name, workload in KILLS.items():
        judge = lost(workload, JsonFile, 0, random.Random(f"{seed} {name}"))
        opened += len(judge.seen)
        wrong += [f"{name}: {sentence}" for sentence in judge.wrong]
    for left, kind in zip(range(len(KINDS), 0, -1), KINDS, strict=True):
        judge = lost(every_command, kind, (states - opened) // left + 1, random.Random(f"{seed} {kind.__name__}"))
        opened += len(judge.seen)
        wrong += [f"{kind.__name__}: {sentence}" for sentence in judge.wrong]
    return opened, wrong


@click.command(help="Lose the power in many ways, and look whether the store loses a sale.")
@click.option("--states", default=100_000, show_default=True, help="how many distinct states to open, in all")
@click.option("--seed", default=1, show_default=True, help="what chance begins with")
def main(states: int, seed: int) -> None:
    """Run the command line."""
    opened, wrong = all_lost(states, seed)
    for sentence in wrong:
        click.echo(sentence)
    click.echo(f"{opened} distinct states were opened (seed {seed}), and {len(wrong)} were wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
