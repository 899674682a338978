"""Several hosts that sell the same tickets over one cluster, a crowd at each, judged as one system."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest import client, history, transport
from loadtest.check import Start, check
from loadtest.history import Operation
from tests.crowd import Crowd
from tests.forked_service import Forked
from tests.processes import alive_of, state
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TICKETS = 1_000_000
BUYERS = 3
LIVES = 1000 * BUYERS
"""More numbers than the buyers of one crowd ever take."""


@dataclass(frozen=True, slots=True)
class Host:
    """A service, and the crowd that buys there."""

    service: Forked
    crowd: Crowd

    def pause(self) -> None:
        """SIGSTOP all of its processes, and wait until they stand still."""
        os.killpg(self.service.master, signal.SIGSTOP)
        until(lambda: all(state(int(pid)) == "T" for pid in alive_of(self.service.master)))

    def resume(self) -> None:
        """Let them go on."""
        os.killpg(self.service.master, signal.SIGCONT)

    def close(self) -> None:
        """End it, and let the crowd go."""
        self.service.kill()
        self.crowd.disperse()


@contextlib.contextmanager
def selling(folder: Path, urls: Sequence[str], mode: str) -> Iterator[list[Host]]:
    """Run a host for each address of the same database, with a crowd that waits for its doors to open."""
    with contextlib.ExitStack() as stack:
        hosts = []
        for number, url in enumerate(urls):
            service = Forked(folder / f"host-{number}", mode, TICKETS, None, url=url, workers=1)
            hosts.append(Host(service, Crowd(service.url, TICKETS, number, number * LIVES, BUYERS)))
            stack.callback(hosts[-1].close)
            service.start()
        yield hosts


def open_doors(hosts: Sequence[Host]) -> None:
    """Let the crowds buy, and wait until everybody has."""
    for host in hosts:
        host.crowd.doors.set()
    served_again(hosts)


def served_again(hosts: Sequence[Host]) -> None:
    """Wait until everybody has bought something that was asked for from now on."""
    for host in hosts:
        host.crowd.served_again()


def judged(folder: Path, hosts: Sequence[Host]) -> list[str]:
    """Let the crowds go, and return a sentence for everything that should not be."""
    for host in hosts:
        host.crowd.disperse()
    service = hosts[-1].service
    event = f"{service.url}/events/default"
    with transport.session() as session:
        headers = {"Authorization": f"Bearer {service.token}"}
        journal = session.get(f"{event}/journal?after=0", headers=headers, timeout=client.REPLY_S)
        last = client.look(session, event, Operation("look", "the last look", -1, 0, 0, 0, "unknown"))
    kept = folder / "journal.jsonl"
    kept.write_text(journal.text)
    operations = sorted((row for host in hosts for row in host.crowd.rows), key=lambda row: row.called)
    checked = check(operations, history.load_journal(kept), Start(TICKETS, TICKETS), last)
    return [finding.worst.sentence for finding in checked.findings]
