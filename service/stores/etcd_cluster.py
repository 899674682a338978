"""The ticket store in etcd: a key for each thing that a command touches (``etcd_keys.py``).

``read`` is one transaction that finds all of a page at one moment, as most members agree that it is. ``exchange`` is
one that writes all of a page, or nothing, on the condition that the event has not been changed since it was read. Both
touch a number of keys that depends on the command alone: the event, the order, the idempotency key, and at most as
many live holds as tickets are asked for. What was sold before does not count, nor how many holds there are. What does
count is in how many pieces the free tickets lie, for the value of the event's key lists them.

Each transaction is well below what etcd allows (128 steps, 1.5 MiB): a sweep of SWEEP_TICKETS_MAX holds has the most.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.commands import Buy, Cancel, Confirm, Hold, Resize, Sweep
from service.mode import NotWritten, Unknown, told
from service.outcomes import NoSuchEvent, NoSuchOrder
from service.rules import Page
from service.stores.etcd_gateway import Gateway, changed_at, created_at, delete, fetch, put
from service.stores.etcd_keys import FORMAT, INCOMPLETE, Keys, line_of
from service.stores.journal import NO_CHANGES, opening
from service.stores.lines import lines_of, order_of, used_of
from service.stores.pages import SWEEP_TICKETS_MAX, page_of
from service.stores.replay import Refused
from service.stores.sealed import unseal
from service.stores.standing import begun
from service.stores.tickets import runs
from service.values import Event, Order, TicketMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from service.commands import Command
    from service.stores.etcd_gateway import Kept, Op
    from service.stores.standing import Standing

ADDRESS = re.compile(
    r"etcd://(?P<members>(?:HOST:[0-9]{1,5},)*HOST:[0-9]{1,5})(?:/(?P<prefix>[A-Za-z0-9._-]*))?".replace(
        "HOST", r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)"
    )
)
PREFIX = "turnstile"
"""The prefix of all keys where the address names none. It is one word: below ``a`` there is ``a/event``."""
DEFAULT = "default", 100
"""The event that is made where there is none, and its capacity."""
PAGE_KEYS = 500
"""Most keys that are fetched at once of what may be long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(Page):
    """A page as etcd had it, for which command, and how its event stood, if there is one.

    ``changed`` tells whether it still is so: the revision at which the event was changed last.
    """

    command: Command
    standing: Standing | None = None
    changed: int = 0


