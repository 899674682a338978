"""The whole service on Redis, whose server is killed under load."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from loadtest import client, history, transport
from loadtest.check import Start, check
from loadtest.history import Operation
from loadtest.servers import redis
from loadtest.servers.process import Missing
from tests.crowd import Crowd
from tests.databases import missing
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.serve import Service

TICKETS = 1_000_000
KILLS = 3


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    """A server of one's own, to be killed."""
    try:
        with redis.running() as started:
            yield started
    except Missing as error:
        missing(error)


@pytest.mark.parametrize("mode", ["redis_script", "redis_group"])
def test_a_server_that_is_killed_under_load_loses_no_sale(
    served: Callable[..., Service], server: redis.Redis, tmp_path: Path, mode: str
) -> None:
    """Every sale is on disk before its reply: what buyers were told is in the journal, to the last ticket, and whoever
    was told that nobody knows may have bought or not.
    """
    service = served(mode, TICKETS, url=server.url("tickets"))
    crowd = Crowd(service.url, TICKETS, 1)
    moments = []
    try:
        crowd.doors.set()
        for _ in range(KILLS):
            crowd.served_again()
            moments.append(time.monotonic_ns())
            server.kill()
            until(lambda: any(row.outcome == "not done" and row.called > moments[-1] for row in crowd.rows))
            server.start()
        crowd.served_again()
    finally:
        crowd.disperse()
    assert any(row.called < moment < row.returned for row in crowd.rows for moment in moments)
    assert {"done", "not done"} <= {row.outcome for row in crowd.rows}
    assert found(service, crowd.rows, tmp_path / "journal.jsonl") == []


def found(service: Service, rows: list[Operation], journal: Path) -> list[str]:
    """Return what the check finds wrong."""
    event = f"{service.url}/events/default"
    with transport.session() as session:
        headers = {"Authorization": f"Bearer {service.token}"}
        journal.write_text(session.get(f"{event}/journal?after=0", headers=headers, timeout=client.REPLY_S).text)
        last = client.look(session, event, Operation("look", "the last look", -1, 0, 0, 0, "unknown"))
    operations = sorted(rows, key=lambda row: row.called)
    checked = check(operations, history.load_journal(journal), Start(TICKETS, TICKETS), last)
    return [finding.worst.sentence for finding in checked.findings]
