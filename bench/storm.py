"""Buyers by the thousand, as cheap as Python can make them: ``python -m bench.storm PORT --rate 20000 --seconds 4``.

One process, one epoll, bare sockets and one request made beforehand: what a request costs here is taken from the
service on the same processors. With ``--rate`` the loop is open: purchases are planned evenly, and one that finds no
connection free, and no room for another, is *kept out*. Without it every buyer asks again as soon as it is answered.
What came of all is printed as one line of JSON.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field

import click

BODY = b'{"quantity": 1}'
HEAD = b"POST /buy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BUY = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
ONCE = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
BEGINS = b"HTTP/1.1 "
REPLY_BYTES_MAX = 4096
BIN_S = 0.1
"""How finely is told what came back when."""
TICK_S = 0.001
"""How long to wait for replies before the next purchases are sent."""
OPENED_A_TICK_MAX = 200
EVENTS_MAX = 512


@dataclass(slots=True)
class Came:
    """What came of the purchases. Times are in seconds, and bins count from the start."""

    statuses: Counter[int] = field(default_factory=Counter)
    late: dict[int, array[float]] = field(default_factory=dict)
    """How long each reply took that came, by status."""
    bins: dict[int, Counter[int]] = field(default_factory=dict)
    sent: int = 0
    kept_out: int = 0
    not_connected: int = 0
    """Connections that the kernel had not made at once: there was no room in the queue of those to be accepted."""
    lost: int = 0
    """Connections that ended without a reply."""


class Storm:
    """The buyers, their connections, and what came of them."""

    def __init__(self, port: int, rate: float, connections: int, *, fresh: bool) -> None:
        self._place = ("127.0.0.1", port)
        self._rate, self._most, self._fresh = rate, connections, fresh
        self._epoll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._asked: dict[int, float] = {}
        self._free: deque[int] = deque()
        self.came = Came()

    def run(self, seconds: float) -> None:
        """Buy for so long."""
        began = time.perf_counter()
        planned = 0
        while (now := time.perf_counter()) < began + seconds:
            if self._rate:
                due = int((now - began) * self._rate) - planned
                planned += due
                self._send(due, now)
            else:
                self._send(self._most - len(self._open) + len(self._free), now)
            for number, _ in self._epoll.poll(TICK_S, EVENTS_MAX):
                self._readable(number, began)
        for each in self._open.values():
            each.close()

    def _send(self, due: int, now: float) -> None:
        """Send so many purchases: on connections that are free, and then on new ones."""
        opened = 0
        for left in range(due, 0, -1):
            if self._free:
                number = self._free.popleft()
            elif len(self._open) < self._most and opened < OPENED_A_TICK_MAX:
                opened += 1
                try:
                    number = self._connected()
                except OSError:  # the machine has no port left
                    self.came.kept_out += 1
                    continue
            else:
                self.came.kept_out += left if self._rate else 0
                return
            self._asked[number] = now
            self._ask(number)

    def _ask(self, number: int) -> None:
        try:
            self._open[number].send(ONCE if self._fresh else BUY)
            self.came.sent += 1
        except BlockingIOError:  # not connected yet
            self.came.not_connected += 1
            self._epoll.modify(number, select.EPOLLOUT)
        except OSError:
            self._lose(number)

    def _connected(self) -> int:
        made = socket.socket()
        made.setblocking(False)  # noqa: FBT003  # as Python has it
        failed = made.connect_ex(self._place)
        if failed not in {0, errno.EINPROGRESS}:
            made.close()
            raise OSError(failed, os.strerror(failed))
        number = made.fileno()
        self._open[number] = made
        self._epoll.register(number, select.EPOLLIN)
        return number

    def _readable(self, number: int, began: float) -> None:
        client = self._open[number]
        try:
            reply = client.recv(REPLY_BYTES_MAX)
        except BlockingIOError:  # it is connected by now
            self._epoll.modify(number, select.EPOLLIN)
            self._ask(number)
            return
        except OSError:
            reply = b""
        if reply and not (reply := reply[reply.find(BEGINS) :]).startswith(BEGINS):
            return  # the rest of a reply that was counted
        asked = self._asked.pop(number, None)
        if reply and asked is not None:
            now = time.perf_counter()
            status = int(reply[len(BEGINS) : len(BEGINS) + 3])
            came = self.came
            came.statuses[status] += 1
            came.late.setdefault(status, array("d")).append(now - asked)
            came.bins.setdefault(int((now - began) / BIN_S), Counter())[status] += 1
        elif asked is not None:
            self._lose(number)
            return
        if not reply or b"\r\nConnection: close\r\n" in reply:
            self._open.pop(number).close()
        else:
            self._free.append(number)

    def _lose(self, number: int) -> None:
        self.came.lost += 1
        self._asked.pop(number, None)
        self._open.pop(number).close()


@click.command(help=__doc__)
@click.argument("port", type=int)
@click.option("--rate", default=0.0, help="purchases a second; 0: as fast as they are answered")
@click.option("--connections", default=64, show_default=True, help="most connections at once, one purchase on each")
@click.option("--seconds", default=3.0, show_default=True)
@click.option("--fresh", is_flag=True, help="a new connection for every purchase")
def main(port: int, rate: float, connections: int, seconds: float, *, fresh: bool) -> None:
    """Buy, and print what came of it."""
    storm = Storm(port, rate, connections, fresh=fresh)
    storm.run(seconds)
    came = storm.came
    click.echo(
        json.dumps(
            {
                "seconds": seconds,
                "statuses": came.statuses,
                "late_s": {status: late.tolist() for status, late in came.late.items()},
                "bins": {number: dict(each) for number, each in sorted(came.bins.items())},
                "sent": came.sent,
                "kept_out": came.kept_out,
                "not_connected": came.not_connected,
                "lost": came.lost,
                "cpu_s": time.process_time(),
            }
        )
    )


if __name__ == "__main__":
    main()
