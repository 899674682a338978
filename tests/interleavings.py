"""Every order in which purchases can take their steps, in each mode: ``python -m tests.interleavings`` counts them.

Words: a run is *wrong* when a ticket has two owners, when somebody reads what nobody wrote whole, or when what was told
is not so. Somebody is *blocked* who waits until the deadline because nobody could go on.

``python -m tests.interleavings no_lock`` tells the shortest wrong run of a mode, ``--replay 17`` any run by its number,
step by step. ``--write`` puts the table into ``docs/reliability.md``.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter as Tally
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tests import reliability
from tests.stage import BUILDS, TORN, TWICE, Run, Scene, Stage

INTERRUPTIONS_MAX = 2
"""For scenes that have too many runs to go through all."""

QUICK = (
    Scene("naive"),
    Scene("no_lock"),
    Scene("thread_lock"),
    Scene("thread_lock", apart="threads"),
    Scene("process_lock"),
    Scene("process_lock", deaths_max=1),
    Scene("file_lock"),
    Scene("file_lock", deaths_max=1),
    Scene("ticket_lock"),
    Scene("ticket_lock", deaths_max=1, switches_max=INTERRUPTIONS_MAX),
    Scene("ticket_lock", apart="threads"),
    Scene("lease"),
    Scene("lease", deaths_max=1),
    Scene("lease", apart="threads"),
    Scene("group_commit"),
    Scene("group_commit", deaths_max=1),
    Scene("group_commit", apart="threads", outer=True, switches_max=INTERRUPTIONS_MAX),
)
"""What the tests go through, too."""
THREE = tuple(Scene(mode, orders=3, switches_max=INTERRUPTIONS_MAX) for mode in BUILDS)
LONG = (
    Scene("no_lock", deaths_max=1),
    Scene("ticket_lock", deaths_max=1),
    Scene("ticket_lock", orders=3, deaths_max=1, switches_max=1),
    Scene("ticket_lock", apart="threads", outer=True, switches_max=INTERRUPTIONS_MAX),
    Scene("group_commit", apart="threads", outer=True, switches_max=INTERRUPTIONS_MAX + 1),
)
SCENES = sorted((*QUICK, *THREE, *LONG), key=lambda scene: list(BUILDS).index(scene.mode))


@dataclass(frozen=True, slots=True)
class Counted:
    """The runs of a scene, counted."""

    scene: Scene
    runs: int
    wrong: int
    """Runs with anything wrong."""
    by: Tally[str]
    blocked: int
    shortest: Run | None
    """The wrong run with the fewest interruptions."""


def counted(stage: Stage, scene: Scene) -> Counted:
    """Go through all runs of a scene."""
    number, wrong, blocked, by = 0, 0, 0, Tally[str]()
    shortest: Run | None = None
    for run in stage.runs(scene):
        number += 1
        blocked += run.blocked
        wrong += bool(run.wrong)
        by.update(list(run.wrong))
        if run.wrong and (shortest is None or _length(run) < _length(shortest)):
            shortest = run
    return Counted(scene, number, wrong, by, blocked, shortest)


def row(found: Counted) -> str:
    """Return a row of the table."""
    scene = found.scene
    bound = scene.switches_max
    which = "all" if bound is None else f"at most {bound} interruption{'' if bound == 1 else 's'}"
    apart = "one process" if scene.apart == "threads" else "each a process"
    apart += ", its queue in steps too" if scene.outer else ""
    figures = (found.runs, found.wrong, found.by[TWICE], found.by[TORN], found.blocked)
    words = (f"`{scene.mode}`", str(scene.orders), apart, "one may" if scene.deaths_max else "no", which)
    return f"| {' | '.join((*words, *(f'{figure:,}' for figure in figures)))} |"


HEAD = "| mode | orders | apart | dies | interleavings | runs | wrong | a ticket twice | half a file read | blocked |"
HEAD += "\n| --- | --: | --- | --- | --- | --: | --: | --: | --: | --: |"


def story(run: Run) -> str:
    """Return a run in one sentence."""
    parts: list[tuple[str, list[str]]] = []
    for name, what in run.play.events:
        if not parts or parts[-1][0] != name:
            parts.append((name, []))
        parts[-1][1].append(what)
    told = "; ".join(f"{name} {_listed(whats)}" for name, whats in parts)
    return f"{told}: {', '.join(run.wrong.values()) or 'nothing is wrong'}."


def page(stage: Stage) -> str:
    """Return the table, and the shortest wrong run of each mode that has one."""
    found = [counted(stage, scene) for scene in SCENES]
    rows = "\n".join([HEAD, *map(row, found)])
    shortest: dict[str, Counted] = {}
    for each in found:
        if each.shortest:
            shortest.setdefault(each.scene.mode, each)
    stories = [
        f"- `{mode}`, number {each.shortest.number}: {story(each.shortest)}"
        for mode, each in shortest.items()
        if each.shortest
    ]
    return f"{rows}\n\nThe shortest wrong run of each mode that has one:\n\n" + "\n".join(stories)


def _length(run: Run) -> tuple[int, int]:
    return run.play.switches, len(run.play.events)


def _listed(whats: list[str]) -> str:
    *before, last = whats
    return f"{', '.join(before)} and {last}" if before else last


@click.command
@click.argument("mode", type=click.Choice(list(BUILDS)), required=False)
@click.option("--replay", metavar="NUMBER", type=int, help="tell this run, step by step")
@click.option("--orders", type=click.IntRange(1, 3), default=2, show_default=True)
@click.option("--apart", type=click.Choice(["processes", "threads"]), default="processes", show_default=True)
@click.option("--deaths", type=click.IntRange(0, 2), default=0, show_default=True, help="how many may die")
@click.option("--interruptions", type=int, help="at most so many  [default: any number]")
@click.option("--write", is_flag=True, help="put the table into docs/reliability.md")
def main(mode: str | None, replay: int | None, write: bool, **flags: Any) -> None:  # noqa: FBT001, ANN401  # as click has it
    """Count the interleavings of purchases: of all modes, or of one."""
    with (
        tempfile.TemporaryDirectory(dir=reliability.folder()) as folder,
        Stage(Path(folder)) as stage,
    ):
        if mode is None:
            made = page(stage)
            click.echo(made)
            if write:
                reliability.fill("interleavings", made)
            return
        chosen = Scene(mode, flags["orders"], flags["apart"], flags["deaths"], flags["interruptions"])
        if replay is None:
            found = counted(stage, chosen)
            click.echo(f"{HEAD}\n{row(found)}")
            if found.shortest:
                click.echo(f"\nthe shortest wrong run is number {found.shortest.number}: {story(found.shortest)}")
            return
        for run in stage.runs(chosen):
            if run.number == replay:
                click.echo("\n".join(f"{at:3} {name} {what}" for at, (name, what) in enumerate(run.play.events, 1)))
                click.echo(", ".join(run.wrong.values()) or "nothing is wrong")
                return
        raise click.ClickException(f"there are only {run.number} runs, so there is no number {replay}")


if __name__ == "__main__":
    sys.exit(main())
