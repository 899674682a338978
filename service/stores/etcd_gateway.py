"""A client of etcd's JSON gateway: the little of ``/v3/`` that the store and the lock need.

The members of a cluster are tried in turn, but only where certainly nothing was done: what changes nothing may be asked
again, and what changes something goes to the next member only if the connection to this one was refused. A change whose
reply is lost is ``Unknown``: etcd may have agreed on it. Nothing is asked again behind one's back.
"""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError
from urllib3.util import Retry

from service.mode import NotWritten, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONNECT_S = 1.0
LOOK_S = 2.0
"""How long a member may take to answer what changes nothing. One that is cut off from the others never does."""
KEEP_REPLY_S = 0.6
"""How long it may take to say that a lease was kept: there is time for another one before the lease ends."""
CHANGE_S = 5.0
"""How long it may take to answer a change: an election fits in."""
DEFINITE = {3, 7, 12, 16}
"""gRPC's codes for what etcd refuses before it does anything: what is wrong, too large or not allowed. Any other, of a
change, leaves in doubt whether the members agree on it yet.
"""
TOO_MANY = "etcdserver: too many requests"
"""It is as definite, but shares its code with "database space exceeded", which the very change that exceeds it is
answered with when it has been done: taken for a refusal, that would be a sale that nobody was told of.
"""

LEASE_ENDED = "etcdserver: requested lease not found"

Op = dict[str, Any]
"""A step of a transaction, or a condition of it, as JSON."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A key and its value. ``created`` and ``changed`` are the revisions of the whole cluster's data that did so."""

    key: bytes
    value: bytes
    created: int
    changed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction did: whether its conditions held, the revision then, and what each of its steps found.

    ``ended`` is how many keys it deleted.
    """

    held: bool
    revision: int
    found: tuple[tuple[Kept, ...], ...]
    ended: int


class LeaseEnded(NotWritten):
    """What was to be put under a lease was not, for it has ended."""


class Gateway:
    """A cluster. Connections are made when they are needed, one for each thread."""

    def __init__(self, members: Sequence[str]) -> None:
        """``members`` are addresses such as ``127.0.0.1:2379``."""
        self._members = [f"http://{member}/v3/" for member in members]
        self._first = 0
        self._here = threading.local()

    def close(self) -> None:
        """Close the connections of this thread."""
        self._session().close()
        self._session("watching").close()

    def look(self, *steps: Op) -> Outcome:
        """Find keys as all members agree that they are, all at one moment. Raises ``NotWritten``."""
        return _outcome(self._asked("kv/txn", {"success": steps}, LOOK_S))

    def change(self, conditions: Iterable[Op], steps: Iterable[Op], otherwise: Iterable[Op] = ()) -> Outcome:
        """Do all ``steps`` if all conditions hold, and what is ``otherwise`` to be done if not, at one moment.

        When this returns, most members have it on disk. Raises ``NotWritten`` or ``Unknown``.
        """
        body = {"compare": list(conditions), "success": list(steps), "failure": list(otherwise)}
        return _outcome(self._asked("kv/txn", body, CHANGE_S, changes=True))

    def lease(self, lasts_s: int) -> int:
        """Take a lease: what is put with it is deleted when nobody has kept it for so long. Raises as ``change``."""
        return int(self._asked("lease/grant", {"TTL": lasts_s}, CHANGE_S, changes=True)["ID"])

    def keep(self, lease: int) -> bool:
        """Keep a lease, and tell whether it is still there. Raises ``NotWritten``."""
        told = self._asked("lease/keepalive", {"ID": lease}, KEEP_REPLY_S)
        if "result" not in told:
            raise NotWritten("etcd did not say whether the lease was kept")
        return int(told["result"].get("TTL", 0)) > 0

    def await_end(self, key: bytes, after: int, wait_s: float) -> None:
        """Wait until ``key`` is deleted after a revision. It may return early: whoever waits must look again."""
        watch = {"key": _text(key), "start_revision": after + 1, "filters": ["NOPUT"]}
        url, timeout = f"{self._members[self._first]}watch", (CONNECT_S, wait_s)
        with (
            suppress(requests.RequestException, ValueError, KeyError),
            self._session("watching").post(url, json={"create_request": watch}, stream=True, timeout=timeout) as reply,
        ):
            for line in reply.iter_lines(chunk_size=None):
                told = json.loads(line)["result"]
                if told.get("events") or told.get("canceled"):
                    return

    def _asked(self, path: str, body: Op, reply_s: float, *, changes: bool = False) -> dict[str, Any]:
        why = ""
        for _ in self._members:
            first = self._first
            try:
                return self._answer(self._members[first] + path, body, reply_s)
            except (requests.RequestException, ValueError) as error:
                self._first = (first + 1) % len(self._members)  # for all threads: this one may be away for long
                why = _why(error)
                if changes and not _never_sent(error):
                    raise Unknown("etcd did not answer", why) from error
        raise NotWritten("no member of etcd answered, so nothing was done", why)

    def _answer(self, url: str, body: Op, reply_s: float) -> dict[str, Any]:
        reply = self._session().post(url, json=body, timeout=(CONNECT_S, reply_s))
        told: dict[str, Any] = reply.json()
        if reply.status_code == HTTPStatus.OK:
            return told
        message = told.get("message", "")
        if message == LEASE_ENDED:
            raise LeaseEnded("the lease had ended, so nothing was done")
        if told.get("code") in DEFINITE or message == TOO_MANY:
            raise NotWritten("etcd refused, so nothing was done", message)
        raise requests.HTTPError(message, response=reply)

    def _session(self, name: str = "asking") -> requests.Session:
        """Return this thread's connections. A watch ends with its own: who waited needs one that is open, at once."""
        session: requests.Session | None = getattr(self._here, name, None)
        if session is None:
            session = requests.Session()
            setattr(self._here, name, session)
            session.trust_env = False
            # A hidden retry would make two orders of one.
            session.mount("http://", HTTPAdapter(max_retries=Retry(0, read=False)))
        return session


