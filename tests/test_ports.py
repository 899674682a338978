"""The ports of tests that run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest import serve
from tests import ports

if TYPE_CHECKING:
    import pytest


def test_no_port_belongs_to_two_processes() -> None:
    """However many test, or follow one that ended; each has enough, and none of a load test that is a program."""
    program = set(range(20_000, 32_000))
    for processes in range(1, 17):
        shares = [ports.share(number, processes) for number in range(processes + ports.SPARE)]
        assert sum(map(len, shares)) == len(program.union(*shares)) - len(program)
        assert min(map(len, shares)) > serve.PORT_TRIES


def test_services_take_the_ports_of_their_process() -> None:
    """Of this one, wherever it was started."""
    assert ports.of_this_process() == serve.PORTS
    assert serve.free_port() in ports.of_this_process()


def test_several_ports_are_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among as few as are tried, each is drawn again soon."""
    some = ports.of_this_process()[: serve.PORT_TRIES]
    monkeypatch.setattr(serve, "PORTS", some)
    drawn = serve.free_ports(len(some) // 2)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == len(some) // 2
    assert set(drawn) <= set(some)
