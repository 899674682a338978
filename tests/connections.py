"""A service with one worker of one thread, and clients in bytes, for what is about connections."""

from __future__ import annotations

import json
import socket
from collections import deque
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

import requests

from loadtest import serve
from service.flock import flock
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.serve import Service

BODY = b'{"quantity": 1}'
HEAD = b"POST /buy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BUY = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
PROGRAMS = {"later", "hasty", "narrow"}
CLIENTS = 20
STILL = 50


class Client:
    """A connection of a buyer, in bytes."""

    def __init__(self, url: str, receive_bytes: int | None = None) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect((host, int(port)))
        except OSError:
            self.socket.close()
            raise
        self._replies = self.socket.makefile("rb")

    def __enter__(self) -> Self:  # noqa: D105  # it says itself
        return self

    def __exit__(self, *_: object) -> None:  # noqa: D105  # it says itself
        self._replies.close()
        self.socket.close()

    def send(self, request: bytes = BUY) -> None:
        self.socket.sendall(request)

    def reply(self) -> tuple[int, dict[str, str], dict[str, object]]:
        """Return the status, the headers and the body of the next reply."""
        status = int(self._replies.readline().split()[1])
        headers = {}
        while line := self._replies.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        length = int(headers.get("Content-Length", 0))
        return status, headers, json.loads(self._replies.read(length)) if length else {}

    def ended(self) -> bool:
        """Tell whether the other side has closed the connection, and sent nothing more."""
        try:
            return self._replies.read() == b""
        except ConnectionResetError:
            return True


@contextmanager
def service(place: Path, mode: str = "group_commit", **flags: object) -> Iterator[Service]:
    """One worker with one thread."""
    (place / "data").mkdir(exist_ok=True)
    (place / "data" / "default.json").write_text('{"count": 1000000}')
    program = f"tests.{mode}_program" if mode in PROGRAMS else "service"
    mode = "group_commit" if mode in {"hasty", "narrow"} else mode
    words = {"mode": mode, "workers": 1, "threads": 1, "wait_s": PATIENCE_S, **flags}
    with serve.service(place, words, program) as started:
        yield started


@contextmanager
def held(place: Path) -> Iterator[None]:
    with flock(place / "data" / "default.flock", wait=True):
        yield


def look(url: str) -> dict[str, int]:
    found: dict[str, int] = requests.get(f"{url}/tickets", timeout=PATIENCE_S).json()
    return found


def settled(url: str) -> int:
    """Return the version at which an event stands, when it has stood there for ``STILL`` looks."""
    versions: deque[int] = deque(maxlen=STILL)

    def still() -> bool:
        versions.append(look(url)["version"])
        return len(versions) == STILL and len(set(versions)) == 1

    until(still)
    return versions[-1]


def clients(stack: ExitStack, url: str, number: int = CLIENTS) -> list[Client]:
    return [stack.enter_context(Client(url)) for _ in range(number)]
