"""What the tests share: a counter on a fresh store, and a service over HTTP."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import hypothesis
import pytest

from loadtest import serve
from tests.counter import Counter

# A deadline for a test case is a timed assertion, which a busy machine fails.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.serve import Service


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    """A counter with ten tickets, in the article's own form."""
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "default.json").write_text('{"count": 10}')
    made = Counter(directory)
    yield made
    made.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services over HTTP; all of them are stopped at the end."""
    with contextlib.ExitStack() as stack:
        number = itertools.count(1)

        def start(mode: str, tickets: int = 10, **flags: object) -> Service:
            folder = tmp_path / f"service-{next(number)}"
            (folder / "data").mkdir(parents=True)
            (folder / "data" / "default.json").write_text(f'{{"count": {tickets}}}')
            return stack.enter_context(serve.service(folder, {"mode": mode, "workers": 2, "threads": 4, **flags}))

        yield start
