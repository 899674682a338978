"""What the tests share: a counter on a fresh store, a service over HTTP, and a real browser."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from typing import TYPE_CHECKING

import hypothesis
import pytest
from playwright.sync_api import expect, sync_playwright

from loadtest import serve
from tests import ports
from tests.counter import Counter
from tests.databases import Databases
from tests.waiting import PATIENCE_S

# A deadline for a test case is a timed assertion, which a busy machine fails.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
expect.set_options(timeout=1000 * PATIENCE_S)  # as above

serve.PORTS = ports.of_this_process()

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from loadtest.serve import Service

BROWSER_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
BROWSER_ARGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    """A counter with ten tickets, in the article's own form."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    (directory / "default.json").write_text('{"count": 10}')
    made = Counter(directory)
    yield made
    made.close()


@pytest.fixture(scope="session")
def fresh_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address of a fresh, empty database, by an engine's scheme. All who test side by side share the engines."""
    own = tmp_path_factory.getbasetemp()
    databases = Databases(own.parent if ports.SIDE_BY_SIDE else own)
    yield databases.fresh
    databases.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services over HTTP; all of them are stopped at the end."""
    with contextlib.ExitStack() as stack:
        number = itertools.count(1)

        def start(mode: str, tickets: int = 10, **flags: object) -> Service:
            folder = tmp_path / f"service-{next(number)}"
            (folder / "data").mkdir(mode=0o700, parents=True)
            (folder / "data" / "default.json").write_text(f'{{"count": {tickets}}}')
            return stack.enter_context(serve.service(folder, {"mode": mode, "workers": 2, "threads": 4, **flags}))

        yield start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Without it the tests are skipped at home, and fail where CI is set."""
    program = shutil.which("chromium")
    if program is None:
        why = "there is no Chromium to open pages in: apt install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=BROWSER_ARGS)
        yield browser
        browser.close()
