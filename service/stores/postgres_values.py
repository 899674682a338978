"""What is said to PostgreSQL, and what it says, as text: values to parameters, and rows to values. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.commands import Buy, Cancel, Confirm, Hold, Resize, Sweep
from service.rules import Page
from service.stores.known import Known
from service.stores.lines import used_of
from service.stores.pages import SWEEP_TICKETS_MAX
from service.stores.rows import effect, order_in, used_in
from service.stores.sealed import ENCODER, unseal
from service.values import Event, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from service.commands import Command
    from service.rules import Used
    from service.stores.rows import Effect, Note, Row

    Value = bytes | None
    Step = tuple[bytes, list[Value]]


def asked(commands: Sequence[Command]) -> list[Value]:
    """Return the parameters of the statement ``page`` for commands of one event."""
    quantity, ending, orders, keys = 0, 0, [], []
    for command in commands:
        match command:
            case Buy() | Hold():
                quantity += command.quantity
            case Confirm() | Cancel():
                orders.append(command.order)
            case Resize() | Sweep():
                ending = SWEEP_TICKETS_MAX
        if command.key:
            keys.append(command.key)
    highest = any(isinstance(command, Resize) for command in commands)
    event = commands[0].event.encode()
    return [event, b"%d" % quantity, b"%d" % ending, listed(orders), listed(keys), b"t" if highest else b"f"]


def known(commands: Sequence[Command], row: Sequence[Value]) -> Known | None:
    """Return what the statement ``page`` found out for ``commands``; ``None`` if there is no such event."""
    capacity, count, version, given, returned, holds, orders, used, highest = row
    name = commands[0].event
    if capacity is None or count is None or version is None or given is None:
        return None
    event = Event(name, int(capacity), int(count), int(version))
    if not (returned or holds or orders or used or highest):  # a plain purchase, mostly
        return Known(event, int(given))
    held = [order_in(name, each) for each in rows(holds)]
    quantity = sum(command.quantity for command in commands if isinstance(command, Buy | Hold))
    return Known(
        event,
        int(given),
        numbers(returned),
        holds=held,
        all_holds=len(held) < quantity,
        orders=[order_in(name, each) for each in rows(orders)],
        used=[_used(name, each) for each in json.loads(used or b"[]")],
        highest=int(highest or 0),
    )


def recorded(pages: Sequence[Page]) -> Step:
    """Return the statement that writes pages of one event that follow each other, with its parameters."""
    match pages:
        case [Page(event=Event() as event, used=None, changes=(Order(status="sold", expires_at=None) as order,))]:
            buyer = None if order.buyer is None else kept(order.buyer).encode()
            standing = [event.name.encode(), b"%d" % (event.version - 1), b"%d" % event.count]
            values = [order.id.encode(), listed(order.tickets), repr(order.at).encode(), buyer]
            return b"record_sale", [*standing, *values]
    return b"record", _written(effect(pages))


def listed(values: Iterable[object]) -> Value:
    """Return an array of numbers or of words that need no quotes; NULL for none."""
    text = ",".join(map(str, values))
    return f"{{{text}}}".encode() if text else None


def numbers(array: Value) -> list[int]:
    """Return the numbers of an array."""
    return [int(each) for each in array[1:-1].split(b",")] if array and array != b"{}" else []


def rows(objects: Value) -> list[Row]:
    """Return the rows of a list of changes."""
    return [row(each) for each in json.loads(objects)] if objects else []


def row(change: Row) -> Row:
    """Return the row of a change, as ``turnstile.line`` gives it."""
    for name in ("at", "expires_at"):
        if change[name] is not None:
            change[name] = float(change[name])  # 5.0 is said as 5
    if change["buyer"]:
        change["buyer"] = plain(change["buyer"])
    return change


def kept(text: str) -> str:
    """Return a text as PostgreSQL can keep it: it has no character of number 0."""
    return text.replace("\\", "\\\\").replace("\0", "\\0") if "\\" in text or "\0" in text else text


def plain(text: str) -> str:
    """Return the text that was kept."""
    return "\\".join(part.replace("\\0", "\0") for part in text.split("\\\\"))


def _written(done: Effect) -> list[Value]:
    event = done.event
    sold = sorted(done.sold)  # the highest last
    return [
        event.name.encode(),
        b"%d" % done.seen,
        b"%d" % event.capacity,
        b"%d" % event.count,
        b"%d" % event.version,
        _objects(map(_row, done.rows)),
        listed(ticket for ticket, _ in done.freed),
        listed(order for _, order in done.freed),
        listed(ticket for ticket, _ in sold),
        listed(order for _, order in sold),
        listed(done.back),
        listed(done.held),
        listed(done.ended),
        b"t" if any("key" in row for row in done.rows) else b"f",
        _objects(map(_note, done.notes)),
    ]


def _row(change: Row) -> Row:
    return change | {"buyer": kept(change["buyer"])} if change.get("buyer") else change


def _note(note: Note) -> dict[str, Any]:
    return {"key": note.key, "version": note.version, "at": note.at, "line": note.line}


def _objects(values: Iterable[Row]) -> Value:
    each = list(values)
    return ENCODER.encode(each).encode() if each else None


def _used(event: str, found: dict[str, Any]) -> Used:
    note = found["note"]
    return used_of(unseal(note.encode())) if note else used_in(event, row(found["change"]))
