"""Conservation: what clients were told, what the journal holds, who owns each ticket, and what is left agree. Pure."""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.findings import Found
    from loadtest.history import Change, Operation
    from loadtest.sizes import Sizes

CHANGING = {"buy": -1, "hold": -1, "confirm": 0, "cancel": 1}
"""What each kind of operation that changes an event adds to the count, for each of its tickets."""

ADDED = CHANGING | {"expire": 1}
"""The same, and for a hold that expires by itself."""

FOLLOWS = {"buy": {""}, "hold": {""}, "confirm": {"held"}, "cancel": {"held", "sold"}, "expire": {"held"}}
"""What an order must be for each kind of change to follow: not there yet (""), held, or sold."""

RECORDED_AS = {"buy": "sold", "hold": "held", "confirm": "sold", "cancel": "cancelled", "expire": "expired"}

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


class Step(NamedTuple):
    """A change as clients were told of it, or else as the journal has it."""

    version: int
    called: int
    kind: str
    order: str
    name: str
    tickets: tuple[int, ...]


def asked(once: Iterable[Operation]) -> dict[Identity, Operation]:
    """Return what was asked for, by identity. One that may have happened goes before one that did not."""
    rows = [row for row in once if row.kind in CHANGING]
    may = {identity(row): row for row in rows if row.outcome in {"done", "unknown"}}
    return {identity(row): row for row in rows if row.outcome not in {"done", "unknown"}} | may


def check(  # all that there is to compare
    once: Sequence[Operation], journal: Sequence[Change] | None, steps: Sequence[Step], sizes: Sizes, count: int,
    found: Found,
) -> None:  # fmt: skip
    """Check that nothing is made or lost between replies, journal, tickets and the final count.

    ``once`` has each purchase once, ``steps`` are those of both, and ``count`` is how many tickets were left at first.
    """
    if journal is not None:
        _replies_are_recorded(once, journal, found)
        _records_were_asked_for(once, journal, found)
    for row in once:
        if row.outcome == "done":
            _amount(row, row.tickets, row.count, found)
    # Without a journal, a cancellation of unknown outcome may have freed its tickets.
    open_end = {row.order for row in once if journal is None and (row.kind, row.outcome) == ("cancel", "unknown")}
    _tickets([step for step in steps if step.order not in open_end], sizes.capacity, count + sizes.grown(), found)
    _sum(once, journal, sizes, count, found)


def check_untold(once: Sequence[Operation], untold: Sequence[tuple[int, int]], capacity: int, found: Found) -> None:
    """Check that those who were never told their tickets (``untold``: version, how many) can have had tickets.

    Whatever is sold later, or owned at the end, was not theirs: each needs enough others, and so do all up to each.
    """
    if not untold:
        return
    steps = steps_of(once, None)
    owned: set[int] = set()
    for step in steps:
        owned = owned - set(step.tickets) if ADDED[step.kind] > 0 else owned | set(step.tickets)
    need = sum(quantity for _, quantity in untold)
    for version, quantity in sorted(untold, reverse=True):
        while steps and steps[-1].version > version:
            owned |= set(steps.pop().tickets)
        if need > capacity - len(owned):
            found.add("double sale", f"of version {version} and those before it, {need} tickets are sold again later")
        need -= quantity


def _replies_are_recorded(once: Sequence[Operation], journal: Sequence[Change], found: Found) -> None:
    recorded = {(change.order, change.status): change for change in journal}
    for row in once:
        if row.kind not in CHANGING or row.outcome != "done":
            continue
        change = recorded.get((row.order, RECORDED_AS[row.kind]))  # type: ignore[arg-type]  # a kind that changes has its status here
        if change is None:
            sentence = f"{row.name} was acknowledged (version {row.version}) and is not in the journal"
            found.add("phantom order", sentence, row.name, size=len(row.tickets))
        elif (change.version, change.tickets, change.count) != (row.version, row.tickets, row.count):
            told = f"version {row.version}, tickets {some(row.tickets)}, {row.count} left"
            held = f"version {change.version}, tickets {some(change.tickets)}, {change.count} left"
            found.add("miscount", f"{row.name} was told {told}, the journal says {held}", row.name)


def _records_were_asked_for(once: Sequence[Operation], journal: Sequence[Change], found: Found) -> None:
    owners = asked(once)
    held = {change.order for change in journal if change.status == "held"}
    buyers = {row.order: row.name for row in once if row.kind in {"buy", "hold"} and row.outcome == "done"}
    recorded: defaultdict[Identity, list[Change]] = defaultdict(list)
    for change in journal:
        kind, whose = kind_of(change, held)
        owner = owners.get(whose)
        if kind == "expire":
            continue
        if owner is None:
            found.add("ghost order", f"version {change.version} is in the journal, and nobody asked for it")
        elif owner.outcome in {"refused", "not done"}:
            sentence = (
                f"{owner.name} was told that nothing was done, and the journal has it at version {change.version}"
            )
            found.add("ghost order", sentence, owner.name)
        else:
            recorded[whose].append(change)
    for whose, changes in recorded.items():
        owner = owners[whose]
        told = [row for row in changes if owner.outcome == "unknown" or _agree(owner, row)]
        for change in [row for row in changes if row not in told] + told[1:]:
            sentence = f"{owner.name} was told version {owner.version}, and the journal has it at {change.version} too"
            found.add("double effect", sentence, owner.name)
        if owner.outcome == "unknown":
            _amount(owner, changes[0].tickets, changes[0].count, found)
            if owner.kind in {"buy", "hold"} and changes[0].order in buyers:
                other = buyers[changes[0].order]
                sentence = f"{other} was acknowledged, and the journal has its order for {owner.name}"
                found.add("phantom order", sentence, other, owner.name)


