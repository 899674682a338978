"""How-tos are followed by their text alone: each command of a page is run, and prints what is shown below it.

A page opts in by a comment (``MARK``), which may name programs that it needs. Its ``console`` blocks are one session of
one shell, in a folder in which nothing was done yet. Ports are exchanged for free ones. What differs from run to run is
not compared: identifiers and fractions in JSON, elsewhere numbers of more than a digit. A line ``...`` stands for any
number of lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtest import serve
from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"<!-- the commands of this page are run by tests/test_how_to\.py(?:, with ([\w, -]+))? -->")
WRITTEN = sorted(path for place in ("docs", "examples") for path in (ROOT / place).rglob("*.md"))
PAGES = [path for path in WRITTEN if MARK.search(path.read_text())]
SERVED = "8000"
"""The port at which a service listens that is told nothing else."""
PORT = re.compile(r"\b8(?:0\d\d|443)\b")
DATABASE = "postgresql://turnstile:secret@db.example.com/tickets"
"""The address of a database on the pages; a private server has another."""
FIGURE = re.compile(r"\d*\.\d+|\d{2,}|\d(?= requests)")
"""What was measured or counted in a run. Not an exit code, nor how many processes there are."""
LOAD_TEST, UNTOLD, TRIES_MAX = "-m loadtest", "exit 2", 3
"""A load test of a second, on a machine that does other things too, may not be able to tell; no page shows that."""
STEP = "--- step"
BEGIN = "export TMPDIR=$PWD"
"""So that a temporary directory that is not removed is seen."""
SHELL = "umask; compgen -e TURNSTILE_; ls --ignore={runs,data,secrets} | cat"
"""What a page may change for the next one, but for what git ignores."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_prints_what_is_shown(
    page: Path, tmp_path: Path, fresh_url: Callable[[str], str]
) -> None:
    """In the order of the page, and nothing else is printed. The next page finds shell and folder as they were."""
    text = page.read_text()
    text = text.replace(DATABASE, fresh_url("postgresql")) if DATABASE in text else text
    for program in re.findall(r"[\w-]+", (MARK.search(text) or [""])[1] or ""):
        _needed(program)
    shown = steps(text)
    assert shown, f"{page.name} has no console block"
    for turn in range(TRIES_MAX):
        place = tmp_path / str(turn)
        place.mkdir()
        _, before, *printed, after = followed([BEGIN, SHELL, *(command for command, _ in shown), SHELL], place)
        if not any(
            LOAD_TEST in command and UNTOLD in lines for (command, _), lines in zip(shown, printed, strict=True)
        ):
            break
    for (command, expected), lines in zip(shown, printed, strict=True):
        if not agree(expected, lines):
            pytest.fail(f"{page.name}: {command}\nprinted\n{lines}\nand shown is\n{expected}\n{_logs(place)}")
    assert after == before, f"{page.name} leaves something behind"


def test_what_is_not_as_shown_is_noticed(tmp_path: Path) -> None:
    """Another line, one too few, one too many, another number in JSON; the test above can fail."""
    page = '```console\n$ printf \'%s\\n\' "{\\"left\\":3}" "took 17 ms" "exit 2"\n...\n```\n'
    (command, _), *_ = steps(page)
    (printed,) = followed([command], tmp_path)
    assert agree('{"left":3}\ntook 0.9 ms\nexit 2', printed)
    assert agree("...\nexit 2", printed)
    assert agree('{"left":3}\n...', printed)
    for wrong in (
        '{"left":4}\ntook 0.9 ms\nexit 2',
        '{"left":3}\ntook 9.2 s\nexit 2',
        "...\ntook 0.9 ms",
        "exit 2\n...",
        "...\nexit 0",
        "",
    ):
        assert not agree(wrong, printed), wrong


def steps(text: str) -> list[tuple[str, str]]:
    """Return the commands of a page, each with the lines that are shown below it."""
    session = "".join(re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    commands = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    return [(command, shown) for command, _, shown in (each.partition("\n") for each in commands)]


def followed(commands: list[str], folder: Path) -> list[str]:
    """Run commands in one shell, and return what each of them printed. Nothing of it runs on after."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv").symlink_to(sys.prefix)
    written = sorted({SERVED, *PORT.findall("".join(commands))})
    ports = dict(zip(written, map(str, serve.free_ports(len(written))), strict=True))
    (folder / "docs").mkdir()
    for path in (ROOT / "docs").glob("*.conf"):
        (folder / "docs" / path.name).write_text(
            PORT.sub(lambda found: ports.get(found[0], found[0]), path.read_text())
        )
    told = "\n".join(f"echo '{STEP}'\n{PORT.sub(lambda found: ports[found[0]], each)}" for each in commands)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTILE_")}
    environment |= {"PATH": f"{os.environ['PATH']}:/usr/sbin"}  # where Debian has servers
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TURNSTILE_BIND": f"127.0.0.1:{ports[SERVED]}"}
    output = folder / "printed"
    with output.open("wb") as printed:
        words = ["bash", "-c", told]
        shell = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
            start_new_session=True,
        )  # fmt: skip
        try:
            shell.wait(PROGRAM_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return [lines.removeprefix("\n") for lines in output.read_text().split(STEP)[1:]]


def agree(shown: str, printed: str) -> bool:
    """Tell whether what was printed is what is shown, but for what differs from run to run."""
    parts = [re.escape(_uniform(line)) + "\n" if line != "..." else r"(?:.*\n)*?" for line in shown.splitlines()]
    lines = "".join(f"{_uniform(line)}\n" for line in printed.splitlines() if line)
    return re.fullmatch("".join(parts), lines) is not None


def _logs(folder: Path) -> str:
    """Return what the programs of a page wrote into logs: why they did not print what is shown."""
    return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(folder.rglob("*.log")))


def _uniform(line: str) -> str:
    """Return a line without what differs from run to run."""
    if not line.startswith("{"):
        return FIGURE.sub("N", re.sub(r"(?<=it was caught: ).*", "", line)).rstrip()
    line = re.sub(r'"crc":"[0-9a-f]{8}"', '"crc":""', re.sub(r"\b[0-9a-f]{40}\b", "ORDER", line))
    return re.sub(r"\d+\.\d+", "N", line)


def _needed(program: str) -> None:
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        why = f"there is no {program}: apt install {program}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
