"""A slice: one stretch of a run, with a fresh store. What is measured is measured over one or several of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Operation, Passage
    from loadtest.usage import Usage


@dataclass(frozen=True, slots=True)
class Slice:
    """One stretch of a run: what was called after the warm-up, the orders' passages, and the processor time."""

    operations: Sequence[Operation]
    passages: Sequence[Passage]
    usage: Usage | None
