"""The table of faults that were injected: ``python -m tests.faults_table --write`` puts it into docs/reliability.md.

Every mode is put to every fault that can be made for it, one mode after the other, by the load test's own command line.
What a mode came to stands in ``runs/faults/MODE``; a mode that has a verdict there is not run again, so what was broken
off goes on where it was (``--again`` begins anew).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from loadtest import engines
from loadtest.mishaps import Name
from loadtest.servers.process import Missing
from loadtest.verdict import worst
from tests import reliability
from tests.reliability import LOST, TWICE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RUNS = Path("runs/faults")
ON_FILES = "kill,pause,stop,restart,full-disk,slow-disk"
ON_SERVERS = "kill,pause,stop,restart,slow-disk"
"""The disk of an engine's server is slowed, and not filled."""
TRIES_MAX = 3
"""A run in which nobody met the holder can tell nothing; it is made again, with another seed."""
NAMES: tuple[Name, ...] = get_args(Name)


def main() -> int:
    """Run what has no verdict yet, and print or write the table; return the worst exit code of the load test."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--write", action="store_true", help=f"write it to {reliability.PAGE.name}")
    reader.add_argument("--again", action="store_true", help="run all modes again")
    reader.add_argument("--modes", default="", help="only these, with commas between")
    asked = reader.parse_args()
    listed = engines.listed()
    wanted = asked.modes.split(",") if asked.modes else list(listed)
    if unknown := [mode for mode in wanted if mode not in listed]:
        reader.error(f"there is no mode {unknown[0]}: expected some of {', '.join(listed)}")
    for mode in wanted:
        if asked.again:
            shutil.rmtree(RUNS / mode, ignore_errors=True)
        run(mode, listed[mode])
    runs = {mode: found for mode in listed if (found := verdict(mode)) is not None}
    made = table(runs)
    sys.stdout.write(f"{made}\n")
    if asked.write:
        reliability.renew("faults", made)
    return worst([found["verdict"]["word"] for found in runs.values()])


def run(mode: str, engine: str) -> None:
    """Run a mode until there is a verdict on it; say so where it cannot be run here."""
    try:
        engines.check([engine])
    except Missing as error:
        sys.stderr.write(f"{mode}: {error}\n")
        return
    kinds = ON_SERVERS if engine in engines.RUNNING else ON_FILES
    for seed in range(1, TRIES_MAX + 1):
        found = verdict(mode)
        if found is not None and found["exit_code"] != 2:
            return
        words = ["--modes", mode, "--faults", kinds, "--seed", str(seed), "--runs", str(RUNS / mode), "--quiet"]
        sys.stderr.write(f"{mode}: {kinds}\n")
        subprocess.run([sys.executable, "-m", "loadtest", "compare", *words], stdout=sys.stderr, check=False)


def verdict(mode: str) -> dict[str, Any] | None:
    """Return what the latest run of a mode found, and how many calls it made, if there was one."""
    latest = RUNS / mode / "latest"
    if not (latest / "verdict.json").exists():
        return None
    found: dict[str, Any] = json.loads((latest / "verdict.json").read_text())
    history = latest / "round-1" / mode / "history.jsonl"
    calls = len(history.read_bytes().splitlines()) if history.exists() else 0  # it may not have started
    return {**found["modes"][0], "exit_code": found["exit_code"], "calls": calls}


def table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table: how often each fault was made, what was lost or sold twice, and when nobody was served."""
    made = {each["name"] for found in runs.values() for each in found["mishaps"]}
    names = [name for name in NAMES if name in made]
    head = ["mode", *names, "calls", "lost", "twice", "nobody was served any more after", "verdict"]
    rows = [head, ["---", *["--:"] * (len(names) + 3), "---", "---"]]
    rows += [row(mode, found, names) for mode, found in runs.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(mode: str, found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return a mode's row. A holder that nobody met is said to be none."""
    mishaps = {each["name"]: each for each in found["mishaps"]}
    findings = found["checked"]["findings"] if found["checked"] else []
    stuck = [f"a {each['name']}" for each in found["mishaps"] if each["stuck"] or each["wrong"]]
    return [
        f"`{mode}`",
        *(_times(mishaps.get(name)) for name in names),
        f"{found['calls']:,}",
        *(f"{sum(each['times'] for each in findings if each['anomaly'] in kinds):,}" for kinds in (LOST, TWICE)),
        ", ".join(stuck) or "none",
        found["verdict"]["word"],
    ]


def _times(mishap: Mapping[str, Any] | None) -> str:
    if mishap is None:
        return "0"
    met = mishap["met"] or mishap["stuck"] or "holder" not in mishap["name"]
    return str(mishap["times"]) if met else f"{mishap['times']}, none met"


if __name__ == "__main__":
    sys.exit(main())
