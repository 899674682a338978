"""A data directory is for its owner: its files, whatever the umask; and nothing in it leads anywhere else."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from service.commands import Buy, Hold, key_of
from service.engines import made
from service.mode import Damaged, NotWritten, Unknown
from service.outcomes import Sold
from service.settings import Settings
from service.stores import closed_index, disk, guard, journal, recovery
from service.stores.inspection import inspected
from service.stores.repair import repaired
from service.stores.replay import Refused
from service.stores.seeds import seeds
from service.values import order_id
from tests.counter import ON_FILES, Counter, EngineCounter, buying, sell
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.serve import Service

SHORT_BYTES = 900
KINDS: dict[str, Callable[[Path], None]] = {
    "a link": lambda path: path.symlink_to(path.parent.parent / "elsewhere"),
    "a link to nothing": lambda path: path.symlink_to(path.parent.parent / "nowhere"),
    "a pipe": os.mkfifo,
    "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}
"""What somebody may put in the place of a file."""
NAMES = [
    *("default.json", "default.jsonl", "default.000000000000.jsonl", "default.jsonl.stopped", "default.jsonl.tmp"),
    *("default.flock", "default.queue", "default.lease", "default.lease.break.1.a", "default.fence"),
    *("service.lock", "orders.sqlite", "orders.sqlite-wal", "orders.sqlite-shm"),
]
"""All names that files of a store have."""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, name: str, kind: str) -> None:
    """By a start, a repair and a verification, without waiting; and what it leads to is not touched."""
    (tmp_path / "elsewhere").write_text('{"count": 10}')
    directory = tmp_path / "data"
    recovery.prepare(directory, "a test").free()
    (directory / name).unlink(missing_ok=True)
    KINDS[kind](directory / name)
    what = "symbolic link" if "link" in kind else "no file, but a pipe"
    for refuse in (lambda: recovery.prepare(directory, "a test"), lambda: repaired(directory)):
        with pytest.raises(Refused, match=rf"{what}.*: .*{re.escape(name)}\)"):
            refuse()
    if name != "default.json":  # else there is an event without a document, and what stands there is told as well
        assert [each for each in inspected(directory).wrong if name in each]
    assert (tmp_path / "elsewhere").read_text() == '{"count": 10}'
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "told"), [("default.json", Unknown), ("default.jsonl", NotWritten)])
def test_what_is_put_there_while_it_sells_is_not_followed(
    counter: Counter, name: str, told: type[Exception], kind: str
) -> None:
    """Nothing elsewhere is touched, and nobody waits. In place of the journal, certainly nothing was done."""
    mode = counter.opened("file_lock")
    sell(mode)
    (counter.directory.parent / "elsewhere").write_text("precious")
    (counter.directory / name).rename(counter.directory.parent / "before")
    KINDS[kind](counter.directory / name)
    with pytest.raises(told):
        mode.execute(buying())
    assert (counter.directory.parent / "elsewhere").read_text() == "precious"
    assert not (counter.directory.parent / "nowhere").exists()


def test_the_index_is_not_made_through_a_link(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would follow one; an order that was sold from a closed journal is then not found, nothing is written."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    mode = counter.opened("file_lock")
    orders = [sell(mode) for _ in range(9)]
    assert mode.store.find(orders[0].id) == orders[0]
    index = counter.directory / closed_index.FILE
    for end in ("", "-wal", "-shm"):
        Path(f"{index}{end}").unlink(missing_ok=True)
    index.symlink_to(counter.directory.parent / "nowhere")
    with pytest.raises(Damaged, match=r"orders.sqlite cannot be used \(it is a symbolic link"):
        counter.joined("file_lock").store.find(orders[0].id)
    assert not (counter.directory.parent / "nowhere").exists()


def test_a_database_of_sqlite_is_not_reached_through_a_link(tmp_path: Path) -> None:
    """Neither its file nor those beside it; and all of them are for their owner alone, also those that were not."""
    path = tmp_path / "tickets.db"
    store = made(Settings(url=f"sqlite:///{path}"))
    path.write_bytes(b"")
    path.chmod(0o644)
    store.prepare({"default": 10})
    store.open()
    assert store.look("default")
    assert {mode_of(each) for each in tmp_path.iterdir()} == {0o600}
    store.close()
    for end in ("", "-wal", "-shm"):
        link = Path(f"{path}{end}")
        link.rename(tmp_path / "elsewhere") if link.exists() else (tmp_path / "elsewhere").write_bytes(b"")
        link.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Refused, match="symbolic link, which is not followed"):
            store.prepare({})
        link.unlink()
        (tmp_path / "elsewhere").rename(link)


def test_the_article_s_files_are_not_read_through_links(tmp_path: Path) -> None:
    """Also where an engine keeps the tickets."""
    (tmp_path / "elsewhere").write_text('{"count": 10}')
    (tmp_path / "concert.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="symbolic link"):
        seeds(tmp_path)


def test_the_directory_itself_may_be_reached_through_a_link(counter: Counter, tmp_path: Path) -> None:
    """Where it leads is looked up once."""
    (tmp_path / "link").symlink_to(counter.directory)
    claimed = recovery.prepare(tmp_path / "link", "a test")
    assert (counter.directory / "default.jsonl").exists()
    claimed.free()


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (0o700, ""),
        (0o755, "others can see its events"),
        (0o750, "others can see its events"),
        (0o775, "members of its group can put files there"),
        (0o2770, "members of its group can put files there"),
    ],
)
def test_a_directory_that_others_reach_into_is_told_of(tmp_path: Path, mode: int, told: str) -> None:
    """In one sentence, with the command that ends it."""
    tmp_path.chmod(mode)
    sentences = guard.told_of(tmp_path)
    assert len(sentences) == bool(told)
    for sentence in sentences:
        assert told in sentence
        assert sentence.endswith(f"chmod 700 {tmp_path}")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_a_directory_that_everybody_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """Anybody could put a journal there; nothing is made in it."""
    tmp_path.chmod(mode)
    with pytest.raises(Refused, match="can be written by everybody on this machine"):
        recovery.prepare(tmp_path, "a test")
    assert list(tmp_path.iterdir()) == []


def test_files_that_others_could_read_are_narrowed_by_a_start(counter: Counter) -> None:
    """Such as those of a backup that was copied back; a verification tells of them, and changes nothing."""
    sell(counter.opened("group_commit"))
    counter.close()
    stranger = counter.directory / "README"
    stranger.write_text("what is not ours is let alone")
    for path in counter.directory.iterdir():
        path.chmod(0o644)
    told = [each for each in inspected(counter.directory).mendable if "can be read by others" in each]
    assert len(told) == len(list(counter.directory.iterdir())) - 1
    counter.opened("file_lock")
    stranger.unlink()
    assert {mode_of(path) for path in counter.directory.iterdir()} == {0o600}


@pytest.mark.parametrize("name", [*ON_FILES, "sqlite"])
def test_whatever_the_umask_all_files_are_for_their_owner(tmp_path: Path, name: str) -> None:
    """All that a mode makes, and the directory that is made for it, where the umask leaves all to everybody."""
    before = os.umask(0)
    try:
        place = tmp_path / "made" / "here"
        url = f"sqlite:///{place}/tickets.db" if name == "sqlite" else ""
        counter = EngineCounter(url, {"default": 10}) if url else Counter(place)
        mode = counter.opened(name)
        sell(mode)
        made_there = {path.relative_to(tmp_path): mode_of(path) for path in tmp_path.rglob("*")}
        counter.close()
    finally:
        os.umask(before)
    assert len(made_there) > 3
    assert {path: oct(rights) for path, rights in made_there.items() if rights not in {0o600, 0o700}} == {}
    assert [mode for path, mode in made_there.items() if path.suffix] == [0o600] * (len(made_there) - 2)


def test_a_service_has_a_umask_of_its_own(tmp_path: Path) -> None:
    """One that it was started with may leave a file to everybody, or to nobody."""
    words = f"--data {tmp_path}/data --bind 127.0.0.1:0 --workers 1 --trace {tmp_path}"
    command = f"umask 777; exec {sys.executable} -m service {words}"
    with subprocess.Popen(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        try:
            assert re.search("selling on .*, 1 worker of [0-9]+ threads, tickets in ", service.stderr.readline())
            until(lambda: any(path.name.startswith("trace-") for path in tmp_path.iterdir()))
        finally:
            service.terminate()
    files = [*(tmp_path / "data").iterdir(), *tmp_path.glob("trace-*")]
    assert len(files) >= 4
    assert {mode_of(path) for path in files} == {0o600}


def test_orders_of_earlier_releases_are_found_as_ever(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their identifiers have eight digits less; in the growing journal, in closed ones, and with keys."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    counter.event("default", 100)
    mode = counter.opened("file_lock")
    old = [order_id("default", f"{number:024x}") for number in range(9)]
    new = [order_id("default", f"{number:032x}") for number in range(9)]
    sold = []
    for number, order in enumerate(each for pair in zip(old, new, strict=True) for each in pair):
        reply = mode.execute(Buy(order, "default", 1, key=key_of("default", str(number))))
        assert isinstance(reply, Sold)
        sold.append(reply.order)
    assert len(journal.closed(counter.directory)["default"]) > 1
    for again in (mode, counter.joined("group_commit"), counter.opened("file_lock")):
        assert [again.store.find(order.id) for order in sold] == sold
    assert inspected(counter.directory).wrong == []


def test_orders_carry_128_bits_of_chance(served: Callable[..., Service]) -> None:
    """Behind the eight digits of their event, and no two have one digit in common more often than chance has it."""
    service = served("group_commit", tickets=100)
    replies = [requests.post(f"{service.url}/buy", json={"quantity": 1}, timeout=PATIENCE_S) for _ in range(64)]
    orders = [reply.json()["order"] for reply in replies]
    assert {(len(order), order[:8]) for order in orders} == {(40, order_id("default", ""))}
    for digit in range(8, 40):  # 64 throws of a die with sixteen sides: never but three sides
        assert len({order[digit] for order in orders}) > 3


def test_hold_and_its_confirmation_keep_their_files_private(counter: Counter) -> None:
    """Also those that come with a lease."""
    mode = counter.opened("lease")
    mode.execute(Hold(buying().order, "default", 1, 60.0))
    assert {mode_of(path) for path in counter.directory.iterdir()} == {0o600}


def test_nothing_that_is_a_directory_is_opened_as_a_file(tmp_path: Path) -> None:
    """It is told as what it is."""
    with pytest.raises(OSError, match="it is no file"):
        disk.whole(tmp_path)
