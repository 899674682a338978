"""The tutorial and the seed's chapters: each command is run, and what comes is what is shown, figures aside.

A schedule of faults takes up to half a minute, and by chance a worker that is killed may be the holder: then other rows
come than are shown. So its commands are run with ``TURNSTILE_TUTORIAL=all`` only, and ``test_faulty_services.py`` runs
such schedules by itself. What is shown of them is held to the claims at all times.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from docs import tutorial_page
from loadtest.__main__ import main as load_test
from service.catalogue import CLAIMS
from tests.test_how_to import followed, steps
from tests.tutorial import LOAD_TEST, PAGES, ROOT, kept, same, written

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = "--faults"
ALL = os.environ.get("TURNSTILE_TUTORIAL") == "all"
TRIES_MAX = 3
"""A load test of seconds, on a machine that does other things too, may not be able to tell."""
PROGRAMS = {"11-postgresql": "postgres", "12-redis": "redis-server", "13-etcd": "etcd"}
PACKAGES = {"postgres": "postgresql", "redis-server": "redis-server", "etcd": "etcd-server"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_chapter_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    """Every verdict, mode, and name of an anomaly; and none where none is shown, one where one is."""
    _printed(page)
    _needed(PROGRAMS.get(page.stem))
    shown = [(command, lines) for command, lines in steps(page.read_text()) if ALL or FAULTS not in command]
    if not shown:
        pytest.skip("each command has faults, which take long: TURNSTILE_TUTORIAL=all runs it")
    for turn in range(1, TRIES_MAX + 1):
        place = tmp_path / str(turn)
        place.mkdir()
        printed = followed([command for command, _ in shown], place)
        rows = [(*step, came) for step, came in zip(shown, printed, strict=True) if not same(*step, came)]
        if not rows:
            return
    command, lines, came = rows[0]
    pytest.fail(f"{page.stem}: {command}\nprinted\n{came}\nand shown is\n{lines}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_chapter_shows_output_and_asks_for_what_there_is(page: Path) -> None:
    """Its load tests can be parsed, name modes that there are, and end as claimed; faults are those that a mode names.

    A mode that is caught under a fault is one that does not say it survives it, and the other way round.
    """
    _printed(page)
    commands = steps(page.read_text())
    assert any(lines for _, lines in commands)
    for command, lines in commands:
        if LOAD_TEST not in command:
            continue
        words = command.partition(";")[0].partition(LOAD_TEST)[2].split()
        options = load_test.commands["compare"].make_context("compare", words).params
        modes = options["modes"].split(",")
        assert set(modes) <= set(CLAIMS)
        for mode in modes:
            assert re.search(rf"^{mode}: as claimed \(", lines, re.MULTILINE), command
        fault = {"kill": "killed holder", "pause": "paused holder"}.get(str(options["faults"]))
        if fault:
            (mode,) = modes
            assert fault in lines
            assert ("was caught" in lines) == (fault not in CLAIMS[mode].survives), command


def test_what_a_load_test_did_not_print_is_noticed() -> None:
    """Another verdict, another mode, an anomaly where none was, none where one was; the tests above can fail."""
    command = f"python {LOAD_TEST} --modes no_lock"
    head = "       lost  sold  torn\n mode  sold left updates twice reads verdict\n ─────────\n"
    noise = " \n other \n mode p90 \n ───── \n no_lock 3 \n \n"
    caught = "it was caught: double sale x 5, lost update x 19"
    told = f"no_lock: as claimed ({caught})\n    worker 1 read\nreport: x\n    no_lock: 0.13 of the ceiling\n"
    came = f"run\n \n{head} no_lock   65   8  19   5  0 as claimed \n{noise}{told}"
    shown = "\n".join(kept(command, came))
    assert shown.startswith("...\n       lost")
    assert "p90" not in shown
    assert "ceiling" not in shown
    assert same(command, shown, came)
    assert same(command, shown, came.replace("65   8  19   5", "7  1  2  3").replace("x 5", "x 3"))
    for before, after in (
        ("no_lock: as claimed", "no_lock: could not tell"),
        (" no_lock   65", " naive   65"),
        ("  19   5", "  0   5"),
        ("  19   5", "  19   0"),
        ("double sale x 5, ", ""),
        ("    worker 1 read\n", ""),
    ):
        assert before in came
        assert not same(command, shown, came.replace(before, after)), after


def test_output_is_written_below_its_command() -> None:
    """What stood there is gone, and nothing else is touched."""
    page = "text\n```sh\nls\n```\n```console\n$ one\nold\n$ two\n```\nmore\n"
    assert written(page, ["1\n", "2\n\n3\n"]) == "text\n```sh\nls\n```\n```console\n$ one\n1\n$ two\n2\n3\n```\nmore\n"


def test_every_mode_that_a_chapter_is_about_is_shown_as_it_is() -> None:
    """An excerpt has the code's own lines, in one piece each."""
    text = "".join(page.read_text() for page in PAGES)
    for mode, methods in tutorial_page.METHODS.items():
        assert f"<!-- inside {mode} -->\n```python\n" in text
        code = (ROOT / "service" / "modes" / f"{mode}.py").read_text()
        for method in methods:
            assert f"    def {method}(" in code
            assert f"def {method}(" in tutorial_page.excerpt(mode)


def test_chapters_lead_to_the_next() -> None:
    """And the list of contents has them all."""
    chapters = [page for page in PAGES if page.parent.name == "tutorial"]
    assert len(chapters) == 13
    contents = (ROOT / "docs" / "tutorial" / "index.md").read_text()
    for chapter, after in zip(chapters, [*chapters[1:], None], strict=True):
        assert f"]({chapter.name})" in contents
        assert after is None or f"Next: [{int(after.name[:2])}. " in chapter.read_text()
        assert after is None or f"]({after.name})" in chapter.read_text()


def _printed(page: Path) -> None:
    """Skip a chapter that was never run where it was written; it is run, and compared, from when it has been."""
    if not all(lines for command, lines in steps(page.read_text()) if LOAD_TEST in command):
        pytest.skip(f"it shows no output yet: python -m tests.tutorial {page.stem}")


def _needed(program: str | None) -> None:
    if program and shutil.which(program) is None:
        why = f"there is no {program}: apt install {PACKAGES[program]}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
