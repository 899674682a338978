"""A round of kills: a crowd buys, processes of the service are killed at random moments, and the whole is judged."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from loadtest import client, history, transport
from loadtest.check import Start, check
from loadtest.history import Operation
from service.stores import recovery
from tests.crowd import Crowd
from tests.forked_service import Forked
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

Victim = Literal["worker", "writer", "group", "start", "master"]
"""``group`` is the whole service at once; ``start`` is that, and then the next one while it starts."""
VICTIMS: tuple[Victim, ...] = get_args(Victim)

TICKETS = 1_000_000
LONGEST_S = 0.03
"""The longest pause between everybody's having been served again and the next kill; and the longest that a service has
to start until it is killed.
"""
ASKED_AGAIN = 3
"""Of so many of the last sales before a kill the service is asked after it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a round. ``wrong`` has a sentence for everything that should not be; ``under_way`` counts the kills
    at whose moment an order was under way.
    """

    operations: list[Operation]
    wrong: list[str]
    anomalies: set[str]
    under_way: int


def crash(
    folder: Path,
    mode: str,
    victims: Sequence[Victim],
    chance: random.Random,
    plant: Callable[[], None] | None = None,
    patience_s: float = PATIENCE_S,
    **flags: object,
) -> Judged:
    """Run a service under load, kill ``victims`` one after the other, and judge what everybody was told.

    Before and after each kill everybody is served. Raises ``Stuck`` if somebody is not.
    """
    service = Forked(folder, mode, TICKETS, plant, **flags)
    crowd = Crowd(service.url, TICKETS, chance.getrandbits(32))
    try:
        service.start()
        crowd.doors.set()
        crowd.served_again(patience_s)
        moments: list[int] = []
        wrong: list[str] = []
        for victim in victims:
            workers, writers = service.whole()
            time.sleep(chance.uniform(0, LONGEST_S))
            moments.append(time.monotonic_ns())
            _kill(victim, chance.choice(workers), writers, service)
            if victim not in {"worker", "writer"}:
                crowd.doors.clear()
                _start_again(victim, service, chance)
                crowd.doors.set()
            crowd.served_again(patience_s)
            service.whole()
            wrong += _asked_again(service, crowd.rows, moments[-1])
        crowd.disperse()
        return judge(service, crowd.rows, moments, wrong)
    finally:
        service.kill()
        crowd.disperse()


def _kill(victim: Victim, worker: int, writers: Sequence[int], service: Forked) -> None:
    match victim:
        case "worker":
            os.kill(worker, signal.SIGKILL)
        case "writer":
            os.kill(writers[0], signal.SIGKILL)
        case "group" | "start":
            os.killpg(service.master, signal.SIGKILL)
        case "master":
            os.kill(service.master, signal.SIGKILL)


def _start_again(victim: Victim, service: Forked, chance: random.Random) -> None:
    service.gone()
    if victim == "start":
        service.begin()
        time.sleep(chance.uniform(0, LONGEST_S))
        service.kill()
        service.gone()
    service.start()


def _asked_again(service: Forked, rows: Sequence[Operation], moment: int) -> list[str]:
    """Ask the service, whole again, for the last sales that were asked for before ``moment``, and acknowledged."""
    wrong = []
    told = [row for row in rows if row.outcome == "done" and row.called < moment][-ASKED_AGAIN:]
    with transport.session() as session:
        for row in told:
            reply = session.get(f"{service.url}/orders/{row.order}", timeout=client.REPLY_S)
            said = reply.json()
            if (said.get("version"), tuple(said.get("tickets", ()))) != (row.version, row.tickets):
                wrong.append(f"{row.name} was told version {row.version}, and now: {reply.status_code} {reply.text}")
    return wrong


def judge(service: Forked, rows: Sequence[Operation], moments: Sequence[int], wrong: list[str]) -> Judged:
    """Hold every reply against the journal, the last look and each other; then let recovery judge the files, if any."""
    event = f"{service.url}/events/default"
    with transport.session() as session:
        headers = {"Authorization": f"Bearer {service.token}"}
        journal = session.get(f"{event}/journal?after=0", headers=headers, timeout=client.REPLY_S)
        last = client.look(session, event, Operation("look", "the last look", -1, 0, 0, 0, "unknown"))
    kept = service.log.with_name("journal.jsonl")
    kept.write_text(journal.text)
    operations = sorted(rows, key=lambda row: row.called)
    checked = check(operations, history.load_journal(kept), Start(TICKETS, TICKETS), last)
    code = service.stop()
    service.gone()
    if service.on_files:
        os.close(recovery.prepare(service.data, "a test that looks whether the store is whole", verify=True).descriptor)
    return Judged(
        operations,
        wrong + [f"it ended with {code}"] * (code != 0) + [finding.worst.sentence for finding in checked.findings],
        {finding.anomaly for finding in checked.findings},
        sum(any(row.called < moment < row.returned for row in operations) for moment in moments),
    )
