"""Modes of other packages: found by an entry point, judged as ours are, and refused in one sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service import catalogue
from service.settings import Settings, WrongSetting
from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Callable

    Package = Callable[..., None]

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "own-mode.md"
CLAIM = 'Claim("processes", ("power loss",), "polls", False, "a price")'
MODE = f"""
from service.mode import Claim

class Theirs:
    name = "theirs"
    claim = {CLAIM}

    def __init__(self, store, decide, wait_s):
        self.store = store

    def open(self): ...
    def execute(self, command): ...
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example's folder, with the package beside it in ``site``, as pip installs it."""
    home = tmp_path_factory.mktemp("own") / "own_lock"
    shutil.copytree(ROOT / "examples" / "own_lock", home)
    words = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "install", *words, "--target", str(home / "site"), str(home)]
    subprocess.run(command, check=True, timeout=PROGRAM_S)
    return home


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Have a package that is called so, with its code and its entry points: as pip leaves them."""

    def have(code: str, name: str = "their-lock", points: str = "theirs = {module}:Theirs") -> None:
        module = name.replace("-", "_")
        folder = tmp_path / name
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[turnstile.modes]\n{points.format(module=module)}\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return have


def told(command: str, home: Path) -> str:
    """Run a line of the page as a reader would, and return what it printed."""
    path = os.pathsep.join((str(home / "site"), str(ROOT)))
    environment = os.environ | {
        "PYTHONPATH": path,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    words = ["bash", "-c", command]
    ended = subprocess.run(
        words, cwd=home, env=environment, capture_output=True, text=True, timeout=PROGRAM_S, check=False
    )
    return ended.stdout + ended.stderr


def test_the_page_goes_from_nothing_to_a_verdict(installed: Path) -> None:
    """Every command of the page is run, in the example's folder, and prints what is shown below it."""
    shown = re.findall(r"```console\n\$ (.*?)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [command.split()[2 if command.startswith("python") else 0] for command, _ in shown] == [
        *("service", "loadtest", "loadtest", "pytest"),
    ]
    for command, lines in shown:
        printed = plain(told(command, installed))
        for line in plain(lines).splitlines():
            assert line in printed, f"{command} did not print {line!r}, but:\n{printed}"


def plain(text: str) -> str:
    """Return what is printed without what differs from run to run: what exactly went wrong, and how often."""
    return re.sub(r"(?m)^    worker .*\n|(?<=it was caught: ).*", "", text)


def test_the_promises_catch_the_mode_that_is_wrong(installed: Path) -> None:
    """Threads are inside together, which the claim denies; what it does keep is not complained of."""
    printed = told("pytest tests/test_record_lock_alone.py -k 'two_are_inside or alone_every'", installed)
    assert "1 failed, 2 passed" in printed
    assert "FAILED tests/test_record_lock_alone.py::TestRecordLockAlone::test_two_are_inside_at_once" in printed
    assert "[record_lock_alone-threads]" in printed


def test_a_mode_of_a_package_is_built_like_ours(package: Package, tmp_path: Path) -> None:
    """By its name, on a store of files, with a trace if one is asked for."""
    package(MODE)
    assert catalogue.chosen(Settings(mode="theirs")).mode == "theirs"
    for trace in (None, tmp_path):
        mode, _ = catalogue.build(Settings(mode="theirs", data=tmp_path / f"data-{trace is None}", trace=trace))
        assert (mode.name, mode.claim.reach) == ("theirs", "processes")
    lines, wrong = catalogue.listed()
    assert json.loads(lines[-1])["package"] == "their-lock 1.0"
    assert wrong == []


def test_a_mode_of_a_package_is_for_files(package: Package) -> None:
    """An address is refused with it, as with our own modes on files."""
    package(MODE)
    with pytest.raises(WrongSetting, match="expected no address: it is for files for the mode theirs"):
        catalogue.chosen(Settings(mode="theirs", url="sqlite:///tickets.db"))


WRONG = {
    "raise ValueError('no good')": r"their_lock:Theirs cannot be imported: ValueError: no good",
    "import nowhere_to_be_found": r"cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    "Other = 1": r"cannot be imported: AttributeError: module 'their_lock' has no attribute 'Theirs'",
    "Theirs = 1": r"their_lock:Theirs is 1, where a class is expected",
    MODE.replace('name = "theirs"', 'name = "other"'): r"calls itself 'other': give it and its entry point one name",
    MODE.replace(CLAIM, "None"): r"it claims nothing: give the class a claim",
    MODE.replace('"processes"', '"the world"'): r"its claim says reach 'the world', where 'nowhere' or 'threads'",
    MODE.replace('("power loss",)', '"power loss"'): r"its claim says survives 'power loss', where",
    MODE.replace('"polls"', '"sings"'): r"its claim says waits 'sings', where",
    MODE.replace('"processes"', '"hosts"'): r"its claim reaches to hosts, and files",
    MODE.replace('"a price"', '""'): r"its claim must say .* its price, in one sentence",
}


@pytest.mark.parametrize("code", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_with_a_package_is_one_sentence_that_names_it(package: Package, code: str) -> None:
    """When it is asked for; and the list has all others, with the sentence beside it."""
    package(code)
    with pytest.raises(
        WrongSetting, match=r"the mode 'theirs' of the package their-lock 1\.0 cannot be used: "
    ) as raised:
        catalogue.chosen(Settings(mode="theirs"))
    assert re.search(WRONG[code], str(raised.value))
    assert "\n" not in str(raised.value)
    lines, wrong = catalogue.listed()
    assert len(lines) == len(catalogue.MODES)
    assert wrong == [str(raised.value)]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (MODE.replace("self.store = store", "store.nothing"), r"its class raised AttributeError: .* when it was built"),
        (MODE.replace("def execute", "def other"), r"it has no execute, as service.mode.Mode has"),
    ],
)
def test_a_mode_that_cannot_be_built_is_refused_before_a_worker_starts(
    package: Package, tmp_path: Path, code: str, why: str
) -> None:
    """What its class raises, or lacks."""
    package(code)
    with pytest.raises(WrongSetting, match=rf"the mode 'theirs' of the package their-lock 1\.0 .*{why}"):
        catalogue.build(Settings(mode="theirs", data=tmp_path / "data"))


def test_a_name_is_one_modes(package: Package) -> None:
    """Ours are never another's, and two packages cannot bring one name."""
    package(MODE.replace('"theirs"', '"file_lock"'), points="file_lock = {module}:Theirs")
    assert catalogue.builder("file_lock") is catalogue.MODES["file_lock"]
    (sentence,) = catalogue.listed()[1]
    assert "'file_lock' of the package their-lock 1.0 cannot be used: Turnstile has a mode of this name" in sentence
    package(MODE, name="first-lock")
    package(MODE, name="second-lock")
    both = "the packages first-lock 1.0 and second-lock 1.0 both bring a mode 'theirs': remove one of them"
    with pytest.raises(WrongSetting, match=both):
        catalogue.chosen(Settings(mode="theirs"))
    assert both in catalogue.listed()[1]


def test_a_start_in_a_mode_of_ours_looks_at_no_package() -> None:
    """To read what is installed would cost every start."""
    code = (
        "from service import catalogue, plugins, settings; plugins.entry_points = None; "
        "print(catalogue.chosen(settings.Settings(mode='file_lock')).mode)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PROGRAM_S)
    assert ended.stdout == "file_lock\n"
