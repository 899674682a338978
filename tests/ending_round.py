"""A round of ends: a crowd buys, the service ends, replaces its workers or has one that hangs, and the whole is judged.

``python -m tests.ending_round --write`` does so for every mode, and makes the table in ``docs/reliability.md``.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click
import requests

from service.catalogue import CLAIMS, SCHEMES
from service.words import HANG_S_MIN
from tests import reliability
from tests.crash_round import TICKETS, judge
from tests.crowd import Crowd
from tests.databases import Databases
from tests.forked_service import Forked
from tests.patrons import EVENT, REFUSED, Patron, RawPatron
from tests.waiting import PROGRAM_S, until_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash_round import Judged

End = Literal["SIGHUP", "SIGTERM", "hangs"]
"""``hangs`` is a worker that is stopped, and never goes on."""
ROUNDS: dict[End, int] = {"SIGHUP": 5, "SIGTERM": 3, "hangs": 1}
SEED = 1
WAIT_S = 15.0
"""Longer than a busy machine keeps anybody waiting: who is told to come again was told so because of an end."""
PAUSES_S = (0.0, 0.3, 1.5)
"""Of the patrons, between two requests: none, some, and longer than an ending service keeps an idle connection."""
FINE: dict[End, set[str]] = {
    "SIGHUP": {"200", "201"},
    "SIGTERM": {"200", "201", "503", "busy", "408", "NeverSent", REFUSED},
    "hangs": {"200", "201", "503", "busy"},
}
"""What may be told: with SIGHUP nothing else than that it was done, with SIGTERM also that it certainly was not."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a round. ``failed`` counts the calls that were told something else than may be told, by what."""

    requests: int
    failed: Counter[str]
    wrong: list[str]
    lost: int
    twice: int
    longest_s: float


def ends(folder: Path, mode: str, end: End, times: int, **flags: object) -> Ended:
    """Run a service under load, let ``end`` befall it ``times`` times, and judge what everybody was told."""
    service = Forked(folder, mode, TICKETS, None, **{"wait_s": WAIT_S, "hang_s": HANG_S_MIN, **flags})
    crowd = Crowd(service.url, TICKETS, SEED)
    patrons: list[Patron] = []
    longest_s = 0.0
    wrong: list[str] = []
    try:
        service.start()
        _open(service)
        crowd.doors.set()
        patrons = [kind(service.url, crowd.doors, pause_s) for kind in (Patron, RawPatron) for pause_s in PAUSES_S]
        for _ in range(times):
            crowd.served_again(PROGRAM_S)
            began = time.monotonic()
            wrong += _befalls(end, service, crowd)
            longest_s = max(longest_s, time.monotonic() - began)
            if end == "SIGTERM":
                service.start()
                crowd.doors.set()
        crowd.served_again(PROGRAM_S)
        for each in patrons:
            each.leaves()
        crowd.disperse()
        told = sum((each.told for each in patrons), Counter[str]())
        wrong += _of_patrons(service, told, surely=end != "hangs")
        judged = judge(service, crowd.rows, [], wrong)
    finally:
        service.kill()
        crowd.disperse()
    return _sum(judged, told, end, longest_s)


def _sum(judged: Judged, told: Counter[str], end: End, longest_s: float) -> Ended:
    told.update(row.problem or str(row.status) for row in judged.operations)
    failed = Counter({what: count for what, count in told.items() if what not in FINE[end]})
    lost, twice = (len(judged.anomalies & kinds) for kinds in (reliability.LOST, reliability.TWICE))
    return Ended(told.total(), failed, judged.wrong, lost, twice, longest_s)


def _open(service: Forked) -> None:
    ours = {"Authorization": f"Bearer {service.token}"}
    place = f"{service.url}/events/{EVENT}"
    assert requests.put(place, json={"capacity": TICKETS}, headers=ours, timeout=PROGRAM_S).status_code == 201


def _befalls(end: End, service: Forked, crowd: Crowd) -> list[str]:
    former, _ = service.whole()
    if end == "SIGTERM":
        code = service.stop()
        crowd.doors.clear()
        service.gone()
        return [f"it ended with {code}"] * (code != 0)
    if end == "SIGHUP":
        os.kill(service.master, signal.SIGHUP)
    else:
        former = former[:1]
        os.kill(former[0], signal.SIGSTOP)
    until_within(PROGRAM_S, lambda: not any(Path(f"/proc/{pid}").exists() for pid in former))
    service.whole()
    return []


def _of_patrons(service: Forked, told: Counter[str], *, surely: bool) -> list[str]:
    """Hold what the patrons were told against the event that they alone buy from."""
    version = requests.get(f"{service.url}/events/{EVENT}", timeout=PROGRAM_S).json()["version"]
    if told["201"] == version or (not surely and told["201"] < version):
        return []
    return [f"patrons were sold {told['201']} tickets, and {version} sales are recorded"]


def _row(mode: str, end: End, times: int, found: Ended) -> str:
    figures = (times, found.requests, found.failed.total(), found.lost, found.twice)
    return f"| `{mode}` | {end} | {' | '.join(f'{each:,}' for each in figures)} | {found.longest_s:.1f} |"


@click.command
@click.option("--modes", default="", help="names, separated by commas; none: all that keep processes apart")
@click.option("--times", default=1, show_default=True, help="so many times as many rounds")
@click.option("--write", is_flag=True, help="put the table into docs/reliability.md")
def main(modes: str, times: int, write: bool) -> None:  # noqa: FBT001  # as click has it
    """End services under load, and replace their workers."""
    rows = ["| mode | what | rounds | requests | failed | lost | sold twice | longest, s |"]
    rows += ["| --- | --- | --: | --: | --: | --: | --: | --: |"]
    bad: list[str] = []
    chosen: Sequence[str] = modes.split(",") if modes else [name for name in CLAIMS if _keeps_apart(name)]
    with tempfile.TemporaryDirectory() as place:
        databases = Databases(Path(place))
        for mode in chosen:
            for end in get_args(End):
                if end == "hangs" and mode == "process_lock":
                    continue  # its claim says that it is blocked then
                url = {"url": databases.fresh(SCHEMES[mode])} if mode in SCHEMES else {}
                found = ends(Path(place) / f"{mode}-{end}", mode, end, ROUNDS[end] * times, **url)
                bad += [*found.wrong, *(found.failed if end != "hangs" else ())]
                rows.append(_row(mode, end, ROUNDS[end] * times, found))
                click.echo(rows[-1])
                for sentence in [*found.wrong, *(f"{count} times: {what}" for what, count in found.failed.items())]:
                    click.echo(f"  {mode}, {end}: {sentence}", err=True)
        databases.close()
    if write:
        reliability.renew("ends", "\n".join(rows), named_by=2)
    if bad:
        raise click.ClickException(f"{len(bad)} findings, which stand above: {bad[0]}")


def _keeps_apart(mode: str) -> bool:
    return CLAIMS[mode].reach in {"processes", "hosts"}


if __name__ == "__main__":
    main()
