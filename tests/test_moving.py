"""A store is copied: in the copy all is as it was, whatever kind it is; and half a copy is not sold from."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service import moving
from service.commands import Buy, Resize
from service.copies import stream
from service.mode import Busy, NotWritten
from service.moving import copied, opened
from service.stores import journal
from service.stores.replay import Refused
from tests.counter import Counter, EngineCounter, buying, look, sell
from tests.office import Office
from tests.scripts import CAPACITY_MAX, STEPS, Step, commands
from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.copies.stream import Digest
    from tests.counter import AnyCounter

SHORT_BYTES = 1200
MODES = {
    "": "group_commit",
    "sqlite": "sqlite",
    "postgresql": "postgres_group",
    "redis": "redis_script",
    "etcd": "etcd_txn",
}
SCRIPTS = st.lists(STEPS, min_size=20, max_size=60)
SLOW = [HealthCheck.too_slow]


def silent(_: str) -> None:
    """Hear how far it has come."""


def seen(counter: AnyCounter) -> str:
    """Return the place of a counter's store, as a command line has it."""
    return str(counter.directory) if isinstance(counter, Counter) else counter.url


def onward(office: Office, before: AnyCounter, after: AnyCounter, mode: str) -> None:
    """Copy a store in which nobody sells, and go on in the copy: all that can be read is the same."""
    office.close()
    (found,) = copied(opened(seen(before)), opened(seen(after)), silent)
    assert found.changes == len(office.office.history)
    office.move(after, mode)
    office.agrees()


@settings(max_examples=25, suppress_health_check=SLOW, phases=[Phase.explicit, Phase.generate])
@given(capacity=st.integers(0, CAPACITY_MAX), first=SCRIPTS, second=SCRIPTS, third=SCRIPTS, fenced=st.booleans())
def test_files_are_copied_to_files_and_to_sqlite_and_back(
    capacity: int, first: list[Step], second: list[Step], third: list[Step], *, fenced: bool
) -> None:
    """With every kind of command before, between and behind, and with journals that were closed: events, orders, holds,
    the journal and the answers for keys are those of the box office.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
        patch.setattr(stream, "PAGES_MAX", 7)
        files = [Counter(Path(place) / name) for name in ("one", "two", "three")]
        files[0].directory.mkdir()
        database = EngineCounter(f"sqlite:///{place}/tickets.db", {})
        office = Office(files[0], "lease" if fenced else "file_lock", capacity)
        script = list(commands([*first, *second, *third], itertools.count()))
        try:
            for command in script[: len(first)]:
                office.do(command)
            onward(office, files[0], files[1], "group_commit")
            onward(office, files[1], database, "sqlite")
            for command in script[len(first) : len(first) + len(second)]:
                office.do(command)
            onward(office, database, files[2], "file_lock")
            for command in script[len(first) + len(second) :]:
                office.do(command)
            office.agrees()
            office.open(verify=True)
            office.agrees()
        finally:
            office.close()


def test_who_was_refused_before_the_first_change_is_told_the_same_of_a_copy(tmp_path: Path) -> None:
    """Also when that change was the capacity itself, so that no line says any more what it was before."""
    before, after = (Counter(tmp_path / name) for name in ("before", "after"))
    before.directory.mkdir()
    database = EngineCounter(f"sqlite:///{tmp_path}/tickets.db", {})
    office = Office(before, "file_lock", 2)
    refused, resized = commands([Buy("", "default", 5, key="a"), Resize("default", 4)], itertools.count())
    try:
        office.do(refused)
        office.do(resized)
        onward(office, before, database, "sqlite")
        office.do(refused)
        onward(office, database, after, "group_commit")
        office.do(refused)
    finally:
        office.close()


@pytest.mark.parametrize("scheme", ["postgresql", "redis", "etcd"])
def test_files_are_copied_to_an_engine_and_back(fresh_url: Callable[[str], str], scheme: str) -> None:
    """As above, with each engine in the middle: what it does not keep as files do is found again there."""

    @settings(max_examples=2 if scheme == "etcd" else 5, suppress_health_check=SLOW, phases=[Phase.generate])
    @given(capacity=st.integers(0, CAPACITY_MAX), first=SCRIPTS, second=SCRIPTS)
    def carried_out(capacity: int, first: list[Step], second: list[Step]) -> None:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            before, after = (Counter(Path(place) / name) for name in ("before", "after"))
            before.directory.mkdir()
            engine = EngineCounter(fresh_url(scheme), {})
            office = Office(before, "file_lock", capacity)
            script = list(commands([*first, *second], itertools.count()))
            try:
                for command in script[: len(first)]:
                    office.do(command)
                onward(office, before, engine, MODES[scheme])
                for command in script[len(first) :]:
                    office.do(command)
                onward(office, engine, after, "group_commit")
            finally:
                office.close()

    carried_out()


@pytest.fixture(params=MODES)
def target(request: pytest.FixtureRequest, tmp_path: Path, fresh_url: Callable[[str], str]) -> AnyCounter:
    """A store of each kind, with nothing in it."""
    return EngineCounter(fresh_url(request.param), {}) if request.param else Counter(tmp_path / "target")


def mode_of(counter: AnyCounter) -> str:
    """Return a mode that sells from a counter's store."""
    return MODES["" if isinstance(counter, Counter) else counter.url.partition("://")[0]]


