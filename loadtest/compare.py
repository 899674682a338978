"""Run one mode after the other under the same plan, and judge each from the files that its run left.

A run's folder has a folder for each mode: ``plan.json``, ``mode.json`` (the service's own word), ``history.jsonl``,
``journal.jsonl``, ``last.jsonl`` (the look at the end), ``service.log`` and ``data/``; or ``failure.txt``, if there was
no run to judge. Judging reads nothing else, so it can be done again: ``python -m loadtest check runs/latest``.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from loadtest import drive, history, plan, serve
from loadtest.check import Start, check
from loadtest.drive import ClientDied, Target
from loadtest.measure import Measured, measure
from loadtest.plan import Plan
from loadtest.serve import NotServed
from loadtest.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.findings import Checked

WAIT_S = 30.0
"""How long a buyer may wait for the others: long enough that a slow mode is measured, not refused."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One mode's result. ``checked`` and ``measured`` are ``None`` if there was no run to judge."""

    mode: str
    verdict: Verdict
    checked: Checked | None = None
    measured: Measured | None = None


def new_folder(runs: Path, name: str) -> Path:
    """Make the folder of a new run under ``runs`` and let ``runs/latest`` point to it."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    folder = runs / stem
    number = 1
    while folder.exists():
        number += 1
        folder = runs / f"{stem}-{number}"
    folder.mkdir(parents=True)
    latest = runs / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(folder.name)
    return folder


def run(mode: str, folder: Path, scene: Plan, size: dict[str, int], progress: Callable[[int], None]) -> None:
    """Serve ``mode``, carry out ``scene``, and leave the files that it can be judged from in ``folder``.

    ``size`` has the service's ``workers`` and ``threads``, and the number of client ``processes``.
    """
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan.as_json(scene)))
    (folder / "data").mkdir(mode=0o700)
    # The article's store, to the letter: the service must open it as it is.
    (folder / "data" / f"{scene.event}.json").write_text(json.dumps({"count": scene.tickets}))
    flags: dict[str, object] = {"workers": size["workers"], "threads": size["threads"]}
    flags |= {"think_s": scene.think_s, "wait_s": WAIT_S}
    try:
        with serve.service(mode, folder, flags) as service:
            _save_reply(f"{service.url}/mode", service.token, folder / "mode.json")
            drive.drive(Target(service.url, scene, folder, size["processes"]), progress)
            history.save(folder / "last.jsonl", [drive.look(service.url, scene.event)])
            _save_reply(f"{service.url}/events/{scene.event}/journal", service.token, folder / "journal.jsonl")
    except (NotServed, ClientDied, requests.RequestException) as error:
        (folder / "failure.txt").write_text(f"{error}\n")


def judged(folder: Path) -> Judged:
    """Judge the run of one mode from the files in ``folder``."""
    failure = folder / "failure.txt"
    if failure.exists():
        return Judged(folder.name, Verdict("could not tell", failure.read_text().strip()))
    scene = Plan(**json.loads((folder / "plan.json").read_text()))
    word: dict[str, Any] = json.loads((folder / "mode.json").read_text())
    operations = history.load(folder / "history.jsonl")
    changes = history.load_journal(folder / "journal.jsonl")
    (last,) = history.load(folder / "last.jsonl")
    checked = check(operations, changes, Start(scene.tickets, scene.tickets), last)
    measured = measure(operations)
    return Judged(word["mode"], judge(word["claim"]["reach"], word["workers"], checked, measured), checked, measured)


def judged_run(folder: Path) -> list[Judged]:
    """Judge every mode of a run, in the order in which they ran."""
    modes = [path.parent for path in folder.glob("*/plan.json")]
    return [judged(path) for path in sorted(modes, key=lambda path: (path / "plan.json").stat().st_mtime_ns)]


def _save_reply(url: str, token: str, path: Path) -> None:
    with requests.Session() as session:
        session.trust_env = False
        reply = session.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=drive.REPLY_S)
        reply.raise_for_status()
        path.write_bytes(reply.content)
