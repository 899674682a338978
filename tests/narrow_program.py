"""The service with room for few connections, and endless patience for slow and idle ones.

``python -m tests.narrow_program``.
"""

from __future__ import annotations

from service import __main__ as program
from service import arrivals, gunicorn_conf

CONNECTIONS_MAX = 50

if __name__ == "__main__":
    arrivals.READ_S = gunicorn_conf.KEEPALIVE_S = 1000
    gunicorn_conf.CONNECTIONS_MORE = CONNECTIONS_MAX - 2 * 2  # beside twice what may be inside
    program.main()
