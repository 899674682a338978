"""The house is in order: lint, format, types, import contracts, and the bounds of section 8 of the design."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
MODE_LINES_MAX = 65
FILE_LINES_MAX = 250


@pytest.mark.parametrize(
    "command",
    ["ruff check", "ruff format --check", "mypy", "lint-imports"],
)
def test_the_checks_pass(command: str) -> None:
    """Lint with all of ruff's rules, its format, mypy strict, and the contracts on who imports whom."""
    program, *words = command.split()
    ended = subprocess.run([BIN / program, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_technique_is_one_short_file() -> None:
    """A mode has at most 65 lines; any other file of ours holds one idea and stays near 250."""
    lines = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for folder in ("service", "loadtest", "promises")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lines
    assert {
        path: count
        for path, count in lines.items()
        if count > (MODE_LINES_MAX if path.parent.name == "modes" else FILE_LINES_MAX)
    } == {}


def test_the_lock_file_pins_every_dependency_with_hashes_and_names_no_registry() -> None:
    """What pyproject.toml asks for is pinned, and every pin has a hash."""
    text = (ROOT / "requirements.lock").read_text()
    assert "//" not in text
    pins = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z0-9-]+==\S+", pin) and "--hash=sha256:" in pin for pin in pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["loadtest"],
        *project["dependency-groups"]["dev"],
    ]
    names = {re.split(r"[<>=\[]", each)[0].lower() for each in asked}
    assert names <= {pin.partition("==")[0] for pin in pins}


def test_every_ignored_rule_has_a_reason() -> None:
    """In the list of pyproject.toml, and at every ``noqa`` and ``type: ignore``."""
    block = (ROOT / "pyproject.toml").read_text().partition("[tool.ruff.lint]")[2].partition("[tool.importlinter]")[0]
    rules = [line for line in block.splitlines() if re.match(r'\s+"[A-Z]+\d+",', line)]
    assert rules
    assert [line for line in rules if "#" not in line] == []
    places = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("service", "loadtest", "promises", "docs")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"# (noqa|type: ignore)", line)
        and not re.search(r"# (noqa: [A-Z0-9, ]+|type: ignore\S+)  # \S", line)
    ]
    assert places == []
