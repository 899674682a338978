"""Where the time of a purchase goes: ``python -m bench.where``.

One thread sends purchases through the whole service as gunicorn would call it, in mode ``group_commit``, and each step
is timed on the way; a step's time is its own, without that of the steps inside it. What gunicorn adds (sockets, HTTP,
threads) is not in it. The clocks take time too, and how much is printed.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest import mock

import click
from werkzeug.test import EnvironBuilder

from bench import stores
from bench.table import put
from loadtest.percentiles import percentile
from loadtest.provenance import provenance
from service import answers, app, catalogue, counter, wire
from service.committer import Committer
from service.flock import flock
from service.modes import group_commit
from service.settings import Settings
from service.stores.json_file import JsonFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
PLACE = ROOT / "runs" / "bench"
BODY = b'{"quantity": 1, "partial": false, "buyer": "client 0 order 0"}'
WARMUP_ORDERS = 200
CREATED = "201 CREATED"

STEPS = {
    "web": "Flask: routing, contexts, the response",
    "parse": "content type, UTF-8, JSON, no key twice",
    "validate": "the fields (pydantic), the command",
    "queue": "to be next among the orders of this worker",
    "lock": "to be next among the workers, and to leave",
    "read": "the document",
    "decide": "the rule",
    "write": "the line to the journal, the document",
    "fsync": "of the journal",
    "render": "the reply: JSON and headers",
}


class Clocks:
    """Own times of nested steps, in nanoseconds. For one order at a time, whatever threads it passes through."""

    def __init__(self) -> None:
        self.own: dict[str, int] = defaultdict(int)
        self._inside: list[int] = []

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with its time counted as that of ``step``."""

        def timing(*words: Any, **named: Any) -> Any:  # noqa: ANN401  # whatever it takes and returns
            began = time.perf_counter_ns()
            self._inside.append(0)
            try:
                return function(*words, **named)
            finally:
                took = time.perf_counter_ns() - began
                self.own[step] += took - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took

        return timing

    def timed_turn(self, turn: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``turn`` with the times to enter and to leave counted, and not what is done inside."""

        @contextmanager
        def timing(*words: Any, **named: Any) -> Iterator[Any]:  # noqa: ANN401  # as above
            manager = turn(*words, **named)
            number = self.timed("lock", manager.__enter__)()
            try:
                yield number
            finally:
                self.timed("lock", manager.__exit__)(None, None, None)

        return timing


def orders(clocks: Clocks, data: Path, count: int) -> list[dict[str, int]]:
    """Sell ``count`` orders, and return the own times of the steps of each."""
    stores.fresh(data)
    settings = Settings(mode="group_commit", data=data)
    decide = clocks.timed("decide", catalogue.deciding(0))
    with ExitStack() as stack:
        for place, name, timed in (
            (catalogue, "deciding", lambda _: decide),
            (wire, "_object", clocks.timed("parse", wire._object)),  # noqa: SLF001  # a step of its own
            (wire, "body_of", clocks.timed("validate", wire.body_of)),
            (counter, "replied", clocks.timed("render", answers.replied)),
            (counter, "sent", clocks.timed("render", answers.sent)),
            (Committer, "begin", clocks.timed("queue", Committer.begin)),
            (group_commit, "flock", clocks.timed_turn(flock)),
            (JsonFile, "page", clocks.timed("read", JsonFile.page)),
            (JsonFile, "write_all", clocks.timed("write", JsonFile.write_all)),
            (os, "fsync", clocks.timed("fsync", os.fsync)),
        ):
            stack.enter_context(mock.patch.object(place, name, timed))
        mode, _ = catalogue.build(settings)
        mode.open()
        call = clocks.timed("web", app.create_app(mode, settings).wsgi_app)
        asked = EnvironBuilder(path="/buy", method="POST", content_type="application/json").get_environ()
        asked |= {"CONTENT_LENGTH": str(len(BODY))}
        return [_one(clocks, call, asked) for _ in range(WARMUP_ORDERS + count)][WARMUP_ORDERS:]


def _one(clocks: Clocks, call: Callable[..., Any], asked: dict[str, Any]) -> dict[str, int]:
    answered: list[str] = []
    environ = asked | {"wsgi.input": BytesIO(BODY)}
    clocks.own.clear()
    b"".join(call(environ, lambda status, _headers, _error=None: answered.append(status)))
    if answered != [CREATED]:
        raise click.ClickException(f"a purchase was answered with {answered}, so there is nothing to measure")
    return dict(clocks.own)


def markdown(took: list[dict[str, int]], clock_us: float) -> str:
    """Return the table of steps, and what it was measured on."""
    totals = [sum(each.values()) / 1e3 for each in took]
    lines = ["| step | what | median, µs | p99, µs | share |", "| --- | --- | --- | --- | --- |"]
    for step, what in STEPS.items():
        values = sorted(each.get(step, 0) / 1e3 for each in took)
        share = sum(values) / sum(totals)
        lines.append(f"| {step} | {what} | {median(values):.1f} | {percentile(values, 99):.1f} | {share:.0%} |")
    lines.append(f"| all | | {median(totals):.1f} | {percentile(sorted(totals), 99):.1f} | 100% |")
    ran_on = provenance()
    machine = f"commit {ran_on['commit']}, Python {ran_on['python']}, {ran_on['processor']}"
    said = (
        f"{len(took):,} orders, one after the other, in one thread; {machine}. A clock takes {clock_us:.1f} µs of it."
    )
    return "\n".join([*lines, "", said])


def clock_cost_us() -> float:
    """Return the median time, in microseconds, of a clock around nothing."""
    clocks, costs = Clocks(), []
    nothing = clocks.timed("nothing", lambda: None)
    for _ in range(WARMUP_ORDERS):
        began = time.perf_counter_ns()
        nothing()
        costs.append((time.perf_counter_ns() - began) / 1e3)
    return median(costs)


@click.command(help=__doc__)
@click.option("--orders", "count", default=5_000, show_default=True, help="how many orders")
@click.option("--quick", is_flag=True, help="only 200 orders, to see that it works; no document is written")
def main(count: int, *, quick: bool) -> None:
    """Measure, print the table, and write it to the document."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PLACE, prefix="where-") as place:
        table = markdown(orders(Clocks(), Path(place) / "data", WARMUP_ORDERS if quick else count), clock_cost_us())
    click.echo(table)
    if not quick:
        DOCUMENT.write_text(put(DOCUMENT.read_text(), "where", table))
        click.echo(f"written to {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
