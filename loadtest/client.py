"""One client: it asks for what the plan says, when the plan says, and records every call.

``called`` is read before the first byte is sent, ``returned`` after the last byte came. Nothing is asked twice, but for
what has an idempotency key: that is asked for again until there is a definite answer, and every attempt is a call.
Where several hosts sell the same tickets, each connection goes to the next one, so that every client meets all of them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import requests

from loadtest import history, plan, transport
from loadtest.agenda import Agenda
from loadtest.history import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.plan import Wish
    from loadtest.scene import Scene

GRACE_NS = 1_000_000_000
"""How long after its time an open loop still sends what was planned; the rest is recorded as not sent."""
REFUSED_MAX = 20
"""A client whose connection is refused so often in a row gives up: there is nobody there."""
REPLY_S = 60.0
"""Longest wait for a reply; past it the outcome is unknown."""
DOWN_POLL_S = 0.02
ATTEMPTS_MAX = plan.LOSSES_MAX + 3
"""So often a client with an idempotency key asks at once."""
ASKING_S, PAUSE_S = 60.0, 0.25
"""So long it goes on asking while the scene lasts, and so long it pauses between: a service may be out for a while.
Who gave up sooner would keep tickets that it was never told of, until none were left to sell."""


def be_client(
    scene: Scene,
    client: int,
    start: int,
    record: Callable[[Operation], None],
    stopped: Callable[[], bool],
    is_down: Callable[[int], bool] = lambda _host: False,
) -> None:
    """Carry out what falls to ``client``; ``start`` is the common first moment.

    A host that ``is_down`` gets no new connection, as whatever stands before several hosts would see to it; where all
    are, the client waits.
    """
    end = start + int(scene.plan.seconds * 1e9)
    planned = start
    _sleep_until(start)
    caller = _Caller(scene, client, record, lambda: stopped() or time.monotonic_ns() > end, is_down)
    if scene.plan.look_first and not scene.noop:
        planned = caller.look(start).returned
    agenda = Agenda(plan.wishes(scene.plan, client), start, scene.plan.tide_s)
    refused = 0
    while (taken := agenda.take(planned)) is not None:
        planned, wish = taken
        if not scene.plan.orders and planned >= end:
            break
        _sleep_until(planned)
        if scene.plan.rate and time.monotonic_ns() > end + GRACE_NS:
            record(_unsent(scene, client, wish, planned))
            continue
        if stopped() or refused >= REFUSED_MAX:
            break
        told = caller.ask(wish, planned)
        if told.outcome == "done" and not scene.noop:
            agenda.follow(wish, told.order, told.returned)
        refused = (REFUSED_MAX if wish.keyed else refused + 1) if _nobody(told) else 0
        planned = told.returned
    caller.close()


class _Caller:
    """What calls for a client, over one connection after the other."""

    def __init__(
        self,
        scene: Scene,
        client: int,
        record: Callable[[Operation], None],
        over: Callable[[], bool],
        is_down: Callable[[int], bool],
    ) -> None:
        self._scene, self._client, self._record, self._over = scene, client, record, over
        self._is_down = is_down
        self._session = transport.session()
        self._host = client % len(scene.hosts)
        self._wishes = 0

    def look(self, planned: int) -> Operation:
        """Look at the event."""
        row = Operation("look", f"client {self._client} look", self._client, planned, 0, 0, "unknown")
        seen = look(self._session, f"{self._scene.hosts[self._host]}/events/{self._scene.plan.event}", row)
        self._record(seen)
        return seen

    def ask(self, wish: Wish, planned: int) -> Operation:
        """Ask for a wish, with a key until nothing is in doubt. That nothing was done answers who has no order yet."""
        if self._wishes and self._wishes % self._scene.plan.orders_per_connection == 0:
            self._connect()
        number, self._wishes = self._wishes, self._wishes + 1
        row = _row(self._scene, self._client, wish, planned)
        told = self._attempt(number, row, wish, 0)
        doubt = told.outcome == "unknown"
        for attempt in count(1) if wish.keyed else ():
            answered = told.outcome == "not done" and not (doubt or wish.order or _nobody(told))
            if told.outcome in {"done", "refused"} or answered or not self._goes_on(attempt, row.planned):
                break
            self._connect()
            again = replace(row, name=f"{wish.name} try {attempt + 1}", planned=told.returned)
            told = self._attempt(number, again, wish, attempt)
            doubt |= told.outcome == "unknown"
        if _nobody(told):
            self._connect()
        return told

    def _goes_on(self, attempt: int, planned: int) -> bool:
        """Tell whether to ask once more, after a pause where one is due."""
        if attempt < ATTEMPTS_MAX:
            return True
        if self._over() or time.monotonic_ns() - planned > ASKING_S * 1e9:
            return False
        time.sleep(PAUSE_S)
        return True

    def _attempt(self, number: int, row: Operation, wish: Wish, attempt: int) -> Operation:
        self._wait_for_a_host()
        request = self._scene.request(self._client, number, wish, self._host)
        if attempt < len(wish.losses) and not self._scene.noop:
            with transport.session(wish.losses[attempt]) as losing:
                told = _call(losing, request, row)
        else:
            told = _call(self._session, request, row)
        if told.worker and self._scene.others:
            told = replace(told, worker=f"{self._host + 1}/{told.worker.rpartition('/')[2]}")
        self._record(told)
        return told

    def _connect(self) -> None:
        """Open a connection to the next host that is not down; to the next one, if all are."""
        self._session.close()
        self._session = transport.session()
        hosts = len(self._scene.hosts)
        turns = [(self._host + step) % hosts for step in range(1, hosts + 1)]
        self._host = next((host for host in turns if not self._is_down(host)), turns[0])

    def _wait_for_a_host(self) -> None:
        while all(map(self._is_down, range(len(self._scene.hosts)))) and not self._over():
            self._session.close()  # the next call opens another: who ends in order need not wait for this one
            time.sleep(DOWN_POLL_S)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def look(session: requests.Session, event_url: str, row: Operation) -> Operation:
    """Ask for an event's count, and return ``row`` with what came of it."""
    return _call(session, requests.Request("GET", event_url), row)


