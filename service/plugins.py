"""Modes that other packages bring: found by an entry point, and looked at before they are used.

A package says in its metadata, in the group ``turnstile.modes``, which class each of its modes is. Nobody looks there
until a name is asked for that is none of ours, or for the list of all: reading what is installed costs a start.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, get_args

from service import mode as modes
from service.settings import WrongSetting

if TYPE_CHECKING:
    from collections.abc import Collection
    from importlib.metadata import EntryPoint

    from service.mode import Claim, Decide, Mode
    from service.stores.json_file import JsonFile

GROUP = "turnstile.modes"
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What a mode may be called, so that it can be named on a command line and in a table."""
PARTS = ("store", "open", "execute")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A mode of another package: its class, and the package with its version. It keeps its tickets in files."""

    name: str
    package: str
    kind: Any

    @property
    def claim(self) -> Claim:
        """What it promises."""
        claim: Claim = self.kind.claim
        return claim

    def build(self, store: JsonFile, decide: Decide, wait_s: float) -> Mode:
        """Build the mode on its store. Raises ``WrongSetting``."""
        try:
            made: Mode = self.kind(store, decide, wait_s)
        except Exception as error:  # whatever another's code raises
            raise _wrong(self.name, self.package, f"its class raised {_told(error)} when it was built") from error
        if lacking := [part for part in PARTS if not hasattr(made, part)]:
            raise _wrong(self.name, self.package, f"it has no {' and no '.join(lacking)}, as service.mode.Mode has")
        return made


def names() -> list[str]:
    """Return what all installed packages call their modes, each once."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def found(name: str, ours: Collection[str]) -> Plugin | None:
    """Return the mode that an installed package calls so, if one does. Raises ``WrongSetting`` if it cannot be used."""
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        return None
    packages = sorted(_package(point) for point in points)
    if len(points) > 1:
        raise WrongSetting(f"the packages {' and '.join(packages)} both bring a mode {name!r}: remove one of them")
    (point,), (package,) = points, packages
    if name in ours:
        raise _wrong(name, package, "Turnstile has a mode of this name, which is the one that is used: rename yours")
    if not NAME.fullmatch(name):
        raise _wrong(name, package, "a mode's name is small letters, digits and _, and begins with a letter")
    return Plugin(name, package, _loaded(point, package))


def _loaded(point: EntryPoint, package: str) -> object:
    """Return the class of a mode, if it can be one. Raises ``WrongSetting``."""
    try:
        kind = point.load()
    except Exception as error:  # whatever another's code raises
        raise _wrong(point.name, package, f"{point.value} cannot be imported: {_told(error)}") from error
    claim = getattr(kind, "claim", None)
    if not inspect.isclass(kind):
        raise _wrong(point.name, package, f"{point.value} is {kind!r}, where a class is expected")
    if getattr(kind, "name", None) != point.name:
        called = getattr(kind, "name", None)
        raise _wrong(point.name, package, f"the class calls itself {called!r}: give it and its entry point one name")
    if not isinstance(claim, modes.Claim):
        raise _wrong(point.name, package, "it claims nothing: give the class a claim, a service.mode.Claim")
    if why := _unclaimable(claim):
        raise _wrong(point.name, package, why)
    return kind


def _unclaimable(claim: Claim) -> str:
    """Return what is wrong with a claim: nobody could hold a mode to a word that nobody knows."""
    for field, said, known in (
        ("reach", (claim.reach,), get_args(modes.Reach)),
        ("survives", claim.survives, get_args(modes.Mishap)),
        ("waits", (claim.waits,), get_args(modes.Wait)),
    ):
        if not isinstance(said, tuple) or (unknown := [word for word in said if word not in known]):
            wrong = said if not isinstance(said, tuple) else unknown[0]
            return f"its claim says {field} {wrong!r}, where {' or '.join(map(repr, known))} is expected"
    if claim.reach == "hosts":
        return "its claim reaches to hosts, and files, which such modes are for, are on one"
    if type(claim.fair) is not bool or not isinstance(claim.price, str) or not claim.price.strip():
        return "its claim must say whether it is fair, True or False, and its price, in one sentence"
    return ""


def _wrong(name: str, package: str, why: str) -> WrongSetting:
    return WrongSetting(f"the mode {name!r} of the package {package} cannot be used: {why}")


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "(unknown)"


def _told(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0].rstrip(": ")
