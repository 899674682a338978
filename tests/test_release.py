"""What is released: a wheel and the source are built, the wheel is installed in a clean environment, and it sells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from packaging.requirements import Requirement

from loadtest import serve
from service import __version__
from tests.waiting import PROGRAM_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = ("service", "loadtest", "promises")


def run(*words: str | Path, cwd: Path, **more: str) -> str:
    """Run a program that knows nothing of this folder, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    ended = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def built(source: Path, target: Path, *kinds: str) -> dict[str, Path]:
    """Build what is released, and return the files by what their names end with."""
    targets = [word for kind in kinds for word in ("-t", kind)]
    run(sys.executable, "-m", "hatchling", "build", "-d", target, *targets, cwd=source)
    return {path.name.rpartition(".")[2]: path for path in target.iterdir()}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel (``whl``) and the source (``gz``)."""
    return built(ROOT, tmp_path_factory.mktemp("dist"), "wheel", "sdist")


def linked(place: Path, wheel: Distribution, extra: str = "") -> None:
    """Let a folder have what a wheel asks for, and what that asks for in turn, from what is here; and nothing else."""
    for requirement in map(Requirement, wheel.requires or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        asked_for = distribution(requirement.name)
        for top in {file.parts[0] for file in asked_for.files or []} - {"..", "__pycache__"}:
            if not (place / top).exists():
                (place / top).symlink_to(str(asked_for.locate_file(top)))
        for more in requirement.extras or {""}:
            linked(place, asked_for, more)


@pytest.fixture(scope="module")
def installed(release: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that has the wheel, and of the packages that are here those it asks for."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=ROOT)
    words = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", str(release["whl"])]
    run(sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", *words, cwd=home)
    (site,) = home.glob("lib/python*/site-packages")
    linked(site, of_wheel(site))
    return home / "bin"


def of_wheel(site: Path) -> Distribution:
    """Return what an environment says of the wheel."""
    (found,) = distributions(name="turnstile", path=[str(site)])
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(release: dict[str, Path]) -> None:
    """Pages, Lua and SQL too, byte for byte; no tests, no benchmarks; and the licence."""
    there = contents(release["whl"])
    ours = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name: text for name, text in there.items() if ".dist-info/" not in name} == ours
    assert {Path(name).suffix for name in ours} >= {".py", ".html", ".css", ".js", ".svg", ".sql", ".lua", ".jinja"}
    assert [text for name, text in there.items() if name.endswith("licenses/LICENSE")] == [
        (ROOT / "LICENSE").read_bytes()
    ]


def test_the_source_builds_the_same_wheel(release: dict[str, Path], tmp_path: Path) -> None:
    """Whoever unpacks it, with the tests and the documents in it, has what the wheel was made of."""
    with tarfile.open(release["gz"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for name in (
        "tests/test_rules.py",
        "docs/design.md",
        "requirements.lock",
        "Makefile",
        "LICENSE",
        "examples/clients/buy.sh",
    ):
        assert (source / name).is_file(), name
    assert not list(source.glob(".venv")) + list(source.glob("runs")) + list(source.glob("data"))
    again = built(source, tmp_path / "again", "wheel")
    assert contents(again["whl"]) == contents(release["whl"])


@pytest.fixture
def sold_from(installed: Path, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The service as it is installed, with its address."""
    port = serve.free_port()
    command = [str(installed / "turnstile"), "--data", "data", "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}", service
    finally:
        service.kill()
        service.wait()


def test_what_is_installed_sells(sold_from: tuple[str, subprocess.Popen[bytes]]) -> None:
    """A purchase, the pages, the reference; and it ends when it is told to."""
    url, service = sold_from

    def ready() -> bool:
        assert service.poll() is None
        try:
            return requests.get(f"{url}/readyz", timeout=PROGRAM_S).ok
        except requests.ConnectionError:
            return False

    until(ready)
    bought = requests.post(f"{url}/buy", json={"quantity": 3}, timeout=PROGRAM_S)
    assert (bought.status_code, bought.json()["tickets"]) == (201, [1, 2, 3])
    for path in ("/", "/lab", "/docs", "/openapi.json", "/mode"):
        assert requests.get(f"{url}{path}", timeout=PROGRAM_S).ok, path
    service.send_signal(signal.SIGTERM)
    assert service.wait(PROGRAM_S) == 0


def test_the_programs_are_those_of_the_release(installed: Path, tmp_path: Path) -> None:
    """Both commands, by name and as modules, with the extras they need; and what is imported is what was installed."""
    assert '{"mode": "file_lock"' in run(installed / "turnstile", "--list", cwd=tmp_path)
    assert run(installed / "turnstile", "--version", cwd=tmp_path) == f"turnstile, version {__version__}\n"
    wheel = of_wheel(*installed.parent.glob("lib/python*/site-packages"))
    (more := tmp_path / "more").mkdir()
    for extra in ("loadtest", "promises"):
        linked(more, wheel, extra)
    for program, *words in (["turnstile-loadtest"], ["python", "-m", "loadtest"]):
        assert "compare" in run(installed / program, *words, "--help", cwd=tmp_path, PYTHONPATH=str(more))
    code = (
        "import loadtest, promises, service; from importlib.metadata import version; "
        "print(version('turnstile'), *(each.__file__ for each in (loadtest, promises, service)))"
    )
    version, *places = run(installed / "python", "-c", code, cwd=tmp_path, PYTHONPATH=str(more)).split()
    assert version == __version__
    assert all(place.startswith(str(installed.parent)) for place in places)
