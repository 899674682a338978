"""A line in the log for each decision, where the log's level is debug: what was asked for, and what became of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from service.logs import LOG, ORDER_SHOWN
from service.outcomes import NoSuchEvent
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
        # Who asks for an event that is not there writes its name, and may write anything.
        if not is_probe(told.command) and not isinstance(told.outcome, NoSuchEvent):
            LOG.debug("decided", extra={"fields": fields_of(told)})


def fields_of(told: Told) -> dict[str, str | int | float]:
    """Return what is told of a decision."""
    command, outcome = told.command, told.outcome
    fields: dict[str, str | int | float] = {"command": _name(command), "event": command.event}
    order, seen = getattr(outcome, "order", None), getattr(outcome, "event", None)
    about = order.id if isinstance(order, Order) else command.order
    if about:
        fields["order"] = about[:ORDER_SHOWN]
    if about != command.order:  # the answer that its key had before; the order that it would have made is none
        fields["again"] = True
    fields["outcome"] = _name(outcome)
    for what, name in ((command, "quantity"), (command, "capacity"), (outcome, "ended")):
        if (number := getattr(what, name, None)) is not None:
            fields[name] = number
    for decided in (order, seen):
        if isinstance(decided, Order | Event):
            fields["version"] = decided.version
    if turn := told.turn_s:
        fields |= {"wait_ms": round(turn[0] * 1e3, 3), "hold_ms": round(turn[1] * 1e3, 3)}
    return fields


def _name(value: object) -> str:
    return CAPITAL.sub("-", type(value).__name__).lower()
