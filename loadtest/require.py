"""Thresholds: ``p99_ms<50``, or for one mode only ``file_lock:ratio>0.2``. Pure."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}
FORM = re.compile(r"(?:([a-z0-9_]+):)?([a-z0-9_.]+)\s*(<=|>=|<|>|==)\s*(-?\d+(?:\.\d+)?)")


class WrongRequirement(Exception):
    """A requirement cannot be read, or asks for a figure that there is not. The message says what there is."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A figure, and the bound that it must keep; in every mode, or in ``mode``."""

    text: str
    mode: str | None
    figure: str
    compare: str
    bound: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a mode met a requirement. ``value`` is ``None`` where there was nothing to measure: that is a miss."""

    requirement: str
    mode: str
    value: float | None
    met: bool


def parse(text: str, known: Collection[str]) -> Requirement:
    """Return the requirement that ``text`` states, on one of the ``known`` figures. Raises ``WrongRequirement``."""
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise WrongRequirement(f"{text!r} is no requirement: expected one such as 'p99_ms<50' or 'file_lock:ratio>0.2'")
    if match[2] not in known:
        there = ", ".join(sorted(known))
        raise WrongRequirement(f"{text!r} asks for a figure that there is not; there are {there}")
    return Requirement(text.strip(), match[1], match[2], match[3], float(match[4]))


def evaluate(requirements: Sequence[Requirement], figures: Mapping[str, Mapping[str, float | None]]) -> list[Outcome]:
    """Return for each requirement and each mode that it speaks of whether it was met; what did not run missed it."""
    outcomes = []
    for each in requirements:
        for mode in [each.mode] if each.mode else figures:
            value = figures.get(mode, {}).get(each.figure)
            met = value is not None and bool(COMPARE[each.compare](value, each.bound))
            outcomes.append(Outcome(each.text, mode, value, met))
    return outcomes
