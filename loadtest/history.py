"""The history: every call that was made, with its times and its outcome.

Times are nanoseconds of ``time.monotonic_ns()``, which is one clock for all processes of a machine. ``called`` is read
before the first byte is sent, ``returned`` after the last byte came, so an operation took effect, if it did, somewhere
between the two.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

NOT_SENT = "not sent"
"""The problem of a purchase that was planned and not sent, because the time was over."""
REPLY_LOST = "ReplyLost"
"""The problem of a call whose reply its client lost on purpose."""

LATELY_BYTES = 16_384
"""So much of the end of a trace is read while it grows: some hundred orders."""

One = dict[Any, Any]
"""Equal values are one: an order, its buyer, its key and its tickets stand on many lines, and take half the memory."""
Kind = Literal["buy", "hold", "confirm", "cancel", "look", "find", "noop"]
"""``find`` asks for an order; it says what was so when that was sold, and so nothing of the event now."""
Outcome = Literal["done", "refused", "not done", "unknown"]
"""``refused``: decided against. ``not done``: certainly never decided. ``unknown``: may have happened or not."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call and what came of it.

    ``name`` is unique, and the service records it as the buyer, unless ``buyer`` says whom. ``version``, ``count``,
    ``tickets`` and ``order`` are what the reply stated; a ``confirm`` or a ``cancel`` names its ``order`` itself. Calls
    with the same ``key`` (an idempotency key) are one wish that was asked for again. ``ttl_s`` is how long tickets were
    to be held.
    """

    kind: Kind
    name: str
    client: int
    planned: int
    called: int
    returned: int
    outcome: Outcome
    status: int = 0
    quantity: int = 0
    partial: bool = False
    version: int | None = None
    count: int | None = None
    tickets: tuple[int, ...] = ()
    order: str = ""
    key: str = ""
    worker: str = ""
    problem: str = ""
    buyer: str = ""
    ttl_s: float = 0.0

    @property
    def recorded_as(self) -> str:
        """The buyer that the service records."""
        return self.buyer or self.name


Status = Literal["sold", "held", "cancelled", "expired", "resized"]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the service's journal. ``sold`` for an order that was ``held`` before is its confirmation.

    ``resized`` is a change of the event's ``capacity``, and has no order.
    """

    version: int
    order: str
    buyer: str
    tickets: tuple[int, ...]
    count: int
    status: Status = "sold"
    capacity: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """An order's way through a worker, from the trace: it came, it was let in, it had read ``version``, it left.

    An order that was never let in has no ``entered``, ``read`` and ``version``.
    """

    order: str
    worker: int
    asked: int
    left: int
    entered: int | None = None
    read: int | None = None
    version: int | None = None


def outcome(status: int) -> Outcome:
    """Return what a status means (the service's contract): 4xx and 503 are definite, any other failure is not."""
    if status in {HTTPStatus.OK, HTTPStatus.CREATED}:
        return "done"
    if status == HTTPStatus.CONFLICT:
        return "refused"
    definite = status == HTTPStatus.SERVICE_UNAVAILABLE or 400 <= status < 500  # noqa: PLR2004  # the class of client errors
    return "not done" if definite else "unknown"


def worker_of(headers: Mapping[str, str]) -> str:
    """Return who answered: behind one address there may be containers, in which processes have the same numbers."""
    names = (headers.get("Turnstile-Host"), headers.get("Turnstile-Worker"))
    return "/".join(name for name in names if name)


def host_of(worker: str) -> str:
    """Return the host of a worker as the history names it: ``2/4711`` is on the second of several, or ``web/4711``."""
    host, apart, _ = worker.partition("/")
    return host if apart else ""


def save(path: Path, operations: Iterable[Operation]) -> None:
    """Write operations, one a line."""
    path.unlink(missing_ok=True)
    append(path, operations)


def append(path: Path, operations: Iterable[Operation]) -> None:
    """Write further operations behind those that are there. What has its default value is left out."""
    with path.open("a") as file:
        for row in operations:
            values = {name: value for name, default in _DEFAULTS if (value := getattr(row, name)) != default}
            file.write(f"{json.dumps(values)}\n")


def gather(path: Path, parts: Sequence[Path]) -> None:
    """Make one file of ``parts``, which are gone then: a long history need not fit into memory.

    Half a line, of a client that was killed, is left out.
    """
    with path.open("wb") as whole:
        for part in parts:
            with part.open("rb") as file:
                whole.writelines(line for line in file if line.endswith(b"\n"))
            part.unlink()


def load(path: Path, one: One | None = None) -> list[Operation]:
    """Read operations in the order of their calls. Half a line at the end, of who was killed, is left out."""
    operations = [Operation(**row) for row in _rows(path, one)]
    operations.sort(key=lambda row: row.called)
    return operations


def load_journal(path: Path, one: One | None = None) -> list[Change]:
    """Read the changes in a journal as the service gives it, the opening line left out. Its ``tickets`` are counted."""
    return [
        Change(
            row["version"],
            row.get("order", ""),
            row.get("buyer") or "",
            row.get("tickets", ()),
            row["count"],
            row["status"],
            row.get("capacity", 0) if row["status"] == "resized" else 0,
        )
        for row in _rows(path, one)
        if row["version"] > 0
    ]


def load_trace(folder: Path) -> list[Passage]:
    """Read the traces of all workers, in the order in which the orders came."""
    rows = [row for path in sorted(folder.glob("trace-*.jsonl")) for row in _rows(path)]
    return sorted((Passage(**row) for row in rows), key=lambda row: row.asked)


def lately(folder: Path) -> list[Passage]:
    """Read the end of the trace of each worker while they write on."""
    rows = []
    for path in folder.glob("trace-*.jsonl"):
        with path.open("rb") as file:
            first = max(0, path.stat().st_size - LATELY_BYTES)
            file.seek(first)
            lines = file.read().split(b"\n")
        # The last one is not whole yet, and the first one not any more.
        rows += [Passage(**json.loads(line)) for line in lines[first > 0 : -1]]
    return rows


_SHARED = ("kind", "name", "outcome", "status", "order", "key", "worker", "problem", "buyer", "tickets")


def _rows(path: Path, one: One | None = None) -> Iterator[dict[str, Any]]:
    """Yield what stands on each whole line, with equal values as ``one``."""
    one = {} if one is None else one
    with path.open() as file:
        for line in file:
            if not line.endswith("\n"):
                continue
            row = json.loads(line)
            if "tickets" in row:
                row["tickets"] = tuple(row["tickets"])
            for name in _SHARED:
                if name in row:
                    row[name] = one.setdefault(row[name], row[name])
            yield row


_DEFAULTS = [(field.name, None if field.default is MISSING else field.default) for field in fields(Operation)]
