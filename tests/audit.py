"""What the project depends on, looked through: ``make audit``, or ``python -m tests.audit [--offline]``.

Without a network: each dependency of ``requirements.lock`` is pinned with hashes, is installed as it is pinned, and has
a licence that is allowed; the other lock files, of the images, pin nothing that it does not pin alike. With one,
pip-audit asks a list of known vulnerabilities about each pin. What the list does not know is not called sound:
pip-audit itself ends with 0 when it found none of the packages there.

Exit 0: nothing is wrong. 1: something is. 2: the list could not be asked, and nothing else is wrong.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker

LOCK = Path(__file__).parent.parent / "requirements.lock"
PARTS = sorted(LOCK.parent.glob("requirements.*.lock"))
PIN = re.compile(r"([a-z0-9-]+)==([^ ;\\]+)(?: ; ([^\\]*?))?( *\\\n +--hash=sha256:[0-9a-f]{64})+")
PIP_AUDIT = LOCK.parent / ".venv" / "audit" / "bin" / "pip-audit"
"""It has dependencies of its own, so it is not installed beside ours."""
ASK_S = 120
PERMISSIVE = {"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "ISC", "0BSD"}
ALLOWED = PERMISSIVE | {
    "MPL-2.0",  # its own files stay under it, and none of them is changed here
    "LGPL-3.0-only",  # psycopg: installed beside the service, and imported as it is
}
CLASSIFIERS = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
SAID_ELSEWHERE = {
    "axe-playwright-python": "MIT",
    "docutils": "BSD-2-Clause AND PSF-2.0",  # the rest is in the public domain; what is under the GPL is for Emacs
}
"""Licences of which a file of the package says more than what it says of itself."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A dependency as it is locked, and whether it is for this system and this Python."""

    name: str
    version: str
    here: bool = True


class NotAsked(Exception):
    """The list of known vulnerabilities could not be asked, or did not know a package."""


def pins(text: str) -> list[Pin]:
    """Return what a lock file pins. Raises ``ValueError`` for a line that pins nothing, or has no hash."""
    found = []
    for entry in entries(text):
        match = PIN.fullmatch(entry)
        if not match:
            raise ValueError(f"{entry.splitlines()[0]} is no pin with hashes")
        found.append(Pin(match[1], match[2], match[3] is None or Marker(match[3]).evaluate()))
    return found


def entries(text: str) -> list[str]:
    """Return what a lock file says of each package."""
    return [entry.strip() for entry in re.split(r"\n(?=\S)", text.strip())]


def astray(part: str, whole: str) -> list[str]:
    """Return what one lock file pins that the other does not, a sentence each. Conditions may differ."""
    known = {_unconditional(entry) for entry in entries(whole)}
    return [
        f"{pin[0]} is not pinned so in {LOCK.name}: run make lock"
        for pin in map(_unconditional, entries(part))
        if pin not in known
    ]


def _unconditional(entry: str) -> tuple[str, ...]:
    return tuple(re.sub(r" ; [^\\]*", " ", entry).replace("\\", " ").split())


def wrong_here(found: list[Pin]) -> list[str]:
    """Return what is wrong with the dependencies that are installed, a sentence each."""
    wrong = []
    for pin in found:
        if not pin.here:
            continue
        try:
            said = metadata.metadata(pin.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{pin.name} is not installed: run make setup")
            continue
        if said["Version"] != pin.version:
            wrong.append(f"{pin.name} is {said['Version']}, and {pin.version} is locked: run make setup")
        if not allowed(licence := licence_of(pin.name)):
            wrong.append(f"{pin.name} has the licence {licence or 'of which it says nothing'}, which is not allowed")
    return wrong


def licence_of(name: str) -> str:
    """Return the licence that a package says it has, as an expression."""
    said = metadata.metadata(name)
    classified = [each for each in said.get_all("Classifier") or [] if each.startswith("License :: OSI")]
    kinds = [each.rpartition(" :: ")[2] for each in classified] or said.get_all("License") or []
    expression: str = said["License-Expression"] or " AND ".join(CLASSIFIERS.get(kind, kind) for kind in kinds)
    return SAID_ELSEWHERE.get(name, expression)


def allowed(licence: str) -> bool:
    """Tell whether an expression leaves us a licence that is allowed."""
    return bool(licence) and all(
        any(one.strip("() ") in ALLOWED for one in each.split(" OR ")) for each in licence.split(" AND ")
    )


def vulnerable() -> list[str]:
    """Return the known vulnerabilities of what is locked, a sentence each. Raises ``NotAsked``."""
    if not PIP_AUDIT.exists():
        raise NotAsked("pip-audit is not installed: make audit installs it")
    command = [str(PIP_AUDIT), "--disable-pip", "--require-hashes", "--requirement", str(LOCK)]
    try:
        ended = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off"],
            capture_output=True, text=True, timeout=ASK_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotAsked(f"the list of known vulnerabilities did not answer within {ASK_S} s") from None
    return judged(ended.stdout, ended.stderr)


def judged(told: str, complaint: str) -> list[str]:
    """Return what pip-audit found, from what it printed. Raises ``NotAsked`` unless it knew every package."""
    try:
        packages = json.loads(told)["dependencies"]
    except (ValueError, KeyError):
        raise NotAsked(f"pip-audit could not ask: {(complaint.strip().splitlines() or ['no reason'])[-1]}") from None
    found = [
        f"{each['name']} {each['version']} has {bug['id']}; mended in {', '.join(bug['fix_versions']) or 'no release'}"
        for each in packages
        for bug in each.get("vulns", ())
    ]
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if unknown and not found:
        raise NotAsked(f"the list of known vulnerabilities does not know {len(unknown)} of {len(packages)} packages")
    return found


def main(words: list[str]) -> int:
    """Say what is wrong, and return the exit code."""
    found = pins(LOCK.read_text())
    wrong, unasked = wrong_here(found), ""
    for part in PARTS:
        wrong += astray(part.read_text(), LOCK.read_text())
    if "--offline" not in words:
        try:
            wrong += vulnerable()
        except NotAsked as why:
            unasked = f"not asked for known vulnerabilities: {why}"
    for sentence in filter(None, [*wrong, unasked]):
        print(sentence)  # noqa: T201  # what it is for
    print(f"{len(found)} dependencies, {len(wrong)} wrong")  # noqa: T201  # as above
    return 1 if wrong else 2 if unasked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
