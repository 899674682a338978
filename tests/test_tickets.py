"""Which tickets are sold and held, for who only looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.commands import Hold
from service.values import Event, TicketMap
from tests.counter import Counter, buying, sell

if TYPE_CHECKING:
    import pytest

    from service.mode import Mode


def mapped(mode: Mode, first: int = 1, last: int = 100) -> TicketMap:
    seen = mode.store.tickets("default", first, last)
    assert isinstance(seen, TicketMap)
    return seen


def test_who_looks_at_the_tickets_sees_runs_of_those_that_were_asked_for(counter: Counter) -> None:
    """Sold and held ones apart, within the capacity; a part of them as it is."""
    mode = counter.opened("file_lock")
    sell(mode, 2)
    mode.execute(Hold(buying().order, "default", 3, 60.0))
    sell(mode, 1)
    event = Event("default", 10, 4, 3)
    assert mapped(mode) == TicketMap(event, ((1, 2), (6, 6)), ((3, 5),))
    assert mapped(mode, 2, 4) == TicketMap(event, ((2, 2),), ((3, 4),))
    assert mapped(mode, 11, 99) == TicketMap(event, (), ())


def test_who_looks_at_the_tickets_sees_what_the_document_says_and_never_less(counter: Counter) -> None:
    """A line that its document does not cover may not be on disk yet; a document that went back is not believed."""
    mode = counter.opened("file_lock")
    path = counter.directory / "default.json"
    sell(mode)
    first = path.read_bytes()
    sell(mode)
    second = path.read_bytes()
    path.write_bytes(first)
    assert mapped(mode).event.version == 1
    path.write_bytes(second)
    assert mapped(mode).event.version == 2
    path.write_bytes(first)
    assert mapped(mode).event.version == 2


def test_only_so_many_events_are_followed_and_the_others_are_read_again(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgotten, an event's tickets are the same."""
    monkeypatch.setattr("service.stores.tickets.FOLLOWED_MAX", 2)
    mode = counter.opened("file_lock")
    names = ["a", "b", "c"]
    for number, name in enumerate(names, 1):
        assert mode.store.create(name, 9)
        mode.execute(buying(number, event=name))
    for name in names * 2:
        seen = mode.store.tickets(name, 1, 9)
        assert isinstance(seen, TicketMap)
        assert seen.sold == ((1, names.index(name) + 1),)
        assert len(mode.store._tickets._followed) <= 2  # type: ignore[attr-defined]  # noqa: SLF001  # nothing else tells
