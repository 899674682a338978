"""pgbench on the tables of a service, with the transactions that the service makes: what the server does without us.

Each script is one purchase of one ticket, in as few round trips as the mode of that name takes, with values that
pgbench makes up instead of a service that decides. It runs with as many connections as the service has.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Taken
from loadtest.serve import NotServed, service

if TYPE_CHECKING:
    from bench.arms import Load
    from loadtest.servers.postgres import Postgres

LOCKS = {
    "postgres_row_lock": "SELECT FROM turnstile.events WHERE name = 'default' FOR UPDATE",
    "postgres_advisory": "SELECT pg_advisory_xact_lock(hashtextextended('default', 20261129))",
}
READ_AND_WRITE = r"""
\set o random(1, 9000000000000000)
BEGIN \; {lock} \; SELECT * FROM turnstile.page('default', 1, 0, NULL, NULL, false) \gset
\set left :count - 1
\set ticket :given + 1
SELECT turnstile.record_sale('default', :version, :left, ':o', ARRAY[:ticket], 1.5, NULL) \; COMMIT;
"""
SELL = r"""
\set o random(1, 9000000000000000)
SELECT * FROM turnstile.sell('default', ':o', 1, NULL, 1.5);
"""
SCRIPTS = {
    **{mode: READ_AND_WRITE.replace("{lock}", lock) for mode, lock in LOCKS.items()},
    "postgres_conditional": SELL,
}
TICKETS = 10_000_000
MORE_S = 30.0
"""How much longer than it shall run it may take."""


def taken(mode: str, load: Load, server: Postgres, name: str, connections: int) -> Taken:
    """Measure one slice of the transaction of ``mode``, on a fresh database. Raises ``NotServed``."""
    url = server.url(name)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "data").mkdir()
        (place / "data" / "default.json").write_text(json.dumps({"count": TICKETS}))
        with service(place, {"mode": mode, "url": url, "workers": 1, "threads": 1}):
            pass  # it makes the tables and the event
        script = place / "purchase.sql"
        script.write_text(SCRIPTS[mode])
        command = [str(server.binaries / "pgbench"), "--no-vacuum", "--client", str(connections)]
        command += ["--jobs", str(load.processes), "--file", str(script), "--protocol", "simple"]
        for seconds in (load.warmup_s, load.seconds):
            ended = subprocess.run(  # noqa: S603  # PostgreSQL's own
                [*command, "--time", str(max(round(seconds), 1)), url],
                capture_output=True, text=True, check=False, timeout=seconds + MORE_S,
            )  # fmt: skip
    found = re.search(r"tps = ([0-9.]+)", ended.stdout)
    latency = re.search(r"latency average = ([0-9.]+) ms", ended.stdout)
    decided = re.search(r"transactions actually processed: (\d+)", ended.stdout)
    if ended.returncode or not (found and latency and decided):
        said = ended.stderr.strip().splitlines()
        raise NotServed(f"pgbench failed: {said[-1] if said else ended.returncode}")
    failed = re.search(r"number of failed transactions: (\d+)", ended.stdout)
    return Taken(
        arm="pgbench", decided=int(decided[1]), errors=int(failed[1]) if failed else 0, requests_per_s=float(found[1]),
        p50_ms=float(latency[1]), p99_ms=0.0, cpu_ms=0.0, other_cores=0.0, busiest_share=0.0,
    )  # fmt: skip
