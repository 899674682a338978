"""The private servers: they are there when they say so, keep what they were given through a SIGKILL, and are gone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from loadtest.servers import etcd, postgres, redis
from loadtest.servers.process import Missing, NotStarted, family
from tests.databases import missing
from tests.processes import alive_in, state
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from loadtest.servers.process import Process


def gone(process: Process) -> bool:
    """Tell whether nothing of a server is left, neither in memory nor on disk."""
    return not process.folder.exists() and not alive_in(process.folder)


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(postgres, "DEBIAN", postgres.DEBIAN / "nowhere")


def test_postgres_keeps_what_was_committed_through_a_kill() -> None:
    """A database for each name; after SIGKILL of all its processes it comes back with the row; then nothing is left."""
    try:
        with postgres.running() as server:
            assert server.url("first") != server.url("second")
            server.psql("first", "CREATE TABLE kept (what int); INSERT INTO kept VALUES (7)")
            everybody = family(server.process.pid)
            server.kill()
            assert all(state(pid) in {"", "Z"} for pid in everybody)
            server.start()
            assert server.psql("first", "SELECT what FROM kept").strip() == "7"
            assert server.psql("second", "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'").strip() == "0"
            assert server.psql("first", "SHOW fsync").strip() == "on"
    except Missing as error:
        missing(error)
    assert gone(server.process)


def test_redis_is_on_disk_before_it_answers_and_a_replica_has_what_reached_it() -> None:
    """After a SIGKILL the primary has the key; the replica had it too, and takes writes once it is promoted."""
    try:
        with redis.running() as primary:
            assert primary.ask("SET kept 7").startswith("+OK")
            with redis.running(primary) as replica:
                assert "7" in replica.ask("GET kept")
                assert replica.ask("SET own 1").startswith("-READONLY")
                primary.kill()
                replica.promote()
                assert replica.ask("SET own 1").startswith("+OK")
                primary.start()
                assert "7" in primary.ask("GET kept")
            assert gone(replica.process)
    except Missing as error:
        missing(error)
    assert gone(primary.process)


def test_etcd_elects_another_leader_when_the_first_is_killed() -> None:
    """One node leads by its own word; without it another does; it comes back as a follower, or as a leader again."""
    try:
        with etcd.running() as cluster:
            first = cluster.leader()
            assert first is not None
            first.kill()
            until(lambda: cluster.leader() not in {None, first})
            first.start()
            until(lambda: {node.status()["leader"] for node in cluster.nodes} != {"0"})
            cluster.pause()
            until(lambda: all(state(node.process.pid) == "T" for node in cluster.nodes))
            cluster.resume()
            until(lambda: cluster.leader() is not None)
    except Missing as error:
        missing(error)
    assert all(gone(node.process) for node in cluster.nodes)


@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize(
    ("running", "package"),
    [(postgres.running, "postgresql"), (redis.running, "redis-server"), (etcd.running, "etcd-server")],
)
def test_a_server_that_is_not_there_is_a_sentence_that_says_how_to_get_it(
    running: Callable[[], AbstractContextManager[object]], package: str
) -> None:
    """``apt install`` and the package."""
    with pytest.raises(Missing, match=f"apt install {package}"), running():
        pass


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own last words; and nothing of it is left."""
    monkeypatch.setattr(redis, "PROGRAMS", ("false",))
    with pytest.raises(NotStarted, match="false ended with 1 instead of starting: it said nothing"), redis.running():
        pass
