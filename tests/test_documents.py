"""The documents are true: what is generated is fresh, and what the README shows is what happens."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from docs import generate
from loadtest import __main__ as load_test
from service import __main__ as service
from service.catalogue import CLAIMS
from tests.counter import ON_FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.serve import Service

ROOT = Path(__file__).parent.parent


def test_generated_parts_are_fresh() -> None:
    """``make docs`` would change nothing."""
    for path in generate.DOCUMENTS:
        assert path.read_text() == generate.made_again(path.read_text()), f"{path.name} is stale: make docs"


def test_a_stale_table_is_noticed() -> None:
    """The test above can fail: a claim that changes changes the text."""
    everything = "".join(path.read_text() for path in generate.DOCUMENTS)
    for name in generate.PARTS:
        assert f"<!-- {name} -->\n" in everything
    text = (ROOT / "README.md").read_text()
    assert generate.made_again(text.replace("| processes | killed holder", "| hosts | killed holder")) == text


def test_the_table_of_the_readme_has_every_mode() -> None:
    """In the generated table, and in the one that ``make demo`` printed."""
    text = (ROOT / "README.md").read_text()
    for name in CLAIMS:
        assert f"[`{name}`](service/modes/{name}.py)" in text
        assert name not in ON_FILES or re.search(rf"^\| {name} \| \d+ \|", text, re.MULTILINE)


def test_the_list_of_commands_has_whole_sentences() -> None:
    """Of both command lines, in 80 columns."""
    for group in (service.command(), load_test.main):
        listed = group.get_help(click.Context(group, terminal_width=80)).partition("Commands:")[2]
        assert len(group.commands) >= 3
        for name, line in zip(sorted(group.commands), listed.strip().splitlines(), strict=True):
            assert re.fullmatch(rf" *{name} .*[^.]\.", line), line


def test_every_link_of_the_documents_leads_somewhere() -> None:
    """Files that the documents point to exist."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} points to {target}"


def test_the_tests_that_the_threat_model_names_are_there() -> None:
    """By file and function."""
    named = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", (ROOT / "docs" / "threat-model.md").read_text())
    assert len(named) > 15
    for file, function in named:
        assert not function or f"def {function}(" in (ROOT / file).read_text(), f"{file}::{function}"
        assert (ROOT / file).exists()


def test_the_curl_session_of_the_readme_happens_as_shown(served: Callable[..., Service]) -> None:
    """Each ``$ curl`` line is run; what it prints is what stands below it, but for identifiers and times."""
    service = served("file_lock", tickets=100)
    url = service.url
    sessions = re.findall(r"```console\n(\$ curl.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(sessions) == 3
    order = ""
    for step in "".join(sessions).split("$ ")[1:]:
        command, _, shown = step.partition("\n")
        if command.startswith("ORDER="):
            continue
        here = command.replace("http://127.0.0.1:8000", url).replace("$ORDER", order)
        words = shlex.split(here.replace("sixteen-or-more-characters", service.token))
        printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found = re.search(r'"order":"([0-9a-f]{40})"', printed)
        order = found[1] if found else order
        assert uniform(printed) == uniform(shown), command


def uniform(text: str) -> object:
    """Return JSON without what differs from run to run."""
    values = json.loads(text)
    return {name: value for name, value in values.items() if name not in {"order", "expires_at"}}
