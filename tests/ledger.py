"""A ledger: what buyers were told by modes, as the load test records it, so that its exact check can judge it."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loadtest.check import Start, check
from loadtest.history import Change, Operation
from service.mode import Busy, NotWritten, Unknown
from service.outcomes import NoSuchEvent, Sold, SoldOut
from tests.counter import buying

if TYPE_CHECKING:
    from service.mode import Mode, Store

EVENT = "default"


@dataclass
class Ledger:
    """Every purchase of an event that began with ``tickets``."""

    tickets: int = 10
    rows: list[Operation] = field(default_factory=list)
    _number: itertools.count[int] = field(default_factory=itertools.count)

    def buy(self, mode: Mode, quantity: int = 1) -> Operation:
        """Buy, and record what was said."""
        name = f"buyer-{next(self._number)}-{threading.get_native_id()}"
        called = time.monotonic_ns()
        row = Operation("buy", name, 0, called, called, 0, "unknown", quantity=quantity)
        try:
            reply = mode.execute(buying(quantity, buyer=name))
        except (Busy, NotWritten):
            row = replace(row, outcome="not done")
        except Unknown as error:
            row = replace(row, problem=str(error))
        else:
            if isinstance(reply, Sold):
                made = reply.order
                row = replace(row, outcome="done", version=made.version, count=made.count)
                row = replace(row, tickets=made.tickets, order=made.id)
            elif isinstance(reply, SoldOut):
                row = replace(row, outcome="refused", version=reply.event.version, count=reply.event.count)
        self.rows.append(replace(row, returned=time.monotonic_ns()))
        return self.rows[-1]

    def found(self, store: Store) -> dict[str, str]:
        """Return the anomalies that the check finds by now, each with the sentence of its worst case."""
        lines, event = store.changes(EVENT, 0), store.look(EVENT)
        assert not isinstance(lines, NoSuchEvent)
        assert not isinstance(event, NoSuchEvent)
        journal = [_change(json.loads(line)) for line in lines]
        now = time.monotonic_ns()
        last = Operation("look", "the last look", -1, now, now, now, "done", version=event.version, count=event.count)
        rows = sorted(self.rows, key=lambda row: row.called)
        checked = check(rows, journal, Start(self.tickets, self.tickets), last)
        return {finding.anomaly: finding.worst.sentence for finding in checked.findings}


def _change(said: dict[str, object]) -> Change:
    named = {name: said[name] for name in ("version", "order", "count", "status")}
    return Change(**named, buyer=said["buyer"] or "", tickets=tuple(said["tickets"]))  # type: ignore[arg-type]
