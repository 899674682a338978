"""What a stranger sees of a service that others storm: ``python -m bench.prober PORT --seconds 4``.

A process of its own, which does so little that it is never late itself. Each look is a new connection: the time runs
from before it is opened to the last byte of the reply. Printed as one line of JSON: for each kind of request, the
status (0: no answer in time) and the seconds of each look.
"""

from __future__ import annotations

import json
import socket
import time
from threading import Thread

import click

from bench.storm import BUY

CHECK = b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
KINDS = {"buy": (BUY, 0.02), "healthz": (CHECK % b"healthz", 0.1), "readyz": (CHECK % b"readyz", 0.1)}
"""What is asked, and the pause between two looks in seconds."""
PATIENCE_S = 10.0
REPLY_BYTES_MAX = 4096
HEAD_END = b"\r\n\r\n"
LENGTH = b"Content-Length: "


@click.command(help=__doc__)
@click.argument("port", type=int)
@click.option("--seconds", default=3.0, show_default=True)
def main(port: int, seconds: float) -> None:
    """Look until the time is over, and print what was seen."""
    seen: dict[str, list[tuple[int, float]]] = {kind: [] for kind in KINDS}
    end = time.monotonic() + seconds
    threads = [
        Thread(target=_look_on, args=(port, request, pause_s, end, seen[kind]))
        for kind, (request, pause_s) in KINDS.items()
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    click.echo(json.dumps(seen))


def _look_on(port: int, request: bytes, pause_s: float, end: float, seen: list[tuple[int, float]]) -> None:
    while time.monotonic() < end:
        began = time.perf_counter()
        status = _look(port, request)
        seen.append((status, time.perf_counter() - began))
        time.sleep(pause_s)


def _look(port: int, request: bytes) -> int:
    """Ask once, read all of the reply, and return its status."""
    reply = b""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
            client.sendall(request)
            while not _whole(reply):
                piece = client.recv(REPLY_BYTES_MAX)
                if not piece:
                    return 0
                reply += piece
    except OSError:
        return 0
    return int(reply.split(b" ", 2)[1])


def _whole(reply: bytes) -> bool:
    head, end, body = reply.partition(HEAD_END)
    return bool(end) and len(body) >= int(head.partition(LENGTH)[2].split(b"\r\n")[0])


if __name__ == "__main__":
    main()
