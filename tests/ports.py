"""Ports for services of tests that run side by side: each process that tests has its own.

From a shared range another process might take a port between the look at it and its use, or while a service that was
killed is started again.
"""

from __future__ import annotations

import os

SIDE_BY_SIDE = "PYTEST_XDIST_WORKER" in os.environ
"""This process is one of several that run tests at once."""

PORTS = range(10_000, 20_000)
"""Those above are taken by load tests and servers that are run as programs."""

SPARE = 16
"""So many processes may end while they test. Each is followed by one with the next higher number."""


def of_this_process() -> range:
    """Return the ports that this process may use: all, where no other runs tests."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return share(int(number), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def share(number: int, processes: int) -> range:
    """Return the ports of one of so many processes."""
    each = len(PORTS) // (processes + SPARE)
    number %= processes + SPARE
    return PORTS[number * each : (number + 1) * each]
