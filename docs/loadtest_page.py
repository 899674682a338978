"""What the reference says of the load test: verdicts, anomalies, figures, shapes; and both command lines."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import click

from loadtest import __main__ as load_test
from loadtest import plan
from loadtest.export import FIGURES
from loadtest.findings import MEANINGS
from loadtest.shapes import SHAPES
from loadtest.verdict import EXIT_CODES, PROOFS
from service import __main__ as service

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = 100
"""How wide a terminal is for which the help is shown."""


def anomalies() -> str:
    """Return the table of what a check can find, and what each finding proves."""
    rows = ["| anomaly | what it is | alone it proves that tickets were sold or lost wrongly |", "| --- " * 3 + "|"]
    rows += [f"| {name} | {meaning} | {'yes' if name in PROOFS else 'no'} |" for name, meaning in MEANINGS.items()]
    return "\n".join(rows)


def words() -> str:
    """Return the table of verdicts with the exit code of each."""
    return "\n".join(["| verdict | exit code |", "| --- | --: |", *(f"| {w} | {c} |" for w, c in EXIT_CODES.items())])


def figures() -> str:
    """Return the names of all figures that a requirement can ask for."""
    return ", ".join(f"`{name}`" for name in sorted(FIGURES))


def shapes() -> str:
    """Return the table of scenes."""
    rows = ["| shape | tickets | clients | goes on | pause s | holds | lost replies |", "| --- " * 7 + "|"]
    for name in SHAPES:
        made = plan.make(name, 1, 5.0)
        end = f"{made.orders} orders a client" if made.orders else "for `--seconds`"
        rows.append(
            f"| `{name}` | {made.tickets:,} | {made.clients} | {end} | {made.think_s:g} "
            f"| {made.hold_share:.0%} | {made.loss_share:.0%} |"
        )
    return "\n".join(rows)


def helped(group: Callable[[], click.Command], program: str) -> str:
    """Return what a command line says of itself, and each of its commands."""
    command = group()
    context = click.Context(command, info_name=program, terminal_width=COLUMNS, max_content_width=COLUMNS)
    parts = [command.get_help(context)]
    for name, each in getattr(command, "commands", {}).items():
        inner = click.Context(each, info_name=name, parent=context, terminal_width=COLUMNS, max_content_width=COLUMNS)
        parts.append(each.get_help(inner))
    return "\n\n".join(f"```text\n{re.sub(' +$', '', part, flags=re.MULTILINE)}\n```" for part in parts)


PARTS: dict[str, Callable[[], str]] = {
    "anomalies": anomalies,
    "verdicts": words,
    "figures": figures,
    "shapes": shapes,
    "command service": partial(helped, service.command, "python -m service"),
    "command loadtest": partial(helped, lambda: load_test.main, "python -m loadtest"),
}
