"""Stores that are damaged, copied while they sell, and repaired: what is wrong is named, and not read as data."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from service.commands import Buy, Hold, key_of
from service.mode import Damaged
from service.outcomes import NoSuchOrder, Sold
from service.stores import closed_index, journal, recovery
from service.stores.closed_index import ClosedIndex
from service.stores.inspection import inspected
from service.stores.order_index import OrderIndex
from service.stores.repair import repaired
from service.stores.replay import Refused
from service.stores.sealed import unseal
from service.upkeep import repair, verify
from service.values import Order
from tests.counter import Counter, buying, look, sell
from tests.power_loss import written
from tests.waiting import until

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    import click

    from service.mode import Mode

FORK = multiprocessing.get_context("fork")
ROOT = Path(__file__).parent.parent
SHORT_BYTES = 1200
SEED = 20261129
FLIPS = 25
"""Of the bits of each file, so many are flipped, one at a time."""
COPIES = 8
SELLERS, SALES_MAX = 2, 20_000


@pytest.fixture
def sold(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """A store with closed journals, an index, two events, holds and keys; nobody sells from it."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    monkeypatch.setattr(OrderIndex, "catch_up_beside", lambda _: None)  # else a thread writes on when all is over
    (counter.directory / "default.json").write_text('{"count": 1000}')
    (counter.directory / "concert.json").write_text('{"count": 5}')
    mode = counter.opened("lease")
    sell(mode)
    mode = counter.opened("file_lock")
    mode.execute(buying(event="concert"))
    mode.execute(Hold(buying().order, "default", 2, 3600.0))
    mode.execute(Buy(buying().order, "default", 1, key=key_of("default", "a key")))
    for _ in range(14):
        sell(mode)
    ClosedIndex(counter.directory).catch_up()
    counter.close()
    return counter


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def damages(text: bytes, chance: random.Random) -> list[tuple[str, bytes]]:
    """Return a file with bits flipped and with its tail cut off, one at a time, each with what was done to it."""
    places = [chance.randrange(8 * len(text)) for _ in range(FLIPS if text else 0)]
    cuts = sorted({0, *(chance.randrange(len(text)) for _ in range(FLIPS // 10 if text else 0))})
    flipped = [(f"bit {place}", with_a_bit_flipped(text, place)) for place in places]
    return flipped + [(f"cut at {cut}", text[:cut]) for cut in cuts if cut < len(text)]


def with_a_bit_flipped(text: bytes, place: int) -> bytes:
    flipped = bytearray(text)
    flipped[place // 8] ^= 1 << place % 8
    return bytes(flipped)


def test_a_store_that_is_whole_has_nothing_wrong_and_is_not_changed(sold: Counter) -> None:
    """Not a byte, not a file, whether a service runs there or not."""
    for runs in (False, True):
        if runs:
            sold.build("file_lock")
        before = contents(sold.directory)
        found = inspected(sold.directory)
        assert (found.events, found.wrong, found.mendable) == (2, [], [])
        assert contents(sold.directory) == before


def test_any_flipped_bit_and_any_cut_is_named_or_makes_no_difference(sold: Counter) -> None:
    """In every file of a store. A journal that differs is named, by the look and by a start that reads all; whatever a
    start makes of the other files, all lines are there, and the documents are what they were.
    """
    chance = random.Random(SEED)
    lines, before = written(sold.directory), contents(sold.directory)
    documents = {name: text for name, text in before.items() if name.endswith(".json")}
    assert {"default.jsonl", "concert.jsonl", "default.fence", "orders.sqlite"} < before.keys()
    assert len([name for name in before if re.fullmatch(r"default\.\d+\.jsonl", name)]) >= 2
    for name in sorted(before.keys() - {"orders.sqlite"}):
        for what, text in damages(before[name], chance):
            (sold.directory / name).write_bytes(text)
            wrong = inspected(sold.directory).wrong
            padding = name.endswith(".json") and text.rstrip() == before[name].rstrip()
            if name.endswith((".jsonl", ".json")) and not padding:
                assert any(name in sentence for sentence in wrong), (name, what)
            try:
                recovery.prepare(sold.directory, "a test", verify=True).free()
            except Refused as refused:
                assert name in str(refused), (name, what)
                assert not name.endswith(".fence"), (name, what)
            else:
                assert not name.endswith(".jsonl"), (name, what)
                assert written(sold.directory) == lines, (name, what)
                assert {each: (sold.directory / each).read_bytes() for each in documents} == documents, (name, what)
            for each, old in before.items():
                (sold.directory / each).write_bytes(old)


def test_an_index_with_a_flipped_bit_gives_no_wrong_order(sold: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite has no checksums: an order may be missed, which only the look can tell; none is mistaken for another."""
    monkeypatch.setattr(closed_index, "BUSY_S", 0.0)
    monkeypatch.setattr(closed_index, "TRIES_MAX", 1)
    chance = random.Random(SEED)
    file = sold.directory / "orders.sqlite"
    before = file.read_bytes()
    orders = [unseal(line)["order"] for line in written(sold.directory)["default"]]
    missed = 0
    for what, text in damages(before, chance):
        file.write_bytes(text)
        wrong = inspected(sold.directory).wrong
        store = sold.joined("file_lock").store
        for order in orders:
            try:
                found = store.find(order)
            except Damaged:
                assert wrong, what
                continue
            assert isinstance(found, NoSuchOrder) or (isinstance(found, Order) and found.id == order), what
            if isinstance(found, NoSuchOrder):
                missed += 1
                assert any("orders.sqlite" in sentence for sentence in wrong), what
        for path in sold.directory.glob("orders.sqlite-*"):
            path.unlink()
    assert missed
    file.write_bytes(before)
    assert inspected(sold.directory).wrong == []


def test_an_index_that_misses_an_order_is_named_and_removed_by_repair(sold: Counter) -> None:
    """And the next one who asks has it made again."""
    import sqlite3  # noqa: PLC0415  # nothing else here speaks SQL

    (order,) = [unseal(written(sold.directory)["default"][0])["order"]]
    connection = sqlite3.connect(sold.directory / "orders.sqlite")
    connection.execute("DELETE FROM orders WHERE id = ?", (bytes.fromhex(order),))
    connection.commit()
    connection.close()
    assert isinstance(sold.joined("file_lock").store.find(order), NoSuchOrder)
    assert any("leads to 1 orders and keys wrongly" in sentence for sentence in inspected(sold.directory).wrong)
    assert [each for each in repaired(sold.directory) if "orders.sqlite: removed" in each]
    assert isinstance(sold.joined("file_lock").store.find(order), Order)


def test_an_empty_log_that_was_left_beside_the_index_is_nothing_wrong(sold: Counter) -> None:
    """Two workers that end at once leave one, with none of the shared memory that a log is read by."""
    (sold.directory / "orders.sqlite-shm").unlink(missing_ok=True)
    (sold.directory / "orders.sqlite-wal").write_bytes(b"")
    assert inspected(sold.directory).wrong == []


def half_a_line(directory: Path) -> None:
    with (directory / "default.jsonl").open("ab") as file:
        file.write(b'{"version":')


def old_document(directory: Path) -> None:
    with (directory / "concert.jsonl").open("rb") as file:
        begun = len(file.readline())
    text = json.loads((directory / "concert.json").read_bytes())
    (directory / "concert.json").write_bytes(
        journal_document(text["event"], text["capacity"], begun),
    )


def journal_document(name: str, capacity: int, covered: int) -> bytes:
    from service.stores.document import Checkpoint, rendered  # noqa: PLC0415  # only here
    from service.values import Event  # noqa: PLC0415  # as above

    return rendered(Checkpoint(Event(name, capacity, capacity), 0, covered))


def newer_document(directory: Path) -> None:
    text = (directory / "concert.jsonl").read_bytes()
    (directory / "concert.jsonl").write_bytes(text[: text.index(b"\n") + 1])


def torn_document(directory: Path) -> None:
    (directory / "concert.json").write_bytes((directory / "concert.json").read_bytes()[:100])


def no_document(directory: Path) -> None:
    (directory / "concert.json").unlink()


def no_journal(directory: Path) -> None:
    (directory / "default.jsonl").unlink()


def first_journal_lost(directory: Path) -> None:
    journal.closed(directory)["default"][0][1].unlink()


def a_link(directory: Path) -> None:
    (directory / "concert.jsonl").rename(directory / "elsewhere")
    (directory / "concert.jsonl").symlink_to(directory / "elsewhere")


def a_name(directory: Path) -> None:
    (directory / "No Event.json").write_text('{"count": 1}')


def stopped(directory: Path) -> None:
    (directory / "concert.jsonl.stopped").write_text("fsync failed")


def half_a_copy(directory: Path) -> None:
    (directory / recovery.INCOMPLETE).write_text("a copy was begun here\n")


def half_a_copy_of_nothing(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    half_a_copy(directory)


def begun_again(directory: Path) -> None:
    (directory / "default.json").write_text('{"count": 10}')


def begun_with_more(directory: Path) -> None:
    newer_document(directory)
    (directory / "concert.json").write_text('{"count": 6}')


def open_to_everybody(directory: Path) -> None:
    directory.chmod(0o777)


def begun_again_without_its_journal(directory: Path) -> None:
    no_journal(directory)
    begun_again(directory)


def of_a_newer_journal(directory: Path) -> None:
    """The document is of the first journal, and of a version that the last one has not come to."""
    from service.stores.document import Checkpoint, rendered  # noqa: PLC0415  # as above
    from service.values import Event  # noqa: PLC0415  # as above

    (directory / "default.json").write_bytes(rendered(Checkpoint(Event("default", 1000, 900, 999), 0, 100)))


def a_folder(directory: Path) -> None:
    no_document(directory)
    (directory / "concert.json").mkdir()


CASES = {
    half_a_line: ("", "default.jsonl: half a line from byte", True),
    old_document: ("", "concert.json is at version 0, its journal at 1", True),
    no_document: ("", "concert.json is missing: the next start makes it", True),
    torn_document: ("concert.json does not hold one whole document but 100 bytes", "", True),
    stopped: ("concert.jsonl.stopped: a journal could not be synced", "", True),
    newer_document: ("acknowledged sales are missing; restore concert.jsonl", "", False),
    no_journal: ("default.jsonl is missing, and its event was sold from", "", False),
    first_journal_lost: ("and what came before is missing: restore it", "", False),
    a_link: ("concert.jsonl cannot be read", "", False),
    a_name: ("an event's name has only a-z", "", False),
    half_a_copy: ("is a copy that has not come to its end: make it again", "", False),
    begun_again: ("default.json starts an event, but default.jsonl already records", "", False),
    begun_with_more: ("concert.json starts an event, but concert.jsonl already records 0 changes", "", False),
    begun_again_without_its_journal: ("default.jsonl is missing, and its event was sold from", "", False),
    of_a_newer_journal: ("acknowledged sales are missing; restore default.jsonl", "", False),
}


@pytest.mark.parametrize("damage", CASES, ids=lambda damage: damage.__name__)
def test_what_is_wrong_is_told_with_what_to_do_and_repaired_where_the_journals_give_it(
    sold: Counter, damage: object
) -> None:
    """What a start mends by itself is not wrong. What the journals do not give is refused, and nothing is changed."""
    assert callable(damage)
    lines = written(sold.directory)
    damage(sold.directory)
    wrong, mendable, can_be_repaired = CASES[damage]
    found, before = inspected(sold.directory), contents(sold.directory)
    assert wrong in "".join(found.wrong) if wrong else found.wrong == []
    assert mendable in "".join(found.mendable)
    ended = CliRunner().invoke(verify, [str(sold.directory)])
    assert ended.exit_code == bool(wrong)
    assert (f"{len(found.wrong)} wrong in" if wrong else "nothing is wrong") in ended.output
    assert contents(sold.directory) == before
    ended = CliRunner().invoke(repair, [str(sold.directory)])
    assert ended.exit_code == (not can_be_repaired)
    if can_be_repaired:
        assert inspected(sold.directory).wrong == inspected(sold.directory).mendable == []
        assert written(sold.directory) == lines
        assert CliRunner().invoke(repair, [str(sold.directory)]).output == "there was nothing to repair\n"
    else:
        ended = CliRunner().invoke(verify, [str(sold.directory)])
        assert ended.exit_code == 1


@pytest.mark.parametrize(
    "damage", [*CASES, half_a_copy_of_nothing, open_to_everybody, a_folder], ids=lambda damage: damage.__name__
)
def test_what_a_start_refuses_is_wrong(sold: Counter, damage: object) -> None:
    """Who was told that nothing is wrong can start; and what is to be done is said in the same words."""
    assert callable(damage)
    damage(sold.directory)
    ended = CliRunner().invoke(verify, [str(sold.directory)])
    try:
        recovery.prepare(sold.directory, "a test", verify=True).free()
    except Refused as refused:
        assert ended.exit_code == 1
        assert damage not in {half_a_copy, half_a_copy_of_nothing, begun_again, begun_with_more, open_to_everybody} or (
            str(refused) in ended.output.splitlines()
        )
    else:
        assert damage in {half_a_line, old_document, no_document, torn_document}


def test_a_repair_that_is_refused_leaves_the_marks_where_they_were(sold: Counter) -> None:
    """Else it would have let an event be sold from again without a word of it; and of a lost journal no more is said
    than there is.
    """
    mark = sold.directory / "concert.jsonl.stopped"
    stopped(sold.directory)
    half_a_copy(sold.directory)
    ended = CliRunner().invoke(repair, [str(sold.directory)])
    assert (ended.exit_code, mark.exists()) == (1, True)
    (sold.directory / recovery.INCOMPLETE).unlink()
    ended = CliRunner().invoke(repair, [str(sold.directory)])
    assert (ended.exit_code, mark.exists()) == (0, False)
    assert ended.output == "concert.jsonl: written to a new file, and can be sold from again\n"
    (sold.directory / "gone.jsonl.stopped").touch()
    ended = CliRunner().invoke(repair, [str(sold.directory)])
    assert ended.output == "gone.jsonl.stopped: taken away, for there is no gone.jsonl\n"
    assert inspected(sold.directory).wrong == []


def test_a_store_is_not_repaired_while_a_service_runs_there_nor_made_where_none_is(
    sold: Counter, tmp_path: Path
) -> None:
    """Two who write one document would undo each other's; and a typing error makes no event."""
    sold.build("file_lock")
    ended = CliRunner().invoke(repair, [str(sold.directory)])
    assert ended.exit_code == 1
    assert "is in use by a test in mode file_lock" in ended.output
    (tmp_path / "empty").mkdir()
    for command in (repair, verify):
        ended = CliRunner().invoke(command, [str(tmp_path / "empty")])
        assert ended.exit_code == 1
        assert "holds no event" in ended.output
    assert not list((tmp_path / "empty").iterdir())


def test_the_command_line_has_both_beside_the_flags(sold: Counter) -> None:
    """``python -m service verify DIR``; settings belong to the service alone."""
    said = [
        subprocess.run([sys.executable, "-m", "service", *words], capture_output=True, text=True, check=False, cwd=ROOT)
        for words in (["verify", str(sold.directory)], ["--workers", "2", "repair", str(sold.directory)])
    ]
    assert [each.returncode for each in said] == [0, 2]
    assert said[0].stdout == "2 events, nothing is wrong\n"
    assert said[1].stderr.startswith("turnstile: settings are for the service alone")


@pytest.mark.parametrize("command", [verify, repair])
def test_the_address_of_an_engine_is_no_directory(command: click.Command) -> None:
    """Its password is not shown."""
    ended = CliRunner().invoke(command, ["postgresql://ann:sesame@127.0.0.1/tickets"])
    assert ended.exit_code == 2
    assert "postgresql://ann:***@127.0.0.1/tickets is an address" in ended.output
    assert "sesame" not in ended.output


def be_seller(mode: Mode, told: Path, enough: Event) -> None:
    """Sell, make an event now and then, and write each sale down after it was acknowledged."""
    mode.open()
    with told.open("ab", buffering=0) as file:
        for number in range(SALES_MAX):
            if enough.is_set():
                break
            if number % 20 == 0:
                mode.store.create(f"e{os.getpid()}-{number}", 5)
            reply = mode.execute(buying(1))
            assert isinstance(reply, Sold)
            file.write(f"{reply.order.id}\n".encode())


def heard(told: list[Path]) -> set[str]:
    """Return the sales that were written down, each on a whole line."""
    return {line for path in told for line in path.read_text().split("\n")[:-1]}


def more_than(known: set[str], told: list[Path]) -> bool:
    return len(heard(told)) > len(known)


def commands() -> str:
    """Return what docs/backup.md says is to be typed to copy."""
    page = (ROOT / "docs" / "backup.md").read_text()
    return "".join(re.findall(r"^\$ ((?:cp|for) .*\n)", page, re.MULTILINE))


def test_copies_that_are_made_while_it_sells_are_whole_and_have_what_was_acknowledged_before(
    counter: Counter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the very commands that docs/backup.md has, while journals are closed every few orders and events are made:
    nothing is wrong with a copy, it opens with every sale that was acknowledged before, and it sells on.
    """
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    (counter.directory / "default.json").write_text('{"count": 1000000}')
    mode = counter.build("group_commit")
    enough = FORK.Event()
    told = [tmp_path / f"told-{number}" for number in range(SELLERS)]
    sellers = [FORK.Process(target=be_seller, args=(mode, path, enough)) for path in told]
    for path, seller in zip(told, sellers, strict=True):
        path.touch()
        seller.start()
    known: set[str] = set()
    copies: list[tuple[Path, set[str]]] = []
    for number in range(COPIES):
        until(partial(more_than, known, told))
        known = heard(told)
        copy = tmp_path / f"copy-{number}"
        copy.mkdir()
        copies.append((copy, known))
        environment = {**os.environ, "DATA": str(counter.directory), "COPY": str(copy)}
        subprocess.run(["/bin/sh", "-ec", commands()], env=environment, check=True)
        assert inspected(counter.directory).wrong == []
    enough.set()
    for seller in sellers:
        seller.join()
    assert [seller.exitcode for seller in sellers] == [0] * SELLERS
    assert len(known) > COPIES
    for copy, acknowledged in copies:
        assert inspected(copy).wrong == []
        recovery.prepare(copy, "a test", verify=True).free()
        assert acknowledged <= {unseal(line).get("order") for line in written(copy)["default"]}
        again = Counter(copy).joined("group_commit")
        assert sell(again).version == look(again).version == len(written(copy)["default"])
    assert len(journal.closed(counter.directory)["default"]) > 1


@pytest.mark.parametrize("when", ["before it was closed", "when it had its second name"])
def test_a_copy_that_has_a_journal_twice_goes_on_from_the_closed_one(sold: Counter, when: str) -> None:
    """``default.jsonl`` was copied before it was closed, and the closed one after that."""
    lines = written(sold.directory)
    last = journal.closed(sold.directory)["default"][-1][1]
    text = last.read_bytes()
    (sold.directory / "default.jsonl").unlink()
    (sold.directory / "default.jsonl").write_bytes(text[:-400] if when == "before it was closed" else text)
    for name in ("default.json", "orders.sqlite"):
        (sold.directory / name).unlink()
    found = inspected(sold.directory)
    assert found.wrong == []
    assert "default.jsonl: it was being closed" in "".join(found.mendable)
    recovery.prepare(sold.directory, "a test", verify=True).free()
    assert written(sold.directory)["default"] == lines["default"][: len(written(sold.directory)["default"])]
    assert len(written(sold.directory)["default"]) >= len(lines["default"]) - 6
    assert inspected(sold.directory).mendable == []
