"""Drive the service: several client processes, a thread for each client, every call recorded.

Nothing is asked twice behind the history's back: ``requests`` retries nothing here, for a hidden retry would make two
operations of one.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import connection
from typing import TYPE_CHECKING

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from loadtest import history, plan
from loadtest.history import Operation

if TYPE_CHECKING:
    from collections.abc import Callable
    from ctypes import Array, c_uint64
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from loadtest.plan import Plan, Purchase

READY_S = 60.0
LEAD_NS = 200_000_000
"""From the last client's being ready to the common first moment: time enough for all to hear of it."""
REPLY_S = 60.0
"""Longest wait for a reply; past it the outcome is unknown."""
POLL_S = 0.1


class ClientDied(Exception):
    """A client process ended before its work was done, so the history has a hole."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, and what to send there."""

    url: str
    plan: Plan
    folder: Path
    processes: int


def drive(target: Target, progress: Callable[[int], None]) -> list[Operation]:
    """Carry out the plan and return the history, which is also saved in the target's folder.

    ``progress`` is called about ten times a second with the number of operations that have returned.
    """
    context = multiprocessing.get_context("spawn")
    done = context.Array("Q", target.processes, lock=False)
    gate = context.Barrier(target.processes + 1)
    start = context.Value("Q", 0, lock=False)
    clients = [
        context.Process(target=_run_process, args=(target, number, gate, start, done), daemon=True)
        for number in range(target.processes)
    ]
    try:
        for client in clients:
            client.start()
        gate.wait(READY_S)
        start.value = time.monotonic_ns() + LEAD_NS
        gate.wait(READY_S)
        while alive := [client.sentinel for client in clients if client.is_alive()]:
            progress(sum(done))
            connection.wait(alive, POLL_S)
    except threading.BrokenBarrierError:
        raise ClientDied(f"not all client processes were ready within {READY_S:g} s") from None
    finally:
        for client in clients:
            if client.is_alive():
                client.kill()
    progress(sum(done))
    codes = [client.exitcode for client in clients]
    if any(codes):
        raise ClientDied(f"client processes ended with {codes}, so the history has a hole")
    parts = [target.folder / f"history-{number}.jsonl" for number in range(target.processes)]
    operations = sorted((row for part in parts for row in history.load(part)), key=lambda row: row.called)
    history.save(target.folder / "history.jsonl", operations)
    for part in parts:
        part.unlink()
    return operations


def look(url: str, event: str) -> Operation:
    """Ask once for an event's count, on a connection of its own."""
    with _session() as session:
        return _call(
            session, "GET", f"{url}/events/{event}", Operation("look", "the last look", -1, 0, 0, 0, "unknown")
        )


def _run_process(target: Target, number: int, gate: Barrier, start: c_uint64, done: Array[c_uint64]) -> None:
    """Be one client process: run each client that falls to it in a thread."""
    rows: list[Operation] = []
    mine = range(number, target.plan.clients, target.processes)
    gate.wait(READY_S)
    gate.wait(READY_S)

    def record(row: Operation) -> None:
        rows.append(row)
        done[number] = len(rows)

    threads = [threading.Thread(target=_be_client, args=(target, client, start.value, record)) for client in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.save(target.folder / f"history-{number}.jsonl", rows)


def _be_client(target: Target, client: int, start: int, record: Callable[[Operation], None]) -> None:
    scene = target.plan
    end = start + int(scene.seconds * 1e9)
    orders = plan.purchases(scene, client)
    event_url = f"{target.url}/events/{scene.event}"
    planned = start
    time.sleep(max(0, start - time.monotonic_ns()) / 1e9)
    first = True
    while batch := list(islice(orders, scene.orders_per_connection)):
        with _session() as session:
            if first and scene.look_first:
                asked = Operation("look", f"client {client} look", client, planned, 0, 0, "unknown")
                seen = _call(session, "GET", event_url, asked)
                record(seen)
                planned = seen.returned
            first = False
            for order in batch:
                if not scene.orders and planned >= end:
                    return
                bought = _buy(session, event_url, client, order, planned)
                record(bought)
                planned = bought.returned


def _buy(session: requests.Session, event_url: str, client: int, order: Purchase, planned: int) -> Operation:
    row = Operation("buy", order.name, client, planned, 0, 0, "unknown", quantity=order.quantity, partial=order.partial)
    body = {"quantity": order.quantity, "partial": order.partial, "buyer": order.name}
    return _call(session, "POST", f"{event_url}/buy", row, json.dumps(body))


def _call(session: requests.Session, method: str, url: str, row: Operation, body: str | None = None) -> Operation:
    """Make one call and return ``row`` with its times and its outcome."""
    headers = {"Content-Type": "application/json"} if body else {}
    called = time.monotonic_ns()
    try:
        reply = session.request(method, url, data=body, headers=headers, timeout=REPLY_S)
        returned = time.monotonic_ns()
        values = reply.json()
    except requests.RequestException as error:
        row = replace(row, called=called, returned=time.monotonic_ns(), problem=type(error).__name__)
        return replace(row, outcome="not done" if _never_sent(error) else "unknown")
    return replace(
        row,
        called=called,
        returned=returned,
        outcome=history.outcome(reply.status_code),
        status=reply.status_code,
        version=values.get("version"),
        count=values.get("count"),
        tickets=tuple(values.get("tickets", ())),
        order=values.get("order", ""),
        worker=reply.headers.get("Turnstile-Worker", ""),
        problem=values.get("type", "").rpartition(":")[2],
    )


def _never_sent(error: requests.RequestException) -> bool:
    """Tell whether the connection was refused, so that certainly no byte of the request was sent."""
    return any(isinstance(getattr(cause, "reason", None), NewConnectionError) for cause in error.args)


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
    return session
