"""The service with less patience for slow clients than it has, and endless patience for idle ones.

``python -m tests.hasty_program``.
"""

from __future__ import annotations

from service import __main__ as program
from service import arrivals, gunicorn_conf

if __name__ == "__main__":
    arrivals.READ_S = 0.3
    gunicorn_conf.KEEPALIVE_S = 1000
    program.main()
