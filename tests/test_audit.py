"""The audit of dependencies finds what is wrong, and does not call sound what nobody was asked about."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests import audit
from tests.audit import LOCK, PARTS, NotAsked, Pin, allowed, astray, judged, pins, wrong_here

if TYPE_CHECKING:
    from pathlib import Path

HASH = f"    --hash=sha256:{'a' * 64}"


def test_what_is_locked_is_installed_as_it_is_locked_under_licences_that_are_allowed() -> None:
    """Each pin of the lock file of all."""
    found = pins(LOCK.read_text())
    assert len(found) > 50
    assert wrong_here(found) == []


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_what_images_install_is_looked_through_with_the_rest(part: Path) -> None:
    """Their lock files have nothing that the one of all has not: the same versions, and the same hashes."""
    assert len(pins(part.read_text())) > 20
    assert astray(part.read_text(), LOCK.read_text()) == []


def test_there_are_lock_files_for_images() -> None:
    """Those that the Dockerfile installs from."""
    installed = set(re.findall(r"requirements\.\w+\.lock", (LOCK.parent / "Dockerfile").read_text()))
    assert installed == {part.name for part in PARTS}


def test_what_is_locked_otherwise_is_told() -> None:
    """Another version, other hashes, or a package that is not there; a condition may be."""
    whole = f"click==8.5.1 \\\n{HASH}\ncolorama==0.4.6 \\\n{HASH}\n"
    assert astray(f"click==8.5.1 ; sys_platform == 'linux' \\\n{HASH}\n", whole) == []
    for entry in (f"click==8.5.0 \\\n{HASH}", f"click==8.5.1 \\\n{HASH[:-1]}b", f"flask==3.1.3 \\\n{HASH}"):
        told = f"{entry.partition(' ')[0]} is not pinned so in requirements.lock: run make lock"
        assert astray(entry, whole) == [told]


def test_nothing_that_is_locked_has_a_known_vulnerability() -> None:
    """Where pip-audit is installed, as in CI, and its list answers. Else it is told that nobody was asked."""
    try:
        found = audit.vulnerable()
    except NotAsked as why:
        pytest.skip(str(why))
    assert found == []


@pytest.mark.parametrize(
    "entry",
    [
        "flask==3.1.3",
        "flask>=3\n" + HASH,
        "flask @ https://host/x\n" + HASH,
        "-e .",
        f"flask==1 \\\n{HASH[:-1]}",
        "--pre",
    ],
)
def test_what_is_no_pin_with_hashes_is_told(entry: str) -> None:
    """A package that may be another one tomorrow, or may come from anywhere."""
    with pytest.raises(ValueError, match="is no pin with hashes"):
        pins(f"click==8.5.1 \\\n{HASH}\n{entry}\n")


def test_a_pin_may_have_a_condition_and_many_hashes() -> None:
    """As those for one system alone."""
    text = f"colorama==0.4.6 ; sys_platform == 'nowhere' \\\n{HASH} \\\n{HASH}\nclick==8.5.1 \\\n{HASH}\n"
    assert pins(text) == [Pin("colorama", "0.4.6", here=False), Pin("click", "8.5.1")]


def test_another_version_and_one_that_is_missing_are_told() -> None:
    """But for one that this system need not have."""
    wrong = wrong_here([Pin("click", "1.0"), Pin("no-such", "1")])
    assert [sentence.partition(",")[0] for sentence in wrong][1:] == ["no-such is not installed: run make setup"]
    assert "1.0 is locked" in wrong[0]
    assert wrong_here([Pin("no-such", "1", here=False)]) == []


@pytest.mark.parametrize(
    ("licence", "right"),
    [
        ("MIT", True),
        ("MIT AND PSF-2.0", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_a_licence_is_allowed_if_what_it_asks_for_is(licence: str, right: bool) -> None:  # noqa: FBT001  # a table's column
    """All of what is joined by AND, one of what is joined by OR."""
    assert allowed(licence) == right


def test_a_package_that_the_list_does_not_know_is_not_called_sound() -> None:
    """pip-audit ends with 0 when it has found none of them."""
    bug = {"id": "PYSEC-1", "fix_versions": ["1.1"]}
    known = {"name": "a", "version": "1", "vulns": []}
    stranger = {"name": "b", "skip_reason": "Dependency not found on PyPI"}
    assert judged(json.dumps({"dependencies": [known]}), "") == []
    with pytest.raises(NotAsked, match="does not know 1 of 2"):
        judged(json.dumps({"dependencies": [known, stranger]}), "")
    assert judged(json.dumps({"dependencies": [known | {"vulns": [bug]}, stranger]}), "") == [
        "a 1 has PYSEC-1; mended in 1.1"
    ]
    with pytest.raises(NotAsked, match="could not ask: no route to host"):
        judged("", "Traceback\nno route to host\n")
