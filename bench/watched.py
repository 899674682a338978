"""What it costs a service to be watched: ``python -m bench.watched``.

Each way of watching is measured against a service that tells nobody anything, slice by slice in turn (ABBA). Spans go
to a collector on the same machine that throws them away, so what it uses is in the figure too.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import click

from bench import results as raw
from bench.arms import Arm, Load, paired, taken
from bench.figures import RATES, ratio
from bench.results import Results, Row
from bench.table import Target, markdown, put
from loadtest.drive import ClientDied
from loadtest.interrupt import interruptible
from loadtest.provenance import provenance
from loadtest.serve import NotServed

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "observe.md"
PLACE = ROOT / "runs" / "bench"
UNWATCHED = {"metrics": "false"}
WAYS: Mapping[str, Mapping[str, object]] = {
    "counting, as by default": {"metrics": "true"},
    "counting, and a line of JSON for each request": {"metrics": "true", "log": "json", "log_level": "info"},
    "counting, and a span of each request": {"metrics": "true", "tracing": "otlp"},
}
MODES = ("group_commit", "file_lock")
COUNTED_SHARE_MIN = 0.95
"""Counting, which is on by default, is to leave this share of the rate. The others are for who asks for them."""
WARMUP_S = 0.5
ORDERS_PER_CONNECTION = 10**9
"""One connection each, so that what is watched is requests."""


class Collector(BaseHTTPRequestHandler):
    """One who takes spans and throws them away."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take what is sent."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@click.command(help=__doc__)
@click.option("--pairs", default=8, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="length of a slice, after its warm-up")
@click.option("--clients", default=64, show_default=True)
@click.option("--processes", default=2, show_default=True, help="client processes")
@click.option("--workers", default=2, show_default=True)
@click.option("--threads", default=32, show_default=True, help="threads of each worker")
@click.option("--quick", is_flag=True, help="one short pair each, to see that all works; no document is written")
def main(pairs: int, seconds: float, *, quick: bool, **load: int) -> None:
    """Measure, print the table, and write it to the document."""
    seconds, pairs = (0.6, 1) if quick else (seconds, pairs)
    asked = Load(seconds=seconds, warmup_s=WARMUP_S, orders_per_connection=ORDERS_PER_CONNECTION, **load)
    results = Results({"load": asdict(asked), "pairs": pairs}, {})
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector, interruptible():
        Thread(target=collector.serve_forever, daemon=True).start()
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"
        try:
            for mode in MODES:
                for way in WAYS:
                    results.rows[f"{mode} {way}"] = measured(mode, way, asked, pairs)
        except (NotServed, ClientDied) as error:
            raise click.ClickException(str(error)) from error
        finally:
            collector.shutdown()
    raw.save(PLACE / "watched.json", results)
    table = markdown(results, targets())
    click.echo(table)
    if not quick:
        DOCUMENT.write_text(put(DOCUMENT.read_text(), "watched", table))
        click.echo(f"written to {DOCUMENT.relative_to(ROOT)}")


def targets() -> list[Target]:
    """Return a line of the table for each mode and way."""
    return [
        Target(
            f"{mode} {way}",
            f"`{mode}`, {way}: rate",
            COUNTED_SHARE_MIN if flags == {"metrics": "true"} else None,
            ratio("requests_per_s"),
            RATES,
        )
        for mode in MODES
        for way, flags in WAYS.items()
    ]


def measured(mode: str, way: str, load: Load, pairs: int) -> Row:
    """Measure a mode that is watched in one way, and the same unwatched."""
    place = PLACE / "watched"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    bare = Arm(f"{mode} unwatched", load, mode=mode, flags=UNWATCHED)
    watched = replace(bare, name=f"{mode} {way}", flags=WAYS[way])
    took = paired(partial(taken, watched, place), partial(taken, bare, place), pairs, click.echo)
    shutil.rmtree(place)
    return Row(took, provenance=provenance())


if __name__ == "__main__":
    main()
