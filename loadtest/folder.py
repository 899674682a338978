"""The folder of a run, and of each of its slices: what stands where.

``runs/<time>-<shape>/run.json`` says what was asked for and what it ran on. ``round-1/<mode>/`` has a slice:
``plan.json``, ``mode.json`` (the service's own word), ``start.json`` (the event before the first call),
``history.jsonl``, ``journal.jsonl`` (where it can be had), ``last.jsonl`` (the look at the end), ``usage.json``,
``trace-*.jsonl``, ``service.log`` and ``data/``; or ``failure.txt``, if there was no run to judge. ``served.json`` says
on how many hosts over which engine (several have ``host-1/`` and so on for their logs and data), ``faults.json`` what
was done to them, ``usage.jsonl`` what they used, second by second (in a soak).
``round-1/ceiling/`` has the no-op's. Judging reads nothing else, so it can be done again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from loadtest import gauges, history
from loadtest.check import Start
from loadtest.met import known
from loadtest.mishaps import Stretch
from loadtest.plan import Plan
from loadtest.slices import Slice, cut
from loadtest.usage import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.growth import Sample
    from loadtest.history import Change, Operation

CEILING = "ceiling"
FILES = ("", "sqlite")
"""Engines that are files of one machine."""


@dataclass(frozen=True, slots=True)
class Served:
    """On how many hosts a slice was served, over which engine (none: files of the service's own)."""

    hosts: int = 1
    engine: str = ""

    @property
    def apart(self) -> int:
        """How many hosts there are by a claim's measure: those that share a file of one machine count as one."""
        return self.hosts if self.engine not in FILES else 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """All that a slice left. ``mode`` is the reply to ``GET /mode``; ``failure`` says why it did not end well.

    ``alone`` says that the harness started the service, so that nobody else can have bought there.
    """

    name: str
    plan: Plan
    mode: dict[str, Any]
    start: Start
    operations: list[Operation]
    journal: list[Change] | None
    last: Operation | None
    slice: Slice
    alone: bool
    failure: str = ""
    served: Served = field(default_factory=Served)
    faults: tuple[Stretch, ...] = ()
    samples: tuple[Sample, ...] = ()
    soak: bool = False


def new(runs: Path, name: str) -> Path:
    """Make the folder of a new run under ``runs`` and let ``runs/latest`` point to it."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    folder, number = runs / stem, 1
    while folder.exists():
        number += 1
        folder = runs / f"{stem}-{number}"
    folder.mkdir(parents=True)
    latest = runs / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(folder.name)
    return folder


def load_run(folder: Path) -> dict[str, Any]:
    """Return what was asked for, and what it ran on."""
    values: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return values


def rounds(folder: Path) -> list[Path]:
    """Return the rounds' folders, in order."""
    return sorted(folder.glob("round-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def load_slice(folder: Path) -> Recorded:
    """Read back what a slice left, as far as it came. The last one is kept, for each part of a report asks for it."""
    marks = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.glob("*.*"))]
    return _loaded(folder.resolve(), tuple(marks))


@lru_cache(maxsize=1)
def _loaded(folder: Path, _marks: tuple[tuple[str, int, int], ...]) -> Recorded:
    plan = Plan(**json.loads((folder / "plan.json").read_text()))
    mode = json.loads(_text(folder / "mode.json") or "{}")
    one: history.One = {}
    operations = history.load(folder / "history.jsonl", one) if (folder / "history.jsonl").exists() else []
    journal, last, usage = folder / "journal.jsonl", folder / "last.jsonl", _text(folder / "usage.json")
    failure = _text(folder / "failure.txt").strip()
    served = Served(**json.loads(_text(folder / "served.json") or "{}"))
    passages = history.load_trace(folder)
    waits = mode.get("claim", {}).get("waits", "")
    stretches = [Stretch(**row) for row in json.loads(_text(folder / "faults.json") or "[]")]
    faults = tuple(known(each, passages, plan.think_s, waits) for each in stretches)
    used = json.loads(usage) if usage else None
    return Recorded(
        name=f"{folder.parent.name}/{folder.name}",
        plan=plan,
        mode=mode,
        start=Start(**json.loads(_text(folder / "start.json") or '{"capacity": 0, "count": 0}')),
        operations=operations,
        journal=history.load_journal(journal, one) if journal.exists() else None,
        last=history.load(last)[0] if last.exists() else None,
        slice=cut(
            plan,
            operations,
            passages,
            Usage(**used | {"clients_s": tuple(used["clients_s"])}) if used else None,
            mode.get("workers", 0) * served.hosts,
            faults,
        ),
        alone=any([*folder.glob("service.log"), *folder.glob("host-*/service.log")]),
        failure=failure or ("" if last.exists() else "interrupted before it was over"),
        served=served,
        faults=faults,
        samples=gauges.load(folder / gauges.FILE),
        soak=(folder / gauges.FILE).exists(),
    )


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