def test_half_a_copy_is_not_sold_from_and_can_be_made_again(
    counter: Counter, target: AnyCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who dies in the middle leaves a mark, which a start refuses. The next copy removes what is left."""
    counter.event("concert", 7)
    mode = counter.opened("file_lock")
    sold = [sell(mode) for _ in range(4)]
    mode.execute(buying(event="concert"))
    counter.close()
    made, batches = opened(seen(target)), itertools.count()
    whole = stream.together

    def dying(pages: object) -> object:
        for batch in whole(pages):  # type: ignore[arg-type]  # as it is called
            for page in batch:
                if next(batches) == 3:
                    raise KeyboardInterrupt
                yield [page]

    monkeypatch.setattr(moving, "together", dying)
    with pytest.raises(KeyboardInterrupt):
        copied(opened(seen(counter)), made, silent)
    monkeypatch.setattr(moving, "together", whole)
    with pytest.raises(Refused, match="a copy that has not come to its end: make it again"):
        target.build(mode_of(target))
    target.close()
    assert len(copied(opened(seen(counter)), opened(seen(target)), silent)) == 2
    again = target.opened(mode_of(target))
    assert [again.store.find(order.id) for order in sold] == sold
    assert (look(again).count, sell(again).tickets) == (6, (5,))
    target.close()
    with pytest.raises(Refused, match=r"events already|events under this prefix already"):
        copied(opened(seen(counter)), opened(seen(target)), silent)


def test_what_is_sold_meanwhile_is_not_lost_in_silence(counter: Counter, target: AnyCounter, tmp_path: Path) -> None:
    """Whoever sells from the source while it is copied is kept out, or found out, and the copy is none."""
    sell(counter.opened("file_lock"))
    counter.close()
    copied(opened(seen(counter)), opened(seen(target)), silent)
    late = target.joined(mode_of(target), wait_s=0.5) if isinstance(target, EngineCounter) else None
    outcomes: list[object] = []

    def selling(_: str) -> None:
        if late:
            try:
                outcomes.append(late.execute(buying()))
            except (Busy, NotWritten) as error:
                outcomes.append(error)

    directory = tmp_path / "again"
    try:
        found: list[Digest] | Refused = copied(opened(seen(target)), opened(str(directory)), selling)
    except Refused as error:
        found = error
    target.close()
    if late and not any(isinstance(each, Busy | NotWritten) for each in outcomes):
        assert "stop the services that use it" in str(found)
        with pytest.raises(Refused, match="has not come to its end"):
            Counter(directory).build("file_lock")
    else:
        assert isinstance(found, list)
        assert late is None or outcomes


def command(*words: str) -> tuple[int, str]:
    """Run the command line, and return its exit code and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "service", "copy", *words],
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_the_command_copies_and_says_what_it_has_compared(counter: Counter, tmp_path: Path) -> None:
    """Exit 0 and one line; refused with exit 1 and one sentence, and nothing is made that was not there."""
    counter.event("concert", 7)
    mode = counter.opened("file_lock")
    sell(mode)
    running = command(str(counter.directory), f"sqlite:///{tmp_path}/tickets.db")
    assert running[0] == 1
    assert "is in use by a test in mode file_lock" in running[1]
    counter.close()
    done = command(str(counter.directory), f"sqlite:///{tmp_path}/tickets.db")
    assert done == (0, "copied and compared: 2 events, 1 change, 0 answers kept for their keys\n")
    nowhere = command(str(tmp_path / "nowhere"), f"sqlite:///{tmp_path}/other.db")
    assert nowhere == (1, f"no copy was made: there is no directory {tmp_path}/nowhere\n")
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "other.db").exists()
    unknown = command(str(counter.directory), "mysql://here/tickets")
    assert unknown[0] == 1
    itself = command(f"sqlite:///{tmp_path}/tickets.db", f"sqlite:///{tmp_path}/tickets.db")
    assert itself == (
        1,
        f"no copy was made: {tmp_path}/tickets.db has events already (concert): choose a path without any\n",
    )
    assert command(str(counter.directory), str(counter.directory))[1].startswith("no copy was made: data directory")
    assert command("Here://", "there")[0] == 1
    assert "no copy was made: TO is 'mysql://here/tickets': expected a directory, or an address such as" in unknown[1]


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("data", "mysql://ann:secret@b/c", "TO is 'mysql://ann:***@b/c': expected a directory, or an address such as"),
        ("mysql://b/c", "data", "FROM is 'mysql://b/c': expected a directory, or an address such as"),
        ("a-file", "to", "a-file is a file: expected a data directory or an address"),
        ("a-file/in-it", "to", "there is no directory"),
        ("empty", "to", "empty holds no event that could be copied"),
        ("from", "a-file", "a-file): remove what is in its place, or choose another directory"),
        ("from", "a-file/in-it", "in-it): remove what is in its place, or choose another directory"),
        ("from", "sqlite:///empty", "cannot be used as a database (unable to open database file): choose another path"),
        ("from", "sqlite:///a-file/in-it", "cannot be used as a database (File exists): choose another path"),
        ("sqlite:///a-file", "to", "cannot be used as a database (file is not a database): choose another path"),
        ("@nowhere", "to", "FROM is 'nowhere': expected a file that can be read (No such file or directory)"),
        ("from", "@empty-file", "TO is 'empty-file', which is empty: expected a directory or an address in it"),
    ],
)
def test_what_cannot_be_copied_or_be_a_copy_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, said: str
) -> None:
    """By what the command line calls it, without its password and without a number of the system's."""
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "from"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "default.json").write_text('{"count": 3}')
    (tmp_path / "a-file").write_text("words " * 999)
    (tmp_path / "empty-file").touch()
    ended = CliRunner().invoke(moving.copy, [source, target])
    assert ended.exit_code == 1
    assert ended.stdout.startswith("no copy was made: ")
    assert ("can read TO in the list of processes" in ended.stderr) == ("secret" in target)
    assert said in ended.stdout
    assert "secret" not in ended.output
    assert "Errno" not in ended.output
    assert not (tmp_path / "to").exists()


def test_a_store_without_events_is_no_store_to_copy(fresh_url: Callable[[str], str], tmp_path: Path) -> None:
    """A prefix that is misspelt would else be a copy that sells all again."""
    assert command(fresh_url("redis"), str(tmp_path / "copy"))[1].startswith(
        "no copy was made: FROM holds no event that could be copied"
    )
    assert not (tmp_path / "copy").exists()
