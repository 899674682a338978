"""``python -m tests.soak_row [RUN] [--write]``: the table of soaks in ``docs/reliability.md``, from what a run left."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from loadtest import folder
from tests.reliability import LOST, TWICE, fill

HEAD = (
    "mode", "time", "calls", "faults made", "tickets sold", "lost", "twice", "memory, MB",
    "smallest leak of a worker that would be seen, MB a minute", "descriptors", "files beside the journals",
    "kept, bytes a call", "verdict",
)  # fmt: skip


def table(run: Path) -> str:
    """Return the table: a row for each mode of the run."""
    verdict = json.loads((run / "verdict.json").read_text())
    rows = [HEAD, ("---", *["--:"] * 2, "---", *["--:"] * 8, "---")]
    rows += [_row(run, mode) for mode in verdict["modes"]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(run: Path, mode: dict[str, Any]) -> tuple[str, ...]:
    recorded = folder.load_slice(run / "round-1" / mode["mode"])
    made = Counter(fault.mishap for fault in recorded.faults if fault.mishap)
    sold = {row.order: len(row.tickets) for row in recorded.operations if _sells(row.kind, row.outcome)}
    found = Counter({each["anomaly"]: each["times"] for each in (mode["checked"] or {"findings": ()})["findings"]})
    used = mode["used"][0] if mode["used"] else None
    ends = [used[what] for what in ("memory_mb", "descriptors", "files")] if used else []
    memory, *others = [f"{first:,.0f} → {last:,.0f}" for first, last in ends] or ["–"] * 3  # noqa: RUF001  # a dash for nothing
    return (
        f"`{mode['mode']}`",
        f"{recorded.plan.seconds:,.0f} s",
        f"{len(recorded.operations):,}",
        ", ".join(f"{times} {name}" for name, times in sorted(made.items())) or "none",
        f"{sum(sold.values()):,}",
        f"{sum(found[name] for name in LOST):,}",
        f"{sum(found[name] for name in TWICE):,}",
        memory,
        _leak(used),
        *others,
        f"{used['kept_bytes_a_call']:,.0f}" if used else "–",  # noqa: RUF001  # as above
        mode["verdict"]["word"],
    )


def _leak(used: dict[str, Any] | None) -> str:
    if not used or not used["judged"]:
        return "could not tell"
    leak = used["leak_mb_a_minute"]
    return "it grew" if leak is None else f"{leak:.1f}"


def _sells(kind: str, outcome: str) -> bool:
    return kind in {"buy", "confirm"} and outcome == "done"


def main() -> int:
    """Print the table, or put it into the page."""
    words = [word for word in sys.argv[1:] if word != "--write"]
    made = table(Path(words[0] if words else "runs/latest"))
    if "--write" in sys.argv:
        fill("soak", made)
    else:
        sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
