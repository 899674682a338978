"""What only a cluster can suffer, under load on two hosts: judged by the exact check, as one system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.servers import etcd
from loadtest.servers.process import Missing
from service.catalogue import SCHEMES
from service.stores.etcd_gateway import fetch
from service.stores.etcd_line import EtcdLine
from tests.databases import missing
from tests.etcd_hosts import judged, open_doors, selling, served_again
from tests.etcd_island import Island, island
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

each_mode = pytest.mark.parametrize("mode", [name for name, scheme in SCHEMES.items() if scheme == "etcd"])


@pytest.fixture(scope="module")
def cluster() -> Iterator[etcd.Etcd]:
    """A cluster of our own: what is done to it would be felt by the tests that share one."""
    try:
        with etcd.running() as running:
            yield running
    except Missing as error:
        missing(error)


@pytest.fixture(scope="module")
def archipelago() -> Iterator[Island]:
    """A cluster with one member in a network namespace. It takes root; without, the test is skipped."""
    try:
        with island() as running:
            yield running
    except Missing as error:
        missing(error)


@each_mode
def test_members_are_paused_and_killed(tmp_path: Path, cluster: etcd.Etcd, mode: str) -> None:
    """The leader is stopped (as if it were cut off, and it takes no root), and goes on; the leader is killed; all are
    killed, as by a loss of power. Each time everybody is served again, under another leader while one is away. Nothing
    is lost or sold twice.
    """
    with selling(tmp_path, [cluster.url(mode)] * 2, mode) as hosts:
        open_doors(hosts)
        paused = leader_of(cluster)
        paused.pause()
        served_again(hosts)
        assert paused.process.pid != leader_of(cluster).process.pid
        paused.resume()
        served_again(hosts)
        killed = leader_of(cluster)
        killed.kill()
        served_again(hosts)
        assert killed.process.pid != leader_of(cluster).process.pid
        cluster.kill()
        cluster.start()
        served_again(hosts)
        assert judged(tmp_path, hosts) == []


def leader_of(cluster: etcd.Etcd) -> etcd.Node:
    """Return the member that leads, when there is one."""
    found: list[etcd.Node] = []

    def leads() -> bool:
        leader = cluster.leader()
        found[:] = [leader] if leader else []
        return bool(found)

    until(leads)
    return found[0]


@each_mode
def test_the_leader_is_cut_off_from_the_others(tmp_path: Path, archipelago: Island, mode: str) -> None:
    """Services still reach it, and one asks it first: it agrees to nothing more, and shows nothing old. The others
    elect a leader, by whom everybody is served; and so they are when it is back. Nothing is lost or sold twice.
    """
    archipelago.lead()
    with selling(tmp_path, [archipelago.url(mode, first) for first in (0, 1)], mode) as hosts:
        open_doors(hosts)
        archipelago.cut()
        served_again(hosts)
        assert archipelago.leader(among=1)
        archipelago.mend()
        served_again(hosts)
        assert judged(tmp_path, hosts) == []


def test_a_host_is_paused_while_it_holds_the_lock(tmp_path: Path, cluster: etcd.Etcd) -> None:
    """The other host is served when the lease has ended; what the paused one writes on its return is refused."""
    url = cluster.url("paused")
    store = EtcdLine(url)
    with selling(tmp_path, [url] * 2, "etcd_lock") as (paused, other):
        open_doors([paused])

        def stands_inside() -> bool:
            paused.pause()
            if not store.gateway.look(fetch(*store.keys.line("default"))).found[0]:
                paused.resume()
                return False
            return True

        until(stands_inside)
        open_doors([other])
        paused.resume()
        served_again([paused, other])
        store.close()
        assert judged(tmp_path, [paused, other]) == []