def _agree(row: Operation, change: Change) -> bool:
    return (row.order, row.version) == (change.order, change.version)


def _amount(row: Operation, tickets: tuple[int, ...], count: int | None, found: Found) -> None:
    """Check that ``row`` got what it asked for; if it takes what is there, that was less only where all was taken."""
    short = row.partial and 0 < len(tickets) < row.quantity and count in {0, None}
    if row.kind in {"buy", "hold"} and len(tickets) != row.quantity and not short:
        sentence = f"{row.name} asked for {row.quantity} tickets and got {len(tickets)}, with {count} left"
        found.add("undersell" if len(tickets) < row.quantity else "miscount", sentence, row.name)


def steps_of(once: Sequence[Operation], journal: Sequence[Change] | None) -> list[Step]:
    """Return all changes in the order of their versions: what was acknowledged, and what else the journal has."""
    done = [row for row in once if row.kind in CHANGING and row.outcome == "done"]
    steps = [Step(row.version or 0, row.called, row.kind, row.order, row.name, row.tickets) for row in done]
    told = {(row.order, RECORDED_AS[row.kind]) for row in done}
    held = {change.order for change in journal or () if change.status == "held"}
    for change in journal or ():
        if (change.order, change.status) not in told:
            kind, _ = kind_of(change, held)
            name = change.buyer or change.order
            steps.append(Step(change.version, 0, kind, change.order, name, change.tickets))
    return sorted(steps, key=itemgetter(0, 1))


def _tickets(steps: Sequence[Step], capacity: int, count: int, found: Found) -> None:
    """Follow each ticket from owner to owner, in the order of the versions."""
    owners: defaultdict[int, list[Step]] = defaultdict(list)
    crowds: dict[int, list[str]] = {}
    sold = 0
    for step in steps:
        sign = ADDED[step.kind]
        sold -= sign * len(step.tickets)
        for ticket in step.tickets if sign else ():
            if sign > 0:  # whoever gave it back, or had it taken back, was told this order
                owners[ticket] = [owner for owner in owners[ticket] if owner.order != step.order]
                continue
            owners[ticket].append(step)
            if len(owners[ticket]) > max(1, len(crowds.get(ticket, ()))):
                crowds[ticket] = [owner.name for owner in owners[ticket]]
            if not 1 <= ticket <= capacity:
                found.add("oversell", f"{step.name} got ticket {ticket} of {capacity}", step.name)
    for ticket, crowd in crowds.items():
        sentence = f"ticket {ticket} was sold to {', to '.join(crowd[:3])}{' and others' * (len(crowd) > 3)}"  # noqa: PLR2004  # enough names
        found.add("double sale", sentence, *crowd, size=len(crowd))
    if sold > count:
        sentence = f"{sold} tickets were sold, and there were {count}"
        found.add("oversell", sentence, size=sold - count, times=sold - count)


def _sum(once: Sequence[Operation], journal: Sequence[Change] | None, sizes: Sizes, count: int, found: Found) -> None:
    """Check that tickets sold and tickets left make up what there was, as far as it is known which were sold."""
    looks = [row for row in once if row.kind == "look" and row.outcome == "done" and row.count is not None]
    last = max(looks, key=lambda row: row.called, default=None)
    ended = max((row.returned for row in once if row.kind != "look"), default=0)
    unknown = any(row.kind in CHANGING and row.outcome == "unknown" for row in once)
    if last is None or last.called < ended or (journal is None and unknown):
        return
    # Who looked at a version cannot know what was changed after it: an unknown outcome, or a hold that expired.
    changes = steps_of(once, None) if journal is None else steps_of((), journal)
    steps = [step for step in changes if last.version is None or step.version <= last.version]
    taken = -sum(ADDED[step.kind] * len(step.tickets) for step in steps)
    there = count + sizes.grown(last.version)
    if last.count is not None and taken + last.count != there:
        found.add("miscount", f"{taken} tickets were sold and {last.count} are left at the end, of {there}", last.name)


def owned(rows: Sequence[Operation]) -> int:
    """Return how many tickets buyers were told they own, and did not give back."""
    done = [row for row in rows if row.outcome == "done"]
    back = {row.order for row in done if row.kind == "cancel"}
    bought = {row.order: len(row.tickets) for row in done if row.kind in {"buy", "confirm"} and row.order not in back}
    return sum(bought.values())


def some(tickets: tuple[int, ...]) -> str:
    """Return ticket numbers in few words."""
    return f"{tickets[0]} to {tickets[-1]}" if len(tickets) > 1 else ", ".join(map(str, tickets)) or "none"
