"""A disk that is full, broken or read-only at any step: no reply is untrue, nothing is lost or sold twice."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from service.catalogue import CLAIMS, SCHEMES
from service.commands import Hold, key_of
from service.mode import Damaged, NotWritten, Unknown
from service.outcomes import Held, Sold
from service.stores import disk, journal, recovery, stopped
from service.stores.inspection import inspected
from service.stores.order_index import OrderIndex
from service.stores.repair import repaired
from service.stores.replay import Refused
from tests.counter import Counter, buying, look, sell
from tests.failing_disk import BROKEN, FULL, READ_ONLY_FILES, FailingDisk
from tests.power_loss import written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.mode import Mode
    from service.outcomes import Reply

DURABLE = [
    name
    for name, claim in CLAIMS.items()
    if name not in SCHEMES and name != "single_writer" and "power loss" in claim.survives
]
"""The modes for files that promise it, and write in this process."""
ERRORS = [FULL, BROKEN, READ_ONLY_FILES]
STEPS_MAX = 30
SHORT_BYTES = 700


def cannot_sync(_: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def short(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """A counter whose journals are short, of an event of many tickets."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES_MAX", SHORT_BYTES)
    monkeypatch.setattr(OrderIndex, "catch_up_beside", lambda _: None)
    (counter.directory / "default.json").write_text('{"count": 100}')
    return counter


