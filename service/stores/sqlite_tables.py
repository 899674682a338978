"""An event's page from SQLite's tables, and what a page does to them: for who is alone inside, in its transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.commands import Buy, Cancel, Confirm, Hold, Resize, Sweep
from service.mode import Conflict, NotWritten
from service.rules import Page
from service.stores import queries
from service.stores.known import Known
from service.stores.lines import used_of
from service.stores.pages import SWEEP_TICKETS_MAX
from service.stores.rows import COLUMNS, order_in, used_in
from service.stores.sealed import unseal
from service.values import Event, Order

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from service.commands import Command
    from service.rules import Used
    from service.stores.rows import Effect, Row

READ = queries.load("sqlite", "reading")
WRITE = queries.load("sqlite", "writing")


def page_of(database: sqlite3.Connection, command: Command) -> Page:
    """Return the page that ``command`` touches."""
    name = command.event
    found = database.execute(READ["look"], (name,)).fetchone()
    if found is None:
        return Page(None)
    number, capacity, count, version, given = found
    returned: list[int] = []
    orders: list[Order] = []
    ends, highest = 0, 0
    match command:
        case Buy(quantity=quantity) | Hold(quantity=quantity):
            if count > capacity - given:
                returned = [ticket for (ticket,) in database.execute(READ["returned"], (number, quantity))]
            ends = quantity - count
        case Confirm(order=order) | Cancel(order=order):
            orders = _orders(database, name, "order", (number, order))
        case Sweep():
            ends = SWEEP_TICKETS_MAX
        case Resize():
            ends = SWEEP_TICKETS_MAX
            highest = database.execute(READ["highest"], (number, ends)).fetchone()[0]
    holds = _orders(database, name, "holds", (number, ends)) if ends > 0 else []
    used = _used(database, name, command.key) if command.key else []
    event = Event(name, capacity, count, version)
    return Known(event, given, returned, holds=holds, orders=orders, used=used, highest=highest).page(command)


def carry_out(database: sqlite3.Connection, effect: Effect) -> None:
    """Do what was decided. Raises ``Conflict``, ``NotWritten`` or SQLite's error: the transaction is to end then."""
    event = effect.event
    highest = max((ticket for ticket, _ in effect.sold), default=0)
    standing = (event.name, effect.seen, event.capacity, event.count, event.version, highest)
    found = database.execute(WRITE["event"], standing).fetchone()
    if found is None:
        raise Conflict
    number, given = found
    for ticket, order in effect.freed:
        if not database.execute(WRITE["free"], (number, ticket, order)).rowcount:
            why = f"order {order}"  # it may be another's hold that has ended
            raise NotWritten(f"ticket {ticket} is not of the order that gives it back, so nothing was done", why)
    database.executemany(WRITE["take"], [(number, *each) for each in effect.sold])
    database.executemany(WRITE["leave"], [(number, ticket) for ticket, _ in effect.sold])
    database.executemany(WRITE["come_back"], [(number, ticket) for ticket in effect.back if ticket <= given])
    if given == event.capacity:
        database.execute(WRITE["cut"], (number, given))
    database.executemany(WRITE["change"], [(number, *_values(row)) for row in effect.rows])
    database.executemany(WRITE["hold"], [(number, order) for order in effect.held])
    database.executemany(WRITE["unhold"], [(order,) for order in effect.ended])
    keyed = [(row["key"], number, row["version"], row["at"], None) for row in effect.rows if "key" in row]
    noted = [(note.key, number, note.version, note.at, note.line) for note in effect.notes]
    for values in (*keyed, *noted):
        if not database.execute(WRITE["key"], values).rowcount:
            raise Conflict


def row_of(values: Sequence[Any]) -> Row:
    """Return a row of the changes, as selected with all its columns, by the names of its members."""
    row: Row = dict(zip(("event", *COLUMNS), values, strict=True))
    row["tickets"] = json.loads(row["tickets"]) if row["tickets"] else None
    return row


def _values(row: Row) -> list[Any]:
    tickets = row.get("tickets")
    return [row.get(name) if name != "tickets" else tickets and json.dumps(tickets) for name in COLUMNS]


def _orders(database: sqlite3.Connection, event: str, statement: str, values: tuple[object, ...]) -> list[Order]:
    return [order_in(event, row_of(each)) for each in database.execute(READ[statement], values)]


def _used(database: sqlite3.Connection, event: str, key: str) -> list[Used]:
    found = database.execute(READ["used"], (key,)).fetchone()
    if found is None:
        return []
    note, *values = found
    return [used_of(unseal(note.encode())) if note else used_in(event, row_of(values))]
