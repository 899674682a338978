"""The table of planted faults: ``python -m tests.planted`` writes it to ``docs/checkers.md``."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.findings import ANOMALIES, MEANINGS, Anomaly
from tests import broken_servers as broken
from tests.counter_simulator import found
from tests.ticket_server import Server

if TYPE_CHECKING:
    from loadtest.findings import Anomaly

PAGE = Path(__file__).parent.parent / "docs" / "checkers.md"
COMMAND = "python -m tests.planted"
SEEDS = 100


ELSEWHERE: frozenset[Anomaly] = frozenset({"grows without bound"})
"""What is no matter of a history is planted elsewhere: what a service uses, in ``test_soak.py``."""
OF_HISTORIES = [anomaly for anomaly in ANOMALIES if anomaly not in ELSEWHERE]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: the server that has it, and the anomalies by which it must be known."""

    server: type[Server]
    anomalies: tuple[Anomaly, ...]


FAULTS = (
    Fault(broken.NoLock, ("lost update", "double sale")),
    Fault(broken.LockAfterRead, ("lost update", "double sale")),
    Fault(broken.LockPerProcess, ("lost update", "double sale")),
    Fault(broken.ReleasedBeforeWrite, ("lost update", "double sale")),
    Fault(broken.LockFileDeleted, ("lost update", "double sale")),
    Fault(broken.StaleLease, ("lost update", "double sale", "stale read")),
    Fault(broken.HalfWritten, ("torn read",)),
    Fault(broken.CachedLook, ("stale read",)),
    Fault(broken.StaleSoldOut, ("stale read",)),
    Fault(broken.LastOneRefused, ("undersell",)),
    Fault(broken.SellsOnCredit, ("oversell", "miscount")),
    Fault(broken.NumbersByCount, ("double sale",)),
    Fault(broken.TicketKept, ("miscount",)),
    Fault(broken.TwiceOnRetry, ("double effect",)),
    Fault(broken.RetryRefused, ("double effect",)),
    Fault(broken.OtherAnswer, ("double effect",)),
    Fault(broken.CancelledTwice, ("double effect", "double sale")),
    Fault(broken.NumberKept, ("oversell",)),
    Fault(broken.ExpiredConfirmed, ("double effect",)),
    Fault(broken.LateConfirmed, ("double effect",)),
    Fault(broken.LeftToTheBroom, ("undersell",)),
    Fault(broken.ConfirmedFromMemory, ("double effect",)),
    Fault(broken.BothWin, ("double effect",)),
    Fault(broken.SweptTooEarly, ("phantom order",)),
    Fault(broken.LiveRefused, ("phantom order",)),
    Fault(broken.HeldSold, ("double sale",)),
    Fault(broken.ReplyBeforeCommit, ("phantom order",)),
    Fault(broken.BusyAfterAll, ("ghost order",)),
    Fault(broken.LineForgotten, ("missing version",)),
    Fault(broken.VersionNotRaised, ("lost update",)),
    Fault(broken.VersionsInBlocks, ("reordered", "missing version")),
)

OPENING = f"""# What the check catches

A judge who never finds anybody guilty proves nothing, so the [check](../loadtest/check.py) is judged too. Below, ticket
servers are broken on purpose, each in one step, and run in a [simulator](../tests/counter_simulator.py) in which a die
decides who goes on: four clients who buy, hold, confirm, cancel and look, who lose replies and ask again. Each has
{SEEDS} runs with different seeds. A fault need not show in every run; where it did not, nobody is accused.

The right server is in the first row, and it must never be accused. The tests run it with 1,000 seeds, hold every
fault to the anomalies in **bold**, and compare the check with a search through all orders of small histories.

This page is made by `{COMMAND}`.

## Anomalies
"""


def caught(server: type[Server]) -> tuple[int, Counter[Anomaly]]:
    """Return in how many runs a server was accused, and in how many of each anomaly."""
    runs = [found(server, seed) for seed in range(SEEDS)]
    return sum(map(bool, runs)), Counter(anomaly for run in runs for anomaly in run)


def page() -> str:
    """Return the page."""
    meanings = [f"- **{anomaly}**: {MEANINGS[anomaly]}" for anomaly in OF_HISTORIES]
    rows = [
        f"| the server | what is wrong with it | runs of {SEEDS} in which it was caught | by (in how many runs) |",
        "| --- | --- | --: | --- |",
        _row("right", "Nothing.", Server, ()),
    ]
    for fault in FAULTS:
        name = re.sub(r"(?<!^)(?=[A-Z])", " ", fault.server.__name__).lower()
        rows.append(_row(name, " ".join((fault.server.__doc__ or "").split()), fault.server, fault.anomalies))
    return "\n".join([OPENING, *meanings, "\n## Planted faults\n", *rows, ""])


def _row(name: str, what: str, server: type[Server], expected: tuple[Anomaly, ...]) -> str:
    times, anomalies = caught(server)
    order = sorted(anomalies, key=lambda anomaly: (-anomalies[anomaly], anomaly))
    by = [f"{f'**{anomaly}**' if anomaly in expected else anomaly} {anomalies[anomaly]}" for anomaly in order]
    return f"| {name} | {what} | {times} | {', '.join(by) or 'nobody'} |"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"made again: {PAGE.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
