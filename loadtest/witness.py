"""The witness: what happened in one case of an anomaly, as a sentence and as lanes for a picture. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING

from loadtest.history import host_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.findings import Anomaly, Witness
    from loadtest.history import Operation, Passage
    from loadtest.mishaps import Stretch

LANES_MAX = 6


@dataclass(frozen=True, slots=True)
class Lane:
    """One operation of the case. Times are seconds since the first call of the slice.

    ``worker`` is a small number, in the order in which workers first answered, ``host`` that of its host, if there are
    several. The moments in the service are ``None``
    without a trace.
    """

    name: str
    worker: int | None
    called_s: float
    returned_s: float
    asked_s: float | None
    entered_s: float | None
    read_s: float | None
    left_s: float | None
    read_version: int | None
    version: int | None
    tickets: tuple[int, ...]
    outcome: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """A case told: the sentence, and who did what when."""

    anomaly: Anomaly
    sentence: str
    slice: str
    lanes: tuple[Lane, ...]


def tell(
    anomaly: Anomaly,
    witness: Witness,
    operations: Sequence[Operation],
    passages: Sequence[Passage],
    faults: Sequence[Stretch] = (),
) -> Story:
    """Tell the case of ``witness`` with what history and trace of its slice say of it, and what was done meanwhile."""
    began = min((row.called for row in operations), default=0)
    workers = _numbered(operations)
    by_name = {row.name: row for row in operations}
    by_order = {row.order: row for row in passages}
    rows = [by_name[name] for name in witness.operations if name in by_name][:LANES_MAX]
    lanes = tuple(_lane(row, by_order.get(row.order), workers, began) for row in rows)
    if len({host_of(name) for name in workers}) == 1:  # to name it would say nothing
        lanes = tuple(replace(lane, host="") for lane in lanes)
    sentence = _sentence(anomaly, lanes) or witness.sentence
    return Story(anomaly, sentence + _meanwhile(rows, faults), witness.slice, lanes)


def _meanwhile(rows: Sequence[Operation], faults: Sequence[Stretch]) -> str:
    """Return which faults befell one of them, in words."""
    names = [
        each.name
        for each in faults
        if each.mishap and any(row.called < each.to_ns and row.returned > each.from_ns for row in rows)
    ]
    return f"; meanwhile: {'; '.join(names)}" if names else ""


def _numbered(operations: Sequence[Operation]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for row in operations:
        if row.worker:
            numbers.setdefault(row.worker, len(numbers) + 1)
    return numbers


def _lane(row: Operation, passage: Passage | None, workers: dict[str, int], began: int) -> Lane:
    def seconds(moment: int | None) -> float | None:
        return None if moment is None else (moment - began) / 1e9

    return Lane(
        name=row.name,
        worker=workers.get(row.worker),
        called_s=(row.called - began) / 1e9,
        returned_s=(row.returned - began) / 1e9,
        asked_s=seconds(passage.asked) if passage else None,
        entered_s=seconds(passage.entered) if passage else None,
        read_s=seconds(passage.read) if passage else None,
        left_s=seconds(passage.left) if passage else None,
        read_version=passage.version if passage else None,
        version=row.version,
        tickets=row.tickets,
        outcome=row.outcome,
        host=host_of(row.worker),
    )


def _sentence(anomaly: Anomaly, lanes: Sequence[Lane]) -> str:
    """Return the story of two who collided, or nothing for other cases and without a trace."""
    if anomaly not in {"double sale", "lost update"} or len(lanes) < 2:  # noqa: PLR2004  # two make a collision
        return ""
    two = sorted(((lane.read_s, lane) for lane in lanes[:2] if lane.read_s is not None), key=itemgetter(0))
    if len(two) < 2:  # noqa: PLR2004  # as above
        return ""
    (_, first), (_, second) = two
    reads = ", ".join(
        f"worker {lane.worker}{f' on host {lane.host}' if lane.host else ''} read version {lane.read_version} "
        f"at {read_s:.3f} s"
        for read_s, lane in two
    )
    same = first.version == second.version
    wrote = f"both wrote {first.version}" if same else f"they wrote {first.version} and {second.version}"
    shared = sorted(set(first.tickets) & set(second.tickets))
    owners = f": {_tickets(shared)} two owners" if shared else ": one of the two updates is lost"
    return f"{reads}, {wrote}{owners}"


def _tickets(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"ticket {numbers[0]} has"
    return f"tickets {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} have"
