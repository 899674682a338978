"""What an engine begins with, and which mode an address asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from service import catalogue, engines
from service.settings import Settings, WrongSetting
from service.stores.replay import Refused
from service.stores.seeds import seeds
from tests.counter import ON_FILES

if TYPE_CHECKING:
    from pathlib import Path


def test_the_articles_files_are_what_an_engine_begins_with(tmp_path: Path) -> None:
    """One event a file; no directory is no event."""
    (tmp_path / "default.json").write_text('{"count": 10}')
    (tmp_path / "concert.json").write_text('{"count": 0}')
    assert seeds(tmp_path) == {"concert": 0, "default": 10}
    assert seeds(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"count": -1}', '{"count": true}', '{"count": 1.0}', '{"event":"default","count":3,"crc":""}']
)
def test_what_has_been_sold_from_already_is_refused(tmp_path: Path, text: str) -> None:
    """In one sentence that names the file: to begin with its count again would sell its tickets twice."""
    (tmp_path / "default.json").write_text(text)
    told = r"default\.json is not what an engine can begin with.*--url \(TURNSTILE_URL\) is set: unset it, or choose"
    with pytest.raises(Refused, match=told):
        seeds(tmp_path)


def test_an_address_is_for_a_mode_of_its_engine_and_shows_no_password() -> None:
    """A mode for files with an address is refused, and so is an address of nothing."""
    with pytest.raises(WrongSetting, match=r"is 'what://me:\*\*\*@host/name': expected an address"):
        catalogue.chosen(Settings(url="what://me:secret@host/name"))
    assert engines.shown("what://me:se:cr@et@host/name") == "what://me:***@host/name"
    with pytest.raises(WrongSetting, match="an engine looks after its own files"):
        catalogue.chosen(Settings(url="sqlite:///tickets.db", verify=True))
    with pytest.raises(WrongSetting, match="expected an address such as sqlite:///tickets"):
        catalogue.chosen(Settings(url="sqlite://tickets.db"))
    for name in ON_FILES:
        assert catalogue.chosen(Settings(mode=name)).mode == name


def test_the_list_has_every_mode_with_its_engine() -> None:
    """As JSON lines, for a load test that must not import the service."""
    command = [sys.executable, "-m", "service", "--list"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    assert {row["mode"]: row["engine"] for row in map(json.loads, lines)} == {
        name: catalogue.SCHEMES.get(name, "") for name in catalogue.MODES
    }
