"""Once: calls that ask for the same thing again are one operation. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.findings import Found
    from loadtest.history import Change, Operation


def one_for_each(
    everything: Iterable[Operation], journal: Sequence[Change] | None, found: Found
) -> tuple[list[Operation], Sequence[Change] | None]:
    """Return one operation for all calls with one key, and for a cancellation or confirmation that was repeated.

    The journal may name any of its calls that can have happened: return it with their one name instead.
    """
    alone: list[Operation] = []
    groups: defaultdict[str, list[Operation]] = defaultdict(list)
    everything = list(everything)
    # Who asks again with a key gets a refusal again, so no call with that key can have done it.
    refused = {row.key for row in everything if row.key and row.outcome == "refused"}
    for row in everything:
        if row.kind in {"cancel", "confirm"} and row.outcome != "refused" and row.key not in refused:
            groups[f"{row.kind} {row.order}"].append(row)
        elif row.key:
            groups[f"key {row.key}"].append(row)
        else:
            alone.append(row)
    single = [rows[0] for rows in groups.values() if len(rows) == 1]
    alone += [row for row in single if row.recorded_as == row.name]
    repeated = [rows for rows in groups.values() if len(rows) > 1 or rows[0].recorded_as != rows[0].name]
    buyers = {change.buyer for change in journal or ()} if repeated else set()
    merged = [(_merged(rows, buyers, found), rows) for rows in repeated]
    names = {row.recorded_as: one.name for one, rows in merged for row in rows if row.outcome != "not done"}
    if journal is not None and names:
        journal = [replace(row, buyer=names[row.buyer]) if row.buyer in names else row for row in journal]
    return alone + [one for one, _ in merged], journal


def _merged(rows: list[Operation], buyers: set[str], found: Found) -> Operation:
    rows.sort(key=lambda row: row.returned)
    decided = [row for row in rows if row.outcome in {"done", "refused"}]
    for row in decided[1:]:
        if _answer(row) != _answer(decided[0]):
            first_time, again = (f"{each.outcome} at version {each.version}" for each in (decided[0], row))
            sentence = f"{decided[0].name} was answered with {first_time}, and asked again with {again}"
            found.add("double effect", sentence, decided[0].name, row.name)
    # Any call that was not certainly not done may have been the one that did it; if the journal names it, it was.
    possible = [row for row in rows if row.outcome != "not done"]
    named = [row for row in possible if row.recorded_as in buyers]
    told = (decided or possible or rows)[0]
    first = min(named or possible or rows, key=lambda row: row.called)
    if told.outcome in {"done", "refused"} and told.returned < first.called:
        sentence = f"{told.name} was answered before {first.name}, which did it, was called"
        found.add("reordered", sentence, first.name, told.name, size=first.called - told.returned)
    return replace(told, called=first.called)


def _answer(row: Operation) -> tuple[object, ...]:
    return row.outcome, row.status, row.problem, row.order, row.version, row.count, row.tickets
