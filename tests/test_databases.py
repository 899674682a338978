"""The servers that processes which test side by side share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.databases import Databases
from tests.processes import alive_in
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Databases, Databases]]:
    """What two processes have that test side by side."""
    one, other = Databases(tmp_path), Databases(tmp_path)
    yield one, other
    one.close()
    other.close()


def test_two_share_a_server_and_no_database(pair: tuple[Databases, Databases], tmp_path: Path) -> None:
    """It is there as long as one of them is, then it is gone; and the next one starts another."""
    one, other = pair
    first, second = one.fresh("redis"), other.fresh("redis")
    assert first != second
    assert first.partition("?")[0] == second.partition("?")[0]
    one.close()
    assert other.fresh("redis") not in {first, second}
    other.close()
    until(lambda: alive_in(tmp_path) == [])
    again = Databases(tmp_path)
    assert again.fresh("redis").startswith("redis://")
    again.close()
    until(lambda: alive_in(tmp_path) == [])


def test_files_of_two_are_two(pair: tuple[Databases, Databases]) -> None:
    """SQLite needs no server, and a name of its own for each."""
    one, other = pair
    assert len({each.fresh("sqlite") for each in (one, other, one)}) == 3


def test_a_server_that_is_missing_is_told_to_all(
    pair: tuple[Databases, Databases], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A skip at home that says how to get it, a failure where CI is set."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CI", raising=False)
    for each in pair:
        with pytest.raises(pytest.skip.Exception, match="there is no etcd server here: apt install"):
            each.fresh("etcd")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="there is no etcd server here: apt install"):
        pair[0].fresh("etcd")
