"""Trying again what came second."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from service.again import PAUSE_S, PAUSE_S_MAX, TRIES_MAX, again
from service.mode import Busy, Conflict, Unknown


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are asked for, and not made; each is as long as it may be."""
    made: list[float] = []
    monkeypatch.setattr("service.again.time.sleep", made.append)
    monkeypatch.setattr("service.again.random.uniform", lambda _, bound: bound)
    return made


def test_what_came_second_is_tried_again_until_it_comes_first(pauses: list[float]) -> None:
    """One pause between two tries, each bound twice the last."""
    attempt = Mock(side_effect=[Conflict(), Conflict(), "done"])
    assert again(attempt, 10.0) == "done"
    assert pauses == [PAUSE_S, 2 * PAUSE_S]


def test_tries_have_a_limit_and_then_certainly_nothing_was_done(pauses: list[float]) -> None:
    """TRIES_MAX tries, pauses that stop growing, and ``Busy``."""
    attempt = Mock(side_effect=Conflict)
    with pytest.raises(Busy, match="the counter was busy, so"):
        again(attempt, 100.0)
    assert attempt.call_count == TRIES_MAX
    assert max(pauses) == PAUSE_S_MAX


def test_nobody_begins_a_pause_that_is_longer_than_their_patience(pauses: list[float]) -> None:
    """The order is refused at once instead."""
    attempt = Mock(side_effect=Conflict)
    with pytest.raises(Busy):
        again(attempt, 0.0)
    assert (attempt.call_count, pauses) == (1, [])


def test_what_is_no_conflict_is_not_tried_again(pauses: list[float]) -> None:
    """Above all not what may have been done."""
    attempt = Mock(side_effect=Unknown("who knows"))
    with pytest.raises(Unknown):
        again(attempt, 10.0)
    assert (attempt.call_count, pauses) == (1, [])