def _nobody(told: Operation) -> bool:
    """Tell whether there was nobody to ask."""
    return told.problem == transport.NeverSent.__name__


def _row(scene: Scene, client: int, wish: Wish, planned: int) -> Operation:
    """Return the record of a wish that has not been asked for yet."""
    return Operation(
        scene.kind(wish),
        wish.name,
        client,
        planned,
        0,
        0,
        "unknown",
        quantity=wish.quantity,
        partial=wish.partial,
        order=wish.order,
        key=scene.key(wish),
        buyer=wish.name if wish.keyed else "",
        ttl_s=wish.ttl_s,
    )


def _unsent(scene: Scene, client: int, wish: Wish, planned: int) -> Operation:
    now = time.monotonic_ns()
    row = _row(scene, client, wish, planned)
    return replace(row, called=now, returned=now, outcome="not done", problem=history.NOT_SENT)


def _call(session: requests.Session, request: requests.Request, row: Operation) -> Operation:
    """Make one call and return ``row`` with its times and its outcome."""
    prepared = request.prepare()
    called = time.monotonic_ns()
    try:
        reply = session.send(prepared, timeout=REPLY_S, allow_redirects=False)
        returned = time.monotonic_ns()
        values = reply.json()
    except requests.RequestException as error:
        never = isinstance(error, transport.NeverSent)
        return replace(
            row,
            called=called,
            returned=time.monotonic_ns(),
            outcome="not done" if never else "unknown",
            problem=type(error).__name__,
        )
    return replace(
        row,
        called=called,
        returned=returned,
        outcome=history.outcome(reply.status_code),
        status=reply.status_code,
        worker=history.worker_of(reply.headers),
        **_stated(values, row.order) | (_OF_THEN if row.kind == "find" else {}),
    )


_OF_THEN: dict[str, Any] = {"version": None, "count": None}
"""What an order that is found says of its event was so when it was sold: no observation of now."""


def _stated(values: object, order: str) -> dict[str, Any]:
    """Return what a reply states; what is not of its kind is not stated. ``order`` is the one it was asked for."""
    said = values if isinstance(values, dict) else {}
    tickets = said.get("tickets")
    whole = isinstance(tickets, list) and all(type(ticket) is int for ticket in tickets)
    return {
        "version": said.get("version") if type(said.get("version")) is int else None,
        "count": said.get("count") if type(said.get("count")) is int else None,
        "tickets": tuple(tickets) if whole and tickets else (),
        "order": str(said.get("order") or order),
        "problem": str(said.get("type") or "").rpartition(":")[2],
    }


def _sleep_until(moment: int) -> None:
    if (wait := moment - time.monotonic_ns()) > 0:
        time.sleep(wait / 1e9)
