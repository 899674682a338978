"""The commands for who looks after a store: ``python -m service verify DIR`` and ``repair DIR``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from service.engines import shown
from service.stores.inspection import inspected
from service.stores.repair import repaired
from service.stores.replay import Refused


class _Directory(click.Path):
    """A data directory. What an engine keeps has no files here, and its address may have a password in it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  # as click has it
        if "://" in str(value):
            self.fail(f"{shown(str(value))} is an address: an engine looks after its store by itself", param, ctx)
        return super().convert(value, param, ctx)


DIRECTORY = _Directory(exists=True, file_okay=False, path_type=Path)


@click.command(short_help="Say what is wrong with the store in DIR, and change nothing.")
@click.argument("directory", metavar="DIR", type=DIRECTORY)
def verify(directory: Path) -> None:
    """Read all of the store in DIR, change nothing, and list what is wrong: exit 0 if nothing is, else 1.

    A service may run there. What the next start puts right by itself is told too, and is not wrong.
    """
    try:
        found = inspected(directory)
    except Refused as error:
        click.echo(error)
        sys.exit(1)
    for sentence in found.mendable:
        click.echo(f"to be put right by the next start: {sentence}")
    for sentence in found.wrong:
        click.echo(sentence)
    events = f"{found.events} event{'s' * (found.events != 1)}"
    click.echo(f"{len(found.wrong)} wrong in {events}" if found.wrong else f"{events}, nothing is wrong")
    sys.exit(bool(found.wrong))


@click.command(short_help="Make the documents in DIR again from their journals.")
@click.argument("directory", metavar="DIR", type=DIRECTORY)
def repair(directory: Path) -> None:
    """Make the documents in DIR again from their journals, which must be whole; not while a service runs there."""
    try:
        done = repaired(directory)
    except Refused as error:
        click.echo(error)
        sys.exit(1)
    for sentence in done or ["there was nothing to repair"]:
        click.echo(sentence)
