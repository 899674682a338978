"""A line in the log for each decision, where the log's level is debug: what was asked for, and what became of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from service.logs import LOG, ORDER_SHOWN
from service.readiness import is_probe
from service.values import Event, Order

if TYPE_CHECKING:
    from service.trace import Told

CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class Decisions:
    """Writes the lines. What buyers say of themselves, and their keys, are in none."""

    def open(self) -> None:
        """Need nothing."""

    def tell(self, told: Told) -> None:
        if not is_probe(told.command):
            LOG.debug("decided", extra={"fields": fields_of(told)})


def fields_of(told: Told) -> dict[str, str | int | float]:
    """Return what is told of a decision."""
    command, outcome = told.command, told.outcome
    fields: dict[str, str | int | float] = {"command": _name(command), "event": command.event}
    fields |= {"order": command.order[:ORDER_SHOWN], "outcome": _name(outcome)}
    if quantity := getattr(command, "quantity", None):
        fields["quantity"] = quantity
    for seen in (getattr(outcome, "order", None), getattr(outcome, "event", None)):
        if isinstance(seen, Order | Event):
            fields["version"] = seen.version
    if turn := told.turn_s:
        fields |= {"wait_ms": round(turn[0] * 1e3, 3), "hold_ms": round(turn[1] * 1e3, 3)}
    return fields


def _name(value: object) -> str:
    return CAPITAL.sub("-", type(value).__name__).lower()
