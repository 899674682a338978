"""Conservation: what clients were told, what the journal holds, who owns each ticket, and what is left agree. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.findings import Found
    from loadtest.history import Change, Operation

CHANGING = {"buy": -1, "hold": -1, "confirm": 0, "cancel": 1}
"""What each kind of operation that changes an event adds to the count, for each of its tickets."""

RECORDED_AS = {"buy": "sold", "hold": "held", "confirm": "sold", "cancel": "cancelled"}

Identity = tuple[str, str]


def identity(row: Operation) -> Identity:
    """Return what the journal knows an operation by: a purchase by its name, what follows it by its order."""
    return row.kind, row.name if row.kind in {"buy", "hold"} else row.order


def kind_of(change: Change, held: set[str]) -> tuple[Literal["buy", "hold", "confirm", "cancel", "expire"], Identity]:
    """Return what kind of change it is, and the identity of whoever made it; ``held`` are the orders that were held."""
    match change.status:
        case "held":
            return "hold", ("hold", change.buyer)
        case "cancelled":
            return "cancel", ("cancel", change.order)
        case "expired":
            return "expire", ("expire", change.order)
        case "sold" if change.order in held:
            return "confirm", ("confirm", change.order)
        case _:
            return "buy", ("buy", change.buyer)


def check(once: Sequence[Operation], journal: Sequence[Change] | None, capacity: int, count: int, found: Found) -> None:
    """Check that nothing is made or lost between replies, journal, tickets and the final count.

    ``once`` has each purchase once, ``count`` is how many tickets of ``capacity`` were left at the start.
    """
    if journal is not None:
        _replies_are_recorded(once, journal, found)
        _records_were_asked_for(once, journal, found)
    _tickets(once, journal, capacity, count, found)
    _sum(once, journal, count, found)


def _replies_are_recorded(once: Sequence[Operation], journal: Sequence[Change], found: Found) -> None:
    recorded = {(change.order, change.status): change for change in journal}
    for row in once:
        if row.kind not in CHANGING or row.outcome != "done":
            continue
        change = recorded.get((row.order, RECORDED_AS[row.kind]))  # type: ignore[arg-type]
        if change is None:
            sentence = f"{row.name} was acknowledged (version {row.version}) and is not in the journal"
            found.add("phantom order", sentence, row.name, size=len(row.tickets))
        elif (change.version, change.tickets, change.count) != (row.version, row.tickets, row.count):
            told = f"version {row.version}, tickets {_some(row.tickets)}, {row.count} left"
            held = f"version {change.version}, tickets {_some(change.tickets)}, {change.count} left"
            found.add("miscount", f"{row.name} was told {told}, the journal says {held}", row.name)


def _records_were_asked_for(once: Sequence[Operation], journal: Sequence[Change], found: Found) -> None:
    asked = {identity(row): row for row in once if row.kind in CHANGING}
    held = {change.order for change in journal if change.status == "held"}
    for change in journal:
        kind, whose = kind_of(change, held)
        owner = asked.get(whose)
        if kind == "expire":
            continue
        if owner is None:
            found.add("ghost order", f"version {change.version} is in the journal, and nobody asked for it")
        elif owner.outcome in {"refused", "not done"}:
            sentence = (
                f"{owner.name} was told that nothing was done, and the journal has it at version {change.version}"
            )
            found.add("ghost order", sentence, owner.name)
        elif owner.outcome == "done" and (owner.order, owner.version) != (change.order, change.version):
            sentence = f"{owner.name} was told version {owner.version}, and the journal has it at {change.version} too"
            found.add("double effect", sentence, owner.name)


def _tickets(
    once: Sequence[Operation], journal: Sequence[Change] | None, capacity: int, count: int, found: Found
) -> None:
    """Follow each ticket from owner to owner, in the order of the versions."""
    owners: defaultdict[int, list[str]] = defaultdict(list)
    crowds: dict[int, list[str]] = {}
    sold = 0
    for sign, name, tickets in _moves(once, journal):
        sold -= sign * len(tickets)
        for ticket in tickets:
            if sign > 0:
                if name in owners[ticket]:
                    owners[ticket].remove(name)
                continue
            owners[ticket].append(name)
            if len(owners[ticket]) > max(1, len(crowds.get(ticket, ()))):
                crowds[ticket] = list(owners[ticket])
            if not 1 <= ticket <= capacity:
                found.add("oversell", f"{name} got ticket {ticket} of {capacity}", name)
    for ticket, crowd in crowds.items():
        sentence = f"ticket {ticket} was sold to {', to '.join(crowd[:3])}{' and others' * (len(crowd) > 3)}"  # noqa: PLR2004  # enough names
        found.add("double sale", sentence, *crowd, size=len(crowd))
    if sold > count:
        found.add(
            "oversell", f"{sold} tickets were sold, and there were {count}", size=sold - count, times=sold - count
        )


def _moves(once: Sequence[Operation], journal: Sequence[Change] | None) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """Yield -1 (sold or held) or +1 (given back), the order, and its tickets, in the order of the versions."""
    acknowledged = [row for row in once if row.outcome == "done" and CHANGING.get(row.kind)]
    moves = [
        (row.version or 0, row.called, CHANGING[row.kind], row.order, row.name, row.tickets) for row in acknowledged
    ]
    told = {(row.order, RECORDED_AS[row.kind]) for row in acknowledged}
    held = {change.order for change in journal or () if change.status == "held"}
    for change in journal or ():
        kind, _ = kind_of(change, held)
        sign = 1 if kind == "expire" else CHANGING[kind]
        if sign and (change.order, change.status) not in told:
            moves.append((change.version, 0, sign, change.order, change.buyer or change.order, change.tickets))
    buyers = {order: name for _, _, sign, order, name, _ in moves if sign < 0}
    for _, _, sign, order, name, tickets in sorted(moves, key=lambda move: move[:3]):
        yield sign, buyers.get(order, name), tickets


def _sum(once: Sequence[Operation], journal: Sequence[Change] | None, count: int, found: Found) -> None:
    """Check that tickets sold and tickets left make up what there was, as far as it is known which were sold."""
    looks = [row for row in once if row.kind == "look" and row.outcome == "done" and row.count is not None]
    last = max(looks, key=lambda row: row.called, default=None)
    ended = max((row.returned for row in once if row.kind != "look"), default=0)
    unknown = any(row.kind in CHANGING and row.outcome == "unknown" for row in once)
    if last is None or last.called < ended or (journal is None and unknown):
        return
    if journal is not None:
        held = {change.order for change in journal if change.status == "held"}
        kinds = [(kind_of(change, held)[0], change.tickets) for change in journal]
        taken = -sum((1 if kind == "expire" else CHANGING[kind]) * len(tickets) for kind, tickets in kinds)
    else:
        done = [row for row in once if row.kind in CHANGING and row.outcome == "done"]
        taken = -sum(CHANGING[row.kind] * len(row.tickets) for row in done)
    if last.count is not None and taken + last.count != count:
        found.add("miscount", f"{taken} tickets were sold and {last.count} are left at the end, of {count}", last.name)


def _some(tickets: tuple[int, ...]) -> str:
    return f"{tickets[0]} to {tickets[-1]}" if len(tickets) > 1 else ", ".join(map(str, tickets)) or "none"
