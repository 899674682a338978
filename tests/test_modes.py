"""Every mode of ours against every promise within its reach, and each mode caught beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from promises import Promises
from service.catalogue import CLAIMS, SCHEMES
from service.modes import lease, redis_lock
from service.stores import postgres_link
from tests.counter import EngineCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.counter import AnyCounter, Counter


class TestEveryMode(Promises):
    """The suite that other packages use for theirs."""

    claims = CLAIMS
    engines = SCHEMES
    undecided = ("postgres_conditional", "redis_script", "redis_group")
    one_at_a_time = ("sqlite",)

    @pytest.fixture
    def counter(self, counter: Counter, fresh_url: Callable[[str], str], name: str) -> Iterator[AnyCounter]:
        """A counter with ten tickets that is fit for the mode: on files, or on a fresh database of its engine."""
        if name not in SCHEMES:
            yield counter
            return
        made = EngineCounter(fresh_url(SCHEMES[name]))
        yield made
        made.close()

    @pytest.fixture
    def patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever stands still inside, as a test or a busy machine has it, is not taken for one who is paused."""
        monkeypatch.setattr(postgres_link, "PAUSED_S", 60.0)
        for each in (lease, redis_lock):
            monkeypatch.setattr(each, "LEASE_S", 60.0)
