"""The service with less patience for slow clients than it has: ``python -m tests.hasty_program``."""

from __future__ import annotations

from service import __main__ as program
from service import arrivals

if __name__ == "__main__":
    arrivals.READ_S = 0.3
    program.main()