@pytest.mark.parametrize("name", DURABLE)
def test_after_an_fsync_that_failed_nobody_sells_until_the_store_is_repaired(counter: Counter, name: str) -> None:
    """The next fsync would succeed and tell nothing. The order itself is unknown; what was acknowledged can be looked
    at; other events sell on; and when the journal has been written anew, this one does too.
    """
    (counter.directory / "concert.json").write_text('{"count": 5}')
    mode, other = counter.opened(name), counter.joined(name)
    first = sell(mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", cannot_sync)
        with pytest.raises(Unknown, match=r"could not be synced \(Input/output error\)"):
            mode.execute(buying())
    for each in (mode, other, counter.joined(name)):
        with pytest.raises(NotWritten, match=r"is not sold from any more, for default\.jsonl could not be synced"):
            each.execute(buying())
        assert look(each).version == 1
        assert each.store.find(first.id) == first
        assert isinstance(each.execute(buying(event="concert")), Sold)
    counter.close()
    with pytest.raises(Refused, match=r"could not be synced.*python -m service repair"):
        counter.build(name)
    assert [each for each in inspected(counter.directory).wrong if "could not be synced" in each]
    before = (counter.directory / "default.jsonl").stat().st_ino
    assert "default.jsonl: written to a new file, and can be sold from again" in repaired(counter.directory)
    assert (counter.directory / "default.jsonl").stat().st_ino != before
    again = counter.opened(name)
    assert look(again).version in {1, 2}
    assert sell(again).version == look(again).version


@pytest.mark.parametrize("name", ["file_lock", "lease"])
def test_who_comes_after_a_killed_writer_and_cannot_sync_its_line_decides_nothing(counter: Counter, name: str) -> None:
    """The line may be lost with the power, so nothing is sold behind it: certainly not done, and no more from then."""
    mode, other = counter.opened(name), counter.joined(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "sync", killed)
        with pytest.raises(KeyboardInterrupt):
            mode.execute(buying())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", cannot_sync)
        with pytest.raises(NotWritten, match="so nothing was done"):
            other.execute(buying())
    for each in (mode, other):
        with pytest.raises(NotWritten, match="is not sold from any more"):
            each.execute(buying())
        assert look(each).version == 0
        assert len(written(counter.directory)["default"]) == 1


def test_a_lease_that_cannot_be_signed_for_want_of_room_is_certainly_not_done(counter: Counter) -> None:
    """Its file is the first thing that is written; with room again the next one sells."""
    mode = counter.opened("lease")

    def full(_descriptor: int, _text: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(NotWritten, match=r"the lease cannot be signed \(No space left on device\), so nothing"):
            mode.execute(buying())
    assert sell(mode).version == 1


@pytest.mark.parametrize("name", ["file_lock", "ticket_lock", "lease", "group_commit"])
def test_a_lock_whose_file_cannot_be_made_is_certainly_not_had(counter: Counter, name: str) -> None:
    """No inode is left for it, in the first order of an event; with room again the next one sells."""
    mode, opened = counter.opened(name), os.open

    def full(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT and not os.path.lexists(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, flags, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", full)
        for _ in range(2):
            with pytest.raises(NotWritten, match=r"\(No space left on device\), so nothing was"):
                mode.execute(buying())
    assert sell(mode).version == 1


def test_a_number_that_cannot_be_written_down_is_not_taken(counter: Counter) -> None:
    """The file of the queue has its first bytes when somebody takes a number; who cannot keeps nobody waiting."""
    mode = counter.opened("ticket_lock")

    def full(_descriptor: int, _text: bytes, _at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(NotWritten, match=r"no number can be taken from default\.queue \(No space left on device\)"):
            mode.execute(buying())
    assert sell(mode).version == 1


@pytest.mark.parametrize("name", [*DURABLE, "single_writer"])
def test_a_document_that_cannot_be_written_is_made_to_say_what_is_done_before_more_is_decided(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The sale is durable and cannot be looked at yet, so it is unknown. Who asks again with its key, in the same
    worker, is told of it when everybody can look at it, and not before.
    """
    is_full, write_over = tmp_path / "is-full", disk.write_over

    def full(descriptor: int, text: bytes) -> int:
        if is_full.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_over(descriptor, text)

    monkeypatch.setattr(disk, "write_over", full)  # before the writer is forked
    mode = counter.opened(name)
    sell(mode)
    is_full.touch()
    wanted = replace(buying(), key=key_of("default", "a key"))
    with pytest.raises(Unknown, match=r"it is in the journal, but default\.json cannot be written \(No space left"):
        mode.execute(wanted)
    with pytest.raises(NotWritten, match=r"\(No space left on device\), so nothing was done"):
        mode.execute(wanted)
    is_full.unlink()
    told = mode.execute(wanted)
    assert isinstance(told, Sold)
    assert (told.order.id, told.order.version) == (wanted.order, 2) == (told.order.id, look(mode).version)
    assert sell(mode).version == 3


def killed(_: int) -> None:
    raise KeyboardInterrupt


def test_a_stop_is_known_in_its_process_where_not_even_the_mark_can_be_written(counter: Counter) -> None:
    """A directory that has become read-only takes no mark; no other process can write there either."""
    mode = counter.opened("file_lock")
    private, link = disk.private, disk.link

    def no_mark(path: Path, flags: int) -> int:
        if path.suffix == stopped.SUFFIX:
            raise OSError(errno.EROFS, "Read-only file system")
        return private(path, flags)

    def no_name(path: Path, name: Path) -> None:
        if name.suffix == stopped.SUFFIX:
            raise OSError(errno.EROFS, "Read-only file system")
        link(path, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", cannot_sync)
        patch.setattr(disk, "private", no_mark)
        patch.setattr(disk, "link", no_name)
        with pytest.raises(Unknown):
            mode.execute(buying())
    assert not stopped.marks(counter.directory)
    with pytest.raises(NotWritten, match="is not sold from any more"):
        mode.execute(buying())


def an_order(mode: Mode) -> Reply:
    return mode.execute(buying())


def a_sweeping_order(mode: Mode) -> Reply:
    """Two lines in one write, or under leases in two."""
    return mode.execute(buying(98))


def an_event(mode: Mode) -> bool:
    return mode.store.create("concert", 5)


def fill(mode: Mode, directory: Path) -> None:
    """Sell until the next order closes the journal."""
    while (directory / "default.jsonl").stat().st_size < SHORT_BYTES:
        sell(mode)


@pytest.mark.parametrize("name", ["file_lock", "lease"])
@pytest.mark.parametrize("what", [an_order, a_sweeping_order, an_event], ids=lambda what: what.__name__)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: errno.errorcode[error])
def test_whichever_step_fails_the_reply_is_true_and_the_store_whole(
    short: Counter, what: Callable[[Mode], object], name: str, error: int
) -> None:
    """Each step in turn, in an order that closes a journal and in a new event: 503 means that nothing was done; what is
    unknown is done or not, as a whole; no file is left that is of no use; and when the disk is well again, the store is
    whole and sells on.
    """
    mode = short.opened(name)
    assert isinstance(mode.execute(Hold(buying().order, "default", 1, 0.0)), Held)
    fill(mode, short.directory)
    failed = set()
    for step in range(STEPS_MAX):
        before = written(short.directory)
        with pytest.MonkeyPatch.context() as patch:
            failing = FailingDisk(patch, step, error, short=error == FULL)
            outcome: object = None
            try:
                outcome = what(mode)
            except NotWritten:
                assert written(short.directory).get("default") == before["default"]
            except Unknown:
                pass
        if not failing.failed:
            break
        failed.add(failing.failed)
        if failing.failed != "unlink":
            assert not list(short.directory.glob("*.tmp"))
        if stopped.marks(short.directory):
            short.close()
            repaired(short.directory)
            mode = short.opened(name)
        assert inspected(short.directory).wrong == []
        found = written(short.directory)
        assert found["default"][: len(before["default"])] == before["default"]
        if what is an_event:
            short.close()
            for path in short.directory.glob("concert*"):
                path.unlink()
            mode = short.opened(name)
        else:
            assert look(short.joined(name)).version >= len(before["default"]) or outcome is None
            mode = short.opened(name)
            assert sell(mode).version == len(changes(short)) > len(before["default"])
            fill(mode, short.directory)
    else:
        pytest.fail("it never came to its end")
    assert {"write", "sync"} <= failed
    assert inspected(short.directory).wrong == []
    short.close()
    recovery.prepare(short.directory, "a test", verify=True).free()


def changes(counter: Counter) -> list[bytes]:
    return written(counter.directory)["default"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: errno.errorcode[error])
def test_a_start_on_a_failing_disk_is_refused_in_one_sentence_and_loses_nothing(short: Counter, error: int) -> None:
    """Each step in turn, of a start that has half a line to cut off, a closing to finish and a new event to begin."""
    mode = short.opened("file_lock")
    fill(mode, short.directory)
    short.close()
    directory = short.directory
    journal.closed_path(directory / "default.jsonl", 0).hardlink_to(directory / "default.jsonl")
    with (directory / "default.jsonl").open("ab") as file:
        file.write(b'{"version":9,"half')
    before = written(directory)["default"]
    for step in range(STEPS_MAX):
        (directory / "new.json").write_text('{"count": 3}')
        with pytest.MonkeyPatch.context() as patch:
            failing = FailingDisk(patch, step, error)
            try:
                recovery.prepare(directory, "a test").free()
            except Refused as refused:
                assert "cannot be used" in str(refused) or "could not be synced" in str(refused)
            else:
                assert failing.failed in {"", "unlink", "sync_names"}
        if stopped.marks(directory):
            repaired(directory)
        assert written(directory)["default"] == before
        if not failing.failed:
            break
    recovery.prepare(directory, "a test", verify=True).free()
    assert inspected(directory).wrong == []
    assert look(short.opened("file_lock")).version == len(before)


def test_an_event_that_is_read_from_a_damaged_place_is_not_sold_from(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two whole lines in each other's place, in a journal that a start does not read: whoever reads it sees that it
    does not give what its document says, and does not take the lines that do not follow for those of a late writer.
    """
    monkeypatch.setattr(recovery, "READ_BYTES_MAX", 100)
    mode = counter.opened("file_lock")
    for _ in range(6):
        sell(mode)
    counter.close()
    path = counter.directory / "default.jsonl"
    first, one, two, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, two, one, *rest]))
    claimed = recovery.prepare(counter.directory, "a test")
    counter.claims.append(claimed.descriptor)
    again = counter.joined("file_lock")
    assert isinstance(again.store, type(mode.store))
    again.store.believed = claimed.believed  # type: ignore[attr-defined]  # as the catalogue gives it to the store
    for _ in range(2):
        with pytest.raises(Damaged, match="do not give what its document says"):
            again.execute(buying())
    assert len(changes(counter)) == 6
    assert "version 2 comes too early" in "".join(inspected(counter.directory).wrong)
