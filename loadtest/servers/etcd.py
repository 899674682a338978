"""A private etcd cluster of three nodes on loopback, which elects a new leader in about half a second."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from loadtest.serve import free_ports
from loadtest.servers.process import Missing, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = 3
HEARTBEAT_MS, ELECTION_MS = 20, 200
"""Short, for the round trip between nodes of one machine is: the defaults are made for several houses."""
REPLY_S = 2.0


@dataclass(frozen=True, slots=True)
class Node:
    """One node, which can be killed, paused and started again by itself."""

    port: int
    process: Process

    def status(self) -> dict[str, Any]:
        """Return what it says of itself and of the leader. Raises ``requests.RequestException``."""
        return _asked(f"http://127.0.0.1:{self.port}/v3/maintenance/status")

    def kill(self) -> None:
        """SIGKILL the node."""
        self.process.kill()

    def start(self) -> None:
        """Start it again on the same data, and wait until it serves: it needs a second node for that."""
        self.process.start()

    def pause(self) -> None:
        """SIGSTOP the node."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.process.resume()


@dataclass(frozen=True, slots=True)
class Etcd:
    """A running cluster."""

    nodes: tuple[Node, ...]

    def url(self, name: str) -> str:
        """Return the address of an empty database of this name, which must be new: a prefix of all its keys."""
        return f"etcd://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}/{name}"

    @property
    def pids(self) -> tuple[int, ...]:
        """The nodes' processes."""
        return tuple(node.process.pid for node in self.nodes)

    def leader(self) -> Node | None:
        """Return the node that leads by its own word; ``None`` while there is none, or it cannot be reached."""
        for node in self.nodes:
            with contextlib.suppress(requests.RequestException, KeyError):
                said = node.status()
                if said["leader"] == said["header"]["member_id"]:
                    return node
        return None

    def kill(self) -> None:
        """SIGKILL all nodes."""
        for node in self.nodes:
            node.kill()

    def start(self) -> None:
        """Start all nodes again on the same data."""
        for node in self.nodes:
            node.process.launch()
        for node in self.nodes:
            node.process.wait_until_ready()

    def pause(self) -> None:
        """SIGSTOP all nodes."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """Let them go on."""
        for node in self.nodes:
            node.resume()


@contextlib.contextmanager
def running() -> Iterator[Etcd]:
    """Run a cluster without data until the end. Raises ``Missing`` or ``NotStarted``."""
    found = program()
    with tempfile.TemporaryDirectory(prefix="turnstile-etcd-") as name:
        each = free_ports(2 * NODES)
        cluster = Etcd(_nodes(found, Path(name), each[:NODES], each[NODES:]))
        try:
            cluster.start()
            yield cluster
        finally:
            for node in cluster.nodes:
                node.process.stop()


def program() -> str:
    """Return the server that is installed. Raises ``Missing``."""
    found = shutil.which("etcd")
    if found is None:
        raise Missing("there is no etcd server here: apt install etcd-server")
    return found


def _nodes(found: str, place: Path, ports: list[int], peers: list[int]) -> tuple[Node, ...]:
    addresses = [f"http://127.0.0.1:{peer}" for peer in peers]
    members = ",".join(f"node-{number}={address}" for number, address in enumerate(addresses))
    nodes = []
    for number, (port, address) in enumerate(zip(ports, addresses, strict=True)):
        folder = place / f"node-{number}"
        folder.mkdir()
        client = f"http://127.0.0.1:{port}"
        words = {
            "name": folder.name, "data-dir": folder / "data", "logger": "zap", "log-level": "warn",
            "listen-client-urls": client, "advertise-client-urls": client,
            "listen-peer-urls": address, "initial-advertise-peer-urls": address,
            "initial-cluster": members, "initial-cluster-state": "new", "initial-cluster-token": place.name,
            "heartbeat-interval": HEARTBEAT_MS, "election-timeout": ELECTION_MS,
        }  # fmt: skip
        command = [found, *(f"--{word}={value}" for word, value in words.items())]
        nodes.append(Node(port, Process(command, folder, partial(_healthy, port))))
    return tuple(nodes)


def _healthy(port: int) -> bool:
    try:
        with _session() as session:
            said = session.get(f"http://127.0.0.1:{port}/health", timeout=REPLY_S).json()
    except (requests.RequestException, ValueError):
        return False
    return bool(said == {"health": "true"})


def _asked(url: str) -> dict[str, Any]:
    with _session() as session:
        said: dict[str, Any] = session.post(url, json={}, timeout=REPLY_S).json()
    return said


def _session() -> requests.Session:
    """Return a session that takes nothing from the environment: no proxy stands before our own machine."""
    made = requests.Session()
    made.trust_env = False
    return made
