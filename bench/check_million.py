"""How long the check takes for a million operations, and how much memory: target 30 s and 2 GB.

The history is that of a right counter: sixteen clients in a closed loop, nine purchases to one look, with a journal.
"""

from __future__ import annotations

import random
import resource
import sys
import time

from loadtest.check import Start, check
from loadtest.history import Change, Operation

OPERATIONS = 1_000_000
CLIENTS = 16
LOOK_EVERY = 10
STEP_NS = 1_000
TARGET_S, TARGET_GB = 30.0, 2.0


def history(size: int) -> tuple[list[Operation], list[Change], Start]:
    """Return ``size`` operations of a right counter, its journal, and where it started."""
    chance = random.Random(1)  # noqa: S311  # repeatable, not secret
    operations, journal = [], []
    capacity, version = size, 0
    free = [0] * CLIENTS
    for number in range(size):
        client = number % CLIENTS
        effect = (number + CLIENTS) * STEP_NS
        called = max(free[client] + 1, effect - chance.randrange(STEP_NS * CLIENTS // 2))
        returned = effect + chance.randrange(1, STEP_NS * CLIENTS // 2)
        free[client] = returned
        name = f"client {client} order {number}"
        if number % LOOK_EVERY == 0:
            seen = capacity - version
            operations.append(
                Operation("look", name, client, called, called, returned, "done", 200, version=version, count=seen)
            )
            continue
        version += 1
        order, tickets, left = f"{number:032x}", (version,), capacity - version
        operations.append(
            Operation(
                "buy",
                name,
                client,
                called,
                called,
                returned,
                "done",
                201,
                1,
                version=version,
                count=left,
                tickets=tickets,
                order=order,
            )
        )
        journal.append(Change(version, order, name, tickets, left))
    return operations, journal, Start(capacity, capacity)


def main() -> int:
    """Measure once and print; exit 1 if a target is missed."""
    operations, journal, start = history(OPERATIONS)
    began = time.perf_counter()
    checked = check(operations, journal, start)
    took = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    met = took < TARGET_S and memory < TARGET_GB and not checked.findings
    sys.stdout.write(
        f"check: {OPERATIONS:,} operations in {took:.1f} s (target {TARGET_S:g} s) and {memory:.2f} GB "
        f"(target {TARGET_GB:g} GB), {len(checked.findings)} findings: {'met' if met else 'MISSED'}\n"
    )
    return not met


if __name__ == "__main__":
    sys.exit(main())