def fetch(key: bytes, end: bytes = b"", limit: int = 0, **more: object) -> Op:
    """Return the step that finds a key, or with ``end`` the keys from ``key`` to below ``end``, the lowest first."""
    return {"request_range": {"key": _text(key), "range_end": _text(end), "limit": limit, **more}}


def put(key: bytes, value: bytes, lease: int = 0) -> Op:
    """Return the step that puts a value; with a lease, until that ends."""
    return {"request_put": {"key": _text(key), "value": _text(value), "lease": lease}}


def delete(key: bytes, end: bytes = b"") -> Op:
    """Return the step that deletes a key, or with ``end`` those from ``key`` to below ``end``."""
    return {"request_delete_range": {"key": _text(key), "range_end": _text(end)}}


def created_at(key: bytes, revision: int) -> Op:
    """Return the condition that a key was created at a revision; 0: that there is none."""
    return {"key": _text(key), "target": "CREATE", "result": "EQUAL", "create_revision": revision}


def changed_at(key: bytes, revision: int) -> Op:
    """Return the condition that a key was changed last at a revision."""
    return {"key": _text(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision}


def there(key: bytes) -> Op:
    """Return the condition that there is such a key."""
    return {"key": _text(key), "target": "CREATE", "result": "GREATER", "create_revision": 0}


def _text(key: bytes) -> str:
    return b64encode(key).decode()


def _outcome(told: dict[str, Any]) -> Outcome:
    answers = told.get("responses", ())
    ranges = [answer["response_range"] for answer in answers if "response_range" in answer]
    return Outcome(
        held=told.get("succeeded", False),
        revision=int(told["header"]["revision"]),
        found=tuple(tuple(map(_kept, each.get("kvs", ()))) for each in ranges),
        ended=sum(int(answer.get("response_delete_range", {}).get("deleted", 0)) for answer in answers),
    )


def _kept(told: dict[str, Any]) -> Kept:
    return Kept(
        b64decode(told["key"]),
        b64decode(told.get("value", "")),
        int(told["create_revision"]),
        int(told["mod_revision"]),
    )


def _never_sent(error: Exception) -> bool:
    """Tell whether there was no connection: certainly not a byte of the request was sent."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _why(error: Exception) -> str:
    """Return in a few words what was in the way, without the address."""
    match error:
        case requests.HTTPError():
            return str(error)
        case requests.Timeout():
            return "no reply in time"
        case requests.ConnectionError():
            return "the connection was refused" if _never_sent(error) else "the connection was lost"
    return "what came is no reply of etcd"
