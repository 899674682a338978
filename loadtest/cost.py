"""What a run cost in processor time, and whether the load generator was itself the limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.usage import Usage

BOTTLENECK_SHARE = 0.85
"""A client process that used more than this share of one processor was itself the limit: in Python one thread of a
process runs at a time."""
FULL_SHARE, CROWDING_SHARE = 0.95, 0.3
"""A machine this busy, of which the load generator took this share, would serve more if it were not on it."""
QUIET_CORES_MAX = 0.15
"""A slice is quiet when processes that are neither service nor client used less than this many processors."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time. ``client_share`` and ``service_share`` are parts of all the machine's processors.

    ``other_cores`` is how many processors were used by others, ``quiet`` whether that was little in every slice, and
    ``bottleneck`` says that a client process was itself the limit, ``crowded`` that the machine was full and the load
    generator took much of it. ``None``: not known, for a service elsewhere.
    """

    cpu_ms_per_sale: float | None
    client_share: float
    service_share: float | None
    other_cores: float | None
    quiet: bool | None
    bottleneck: bool
    crowded: bool


def add_up(usages: Sequence[Usage], sales: int) -> Cost | None:
    """Return the cost of the slices with these usages, in which ``sales`` purchases were made."""
    if not usages:
        return None
    elapsed_s = sum(each.elapsed_s for each in usages)
    cpus = usages[0].cpus
    clients_s = sum(sum(each.clients_s) for each in usages)
    services = [each.service_s for each in usages if each.service_s is not None]
    service_s = sum(services) if services else None
    client_share = clients_s / elapsed_s / cpus
    full = sum(each.machine_s for each in usages) > FULL_SHARE * elapsed_s * cpus
    others = [other_cores(each) for each in usages]
    known = [cores for cores in others if cores is not None]
    return Cost(
        cpu_ms_per_sale=service_s / sales * 1e3 if service_s is not None and sales else None,
        client_share=client_share,
        service_share=service_s / elapsed_s / cpus if service_s is not None else None,
        other_cores=sum(known) / len(known) if known else None,
        quiet=max(known) < QUIET_CORES_MAX if known else None,
        crowded=full and client_share > CROWDING_SHARE,
        bottleneck=any(used > BOTTLENECK_SHARE * each.elapsed_s for each in usages for used in each.clients_s),
    )


def other_cores(usage: Usage) -> float | None:
    """Return how many processors were used by neither service nor engine nor clients."""
    if usage.service_s is None:
        return None
    return max(0.0, usage.machine_s - usage.service_s - usage.engine_s - sum(usage.clients_s)) / usage.elapsed_s
