"""A cluster of three members, one of them in a network namespace of its own, on an island.

Two cables lead there: one for what members say to each other, which can be cut, and one for who asks for tickets. So a
service still reaches the member that is cut off from the others, and asks it first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from loadtest.serve import free_ports
from loadtest.servers.etcd import ELECTION_MS, HEARTBEAT_MS
from loadtest.servers.process import Missing, Process
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = f"ts{os.getpid()}"
"""What namespace and cables are called by; a cable's end may have 15 characters."""
NET = f"10.213.{os.getpid() % 256}"
ASHORE_PEER, ISLAND_PEER = f"{NET}.1", f"{NET}.2"
ASHORE_CLIENT, ISLAND_CLIENT = f"{NET}.5", f"{NET}.6"
PEERS = (ISLAND_PEER, ASHORE_PEER, ASHORE_PEER)
CLIENTS = (ISLAND_CLIENT, "127.0.0.1", "127.0.0.1")
"""Where each member is asked by the others, and by services."""
REPLY_S = 2.0


class Island:
    """The cluster. The first member is the one on the island."""

    def __init__(self, folder: Path) -> None:
        ports = iter(free_ports(len(CLIENTS) + len(PEERS)))
        self._clients = [f"{host}:{next(ports)}" for host in CLIENTS]
        peers = [f"http://{host}:{next(ports)}" for host in PEERS]
        members = ",".join(f"member-{number}={peer}" for number, peer in enumerate(peers))
        self._processes = []
        for number, (asked, peer) in enumerate(zip(self._clients, peers, strict=True)):
            place = folder / f"member-{number}"
            place.mkdir()
            words = {
                "name": place.name, "data-dir": place / "data", "logger": "zap", "log-level": "error",
                "listen-client-urls": f"http://{asked}", "advertise-client-urls": f"http://{asked}",
                "listen-peer-urls": peer, "initial-advertise-peer-urls": peer, "initial-cluster": members,
                "heartbeat-interval": HEARTBEAT_MS, "election-timeout": ELECTION_MS,
            }  # fmt: skip
            where = [] if number else ["ip", "netns", "exec", NAME]
            command = [*where, "etcd", *(f"--{word}={value}" for word, value in words.items())]
            self._processes.append(Process(command, place, partial(self._healthy, asked)))

    def start(self) -> None:
        """Start all."""
        for process in self._processes:
            process.launch()
        for process in self._processes:
            process.wait_until_ready()

    def lead(self) -> None:
        """Let the member on the island lead."""
        until(self._is_led_from_the_island)

    def stop(self) -> None:
        """End all of it."""
        for process in self._processes:
            process.stop()

    def url(self, name: str, first: int) -> str:
        """Return an address of a database, with the members in order from ``first`` on."""
        return f"etcd://{','.join([*self._clients[first:], *self._clients[:first]])}/{name}"

    def leader(self, among: int = 0) -> str:
        """Return the leader by its own word, from the member ``among`` on; nothing while there is none."""
        for member in self._clients[among:]:
            with contextlib.suppress(requests.RequestException, KeyError):
                said = self._status(member)
                if said["leader"] == said["header"]["member_id"]:
                    return member
        return ""

    def cut(self) -> None:
        """Cut the cable between the members."""
        _ip("netns", "exec", NAME, "ip", "link", "set", f"{NAME}p1", "down")

    def mend(self) -> None:
        """Mend it."""
        _ip("netns", "exec", NAME, "ip", "link", "set", f"{NAME}p1", "up")

    def _is_led_from_the_island(self) -> bool:
        """Tell whether it is; ask for it, if not."""
        with contextlib.suppress(requests.RequestException, KeyError):
            leader, there = self.leader(), self._clients[0]
            if leader == there:
                return True
            target = self._status(there)["header"]["member_id"]
            _asked(leader, "maintenance/transfer-leadership", {"targetID": target})
        return False

    def _status(self, member: str) -> dict[str, Any]:
        return _asked(member, "maintenance/status", {})

    @staticmethod
    def _healthy(member: str) -> bool:
        with contextlib.suppress(requests.RequestException, ValueError):
            return bool(_session().get(f"http://{member}/health", timeout=REPLY_S).json() == {"health": "true"})
        return False


@contextlib.contextmanager
def island() -> Iterator[Island]:
    """Make namespace and cables, run the cluster, and take all of it away. Raises ``Missing``; skips without root."""
    if not shutil.which("etcd"):
        raise Missing("there is no etcd server here: apt install etcd-server")
    if not shutil.which("ip"):
        raise Missing("there is no ip to make a network namespace with: apt install iproute2")
    if os.geteuid():
        pytest.skip("only root may make a network namespace: run this test as root")
    try:
        _ip("netns", "add", NAME)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    with contextlib.ExitStack() as stack:
        stack.callback(_ip, "netns", "del", NAME)
        _ip("netns", "exec", NAME, "ip", "link", "set", "lo", "up")  # a member's gateway asks the member by its address
        for cable, ashore, there in (("p", ASHORE_PEER, ISLAND_PEER), ("c", ASHORE_CLIENT, ISLAND_CLIENT)):
            _ip("link", "add", f"{NAME}{cable}0", "type", "veth", "peer", "name", f"{NAME}{cable}1", "netns", NAME)
            _ip("addr", "add", f"{ashore}/30", "dev", f"{NAME}{cable}0")
            _ip("link", "set", f"{NAME}{cable}0", "up")
            _ip("netns", "exec", NAME, "ip", "addr", "add", f"{there}/30", "dev", f"{NAME}{cable}1")
            _ip("netns", "exec", NAME, "ip", "link", "set", f"{NAME}{cable}1", "up")
            stack.callback(_ip, "link", "del", f"{NAME}{cable}0")
        cluster = Island(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnstile-island-"))))
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)  # noqa: S607  # wherever it is


def _asked(member: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = _session().post(f"http://{member}/v3/{path}", json=body, timeout=REPLY_S).json()
    return said


def _session() -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    return made
