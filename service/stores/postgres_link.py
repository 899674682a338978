"""One connection to PostgreSQL, which says several things in one round trip and waits no longer than it is told to.

psycopg's own cursors take 450 µs of processor time for an order of two round trips, and its binding of libpq, which is
used here, 60 µs (libpq's pipeline mode: chapter "Pipeline Mode" of the manual). Values go and come as text.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg.pq.abc import PGresult

    Value = bytes | None
    Step = tuple[bytes, list[Value]]
    Rows = list[list[Value]]

CONNECT_S = 5
IDLE_IN_TRANSACTION = "25P03"
PAUSED_S = 1.0
"""A transaction in which nothing was said for so long is ended by the server: a paused host lets go of its lock.

Others of its connections may be in line behind it, and each holds up the others as long when its turn comes.
"""
STATEMENT_S = 5.0
"""How long a statement may take, beside its wait for a lock."""
REPLY_S = 2.0
"""How much longer than that a reply is waited for, from a server that is paused or out of reach."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a statement waits for a lock, and how long a transaction may stand still, in seconds."""

    wait_s: float
    still_s: float


class Refusal(Exception):
    """The server said that a statement failed. Its transaction is undone, whatever was sent behind it."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state
        """The five characters that stand for the reason: appendix "PostgreSQL Error Codes" of the manual."""


class Lost(Exception):
    """The connection ended, or no reply came. What was sent may have been done, or not."""


class Link:
    """A connection. Its statements are prepared when it is made, so that none is parsed and planned again."""

    def __init__(self, url: str, bounds: Bounds, statements: Mapping[str, str]) -> None:
        """Connect. Raises ``psycopg.OperationalError``."""
        self._reply_s = bounds.wait_s + STATEMENT_S + REPLY_S
        self._connection = connected(url, bounds)
        self._libpq = self._connection.pgconn
        self._poll = select.poll()
        self._poll.register(self._libpq.socket, select.POLLIN)
        try:
            self._libpq.enter_pipeline_mode()
            self._libpq.nonblocking = 1
            for name, text in statements.items():
                self._libpq.send_prepare(name.encode(), text.encode())
            self._replies()
        except (Refusal, Lost, psycopg.Error) as error:
            self.close()
            raise psycopg.OperationalError(str(error)) from error

    def alive(self) -> bool:
        """Tell whether it has not ended since: nothing comes from a server that was asked for nothing, but its end."""
        return self._libpq.status == ConnStatus.OK and not self._poll.poll(0)

    def exchange(self, *steps: Step) -> Rows:
        """Carry out prepared statements, all in one round trip, and return the rows of the last that has any.

        Raises ``Refusal`` for the first that failed; those behind it are not carried out then. Raises ``Lost``.
        """
        try:
            for name, values in steps:
                self._libpq.send_query_prepared(name, values)
            return self._replies()
        except Refusal as refusal:
            if refusal.state == IDLE_IN_TRANSACTION:
                self.close()
            raise
        except psycopg.Error as error:  # libpq cannot send, or take
            self.close()
            raise Lost(str(error)) from error
        except BaseException:
            self.close()  # else the next one would take the replies to what was said here
            raise

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _replies(self) -> Rows:
        """Send what is to be said, and take all replies, up to the end of the round trip."""
        libpq, deadline = self._libpq, time.monotonic() + self._reply_s
        libpq.pipeline_sync()
        self._send(deadline)
        rows: Rows = []
        refusal: Refusal | None = None
        pauses = 0
        while True:
            while libpq.is_busy():
                self._wait(deadline)
            result = libpq.get_result()
            if result is None:  # between two statements; and for ever where the connection has ended
                pauses += 1
                if pauses > 1:
                    raise Lost(libpq.get_error_message() or "the connection ended")
                continue
            pauses = 0
            if result.status == ExecStatus.PIPELINE_SYNC:
                break
            if result.status == ExecStatus.TUPLES_OK and result.ntuples:
                columns = range(result.nfields)
                rows = [[result.get_value(row, column) for column in columns] for row in range(result.ntuples)]
            elif result.status == ExecStatus.FATAL_ERROR:
                refusal = refusal or _refusal(result)
        if refusal:
            raise refusal
        return rows

    def _send(self, deadline: float) -> None:
        libpq = self._libpq
        while libpq.flush():  # more than the socket takes at once: the server may wait for us to read meanwhile
            self._poll.modify(libpq.socket, select.POLLIN | select.POLLOUT)
            try:
                self._wait(deadline)
            finally:
                self._poll.modify(libpq.socket, select.POLLIN)

    def _wait(self, deadline: float) -> None:
        left_s = deadline - time.monotonic()
        ready = left_s > 0 and self._poll.poll(left_s * 1000)
        if not ready:
            raise Lost("the server did not answer in time")
        if ready[0][1] & ~select.POLLOUT:
            self._libpq.consume_input()


def connected(url: str, bounds: Bounds) -> psycopg.Connection[tuple[object, ...]]:
    """Return a connection with the bounds of this service. Raises ``psycopg.OperationalError``."""
    seconds = {
        "lock_timeout": max(bounds.wait_s, 0.001),  # nothing would mean: no bound
        "statement_timeout": bounds.wait_s + STATEMENT_S,
        "idle_in_transaction_session_timeout": bounds.still_s,
    }
    said = conninfo_to_dict(url)
    words = [str(said.get("options") or ""), r"-c default_transaction_isolation=read\ committed"]
    words += [*(f"-c {name}={each * 1000:.0f}" for name, each in seconds.items())]
    return psycopg.connect(
        url,
        autocommit=True,
        options=" ".join(filter(None, words)),
        connect_timeout=said.get("connect_timeout") or CONNECT_S,
        application_name=said.get("application_name") or "turnstile",
        client_encoding="utf8",
    )


def _refusal(result: PGresult) -> Refusal:
    """Return what a statement failed of. Raises ``Lost`` where the server ended the connection with it."""
    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    message = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or result.error_message).decode(errors="replace")
    severity = result.error_field(DiagnosticField.SEVERITY_NONLOCALIZED)
    # It ends one that was idle in its transaction before it reads what came too late: that was not carried out.
    if severity != b"ERROR" and state != IDLE_IN_TRANSACTION:
        raise Lost(message.strip())
    return Refusal(state, message.strip())