class EtcdCluster:
    """The store while it sells. Nothing of it is shared by processes, or by threads."""

    def __init__(self, url: str) -> None:
        """``url`` is ``etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX``. Raises ``Refused``."""
        address = ADDRESS.fullmatch(url)
        if not address:
            raise Refused("--url is no address of etcd: expected etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX")
        self.gateway = Gateway(address["members"].split(","))
        self.keys = Keys(address["prefix"] or PREFIX)

    def prepare(self, seeds: Mapping[str, int]) -> None:
        """Make the events that are not there yet. Call it before the fork. Raises ``Refused``."""
        try:
            self.gateway.change([created_at(self.keys.format(), 0)], [put(self.keys.format(), FORMAT)])
            ((kept,),) = self.gateway.look(fetch(self.keys.format())).found
            if kept.value == INCOMPLETE:
                raise Refused("what has this prefix in etcd is a copy that has not come to its end: make it again")
            if kept.value != FORMAT:
                raise Refused(
                    f"the keys in etcd have format {kept.value.decode(errors='replace')!r}, and this service knows "
                    f"{FORMAT.decode()!r}: use another prefix, or the service that wrote them"
                )
            for name, capacity in seeds.items():
                self.create(name, capacity)
            if not self.names("", 1):
                self.create(*DEFAULT)
        except (NotWritten, Unknown) as error:
            raise Refused(f"tickets are to be kept in etcd, and {told(error)}: see that most members run") from error
        finally:
            self.gateway.close()

    def open(self) -> None:
        """Nothing is to be opened: a thread connects when it first asks."""

    def close(self) -> None:
        """End this thread's connections; those of others end with them."""
        self.gateway.close()

    def create(self, name: str, capacity: int) -> bool:
        key = self.keys.event(name)
        return self.gateway.change([created_at(key, 0)], [put(key, opening(Event(name, capacity, capacity)))]).held

    def read(self, command: Command) -> Seen:
        return self.seen(command, self.gateway.look(*self.sight(command)).found)

    def exchange(self, seen: Seen, page: Page) -> Seen:
        """Write ``page`` over the one that was ``seen``, if it still is so, and return the one that was there.

        That is the very one that was seen, or how the event is now, and then nothing was written.
        """
        conditions, steps = self.steps(page, seen)
        outcome = self.gateway.change(conditions, steps, self.sight(seen.command))
        return seen if outcome.held else self.seen(seen.command, outcome.found)

    def sight(self, command: Command) -> list[Op]:
        """Return the steps that find a command's page."""
        steps = [fetch(self.keys.event(command.event))]
        match command:
            case Buy() | Hold():  # each hold has a ticket at least
                steps.append(fetch(*self.keys.holds(command.event), limit=command.quantity))
            case Sweep() | Resize():
                steps.append(fetch(*self.keys.holds(command.event), limit=SWEEP_TICKETS_MAX))
            case Confirm() | Cancel():
                steps.append(fetch(self.keys.order(command.order)))
        return [*steps, fetch(self.keys.used(command.key))] if command.key else steps

    def seen(self, command: Command, found: Sequence[Sequence[Kept]]) -> Seen:
        """Return the page, of what the steps found. Raises ``Damaged``."""
        (event, orders), used = found[:2], found[2] if command.key else ()
        if not event:
            return Seen(None, command=command)
        standing = begun(event[0].value, command.event)
        known = [order_of(unseal(kept.value)) for kept in orders]
        for order in known:
            if order.status == "held":
                standing.carry(order)
        named = known[0] if known and isinstance(command, Confirm | Cancel) else None
        page = page_of(command, standing, named, used_of(unseal(used[0].value)) if used else None)
        return Seen(
            *(page.event, page.order, page.used, page.free, page.holds, page.highest),
            command=command,
            standing=standing,
            changed=event[0].changed,
        )

    def steps(self, page: Page, seen: Seen) -> tuple[list[Op], list[Op]]:
        """Return on which condition, and in which steps, a page is written over one that was seen.

        Raises ``NotWritten``, and ``Damaged`` when the page does not follow from the other.
        """
        standing = seen.standing
        assert page.event is not None  # noqa: S101  # nothing is written to an event that is not there
        assert standing is not None  # noqa: S101  # as above
        name = page.event.name
        lines = lines_of(page).splitlines(keepends=True)
        written: dict[bytes, bytes] = {}
        ended: list[bytes] = []
        for change, line in zip(page.changes, lines, strict=False):
            standing.change(change)
            if isinstance(change, Order):
                written[self.keys.order(change.id)] = line
                if change.status == "held":
                    written[self.keys.hold(change)] = line
                elif change.expires_at is not None:
                    ended.append(self.keys.hold(change))
        if page.changes:
            written[self.keys.change(name, page.event.version)] = b"".join(lines)
        if page.used:
            written[self.keys.used(page.used.key)] = lines[-1]
        # Also when nothing has changed but an answer is kept: else two commands with one key would both find it unused.
        written[self.keys.event(name)] = line_of(standing)
        # Several that end in one write are those that end first: there is no other between them. A step for each would
        # be too many for one transaction.
        gone = [delete(min(ended), max(ended) + b"\0")] if ended else []
        return [changed_at(self.keys.event(name), seen.changed)], [*gone, *(put(*each) for each in written.items())]

    def look(self, name: str) -> Event | NoSuchEvent:
        (event,) = self.gateway.look(fetch(self.keys.event(name))).found
        return begun(event[0].value, name).event if event else NoSuchEvent(name)

    def find(self, order: str) -> Order | NoSuchOrder:
        (found,) = self.gateway.look(fetch(self.keys.order(order))).found
        return order_of(unseal(found[0].value)) if found else NoSuchOrder(order)

    def tickets(self, name: str, first: int, last: int) -> TicketMap | NoSuchEvent:
        event, holds = self.gateway.look(fetch(self.keys.event(name)), fetch(*self.keys.holds(name))).found
        if not event:
            return NoSuchEvent(name)
        standing = begun(event[0].value, name)
        for kept in holds:
            standing.carry(order_of(unseal(kept.value)))
        taken = [
            ticket for ticket in range(first, min(last, standing.event.capacity) + 1) if ticket not in standing.free
        ]
        return TicketMap(
            standing.event,
            runs(ticket for ticket in taken if ticket not in standing.held),
            runs(ticket for ticket in taken if ticket in standing.held),
        )

    def names(self, after: str, limit: int) -> list[str]:
        (events,) = self.gateway.look(fetch(*self.keys.events(after), limit=limit, keys_only=True)).found
        return [kept.key.decode().rpartition("/")[2] for kept in events]

    def overdue(self, now: float) -> Iterator[tuple[str, float]]:
        with suppress(NotWritten):  # nobody answers: it is looked for again soon
            yield from self._overdue(now)

    def _overdue(self, now: float) -> Iterator[tuple[str, float]]:
        start, end = self.keys.all_holds()
        while True:
            (holds,) = self.gateway.look(fetch(start, end, limit=PAGE_KEYS, keys_only=True)).found
            event = ""
            for kept in holds:
                name, ends = self.keys.held(kept.key)
                if name != event and ends <= now:
                    yield name, ends
                event = name
            if len(holds) < PAGE_KEYS:
                return
            start = self.keys.holds(event)[1]  # whatever else is held there ends later

    def changes(self, name: str, after: int) -> Iterator[bytes] | NoSuchEvent:
        return self._changes(name, after) if isinstance(self.look(name), Event) else NoSuchEvent(name)

    def _changes(self, name: str, after: int) -> Iterator[bytes]:
        start, end = self.keys.changes(name, after)
        while True:
            (writes,) = self.gateway.look(fetch(start, end, limit=PAGE_KEYS)).found
            for line in (line for kept in writes for line in kept.value.splitlines(keepends=True)):
                change = unseal(line)
                if change["version"] > after and change["status"] not in NO_CHANGES:
                    yield line
            if len(writes) < PAGE_KEYS:
                return
            start = writes[-1].key + b"\0"
