"""``python -m loadtest``: compare modes, or judge again what a run left."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest import compare, plan, report
from loadtest.verdict import worst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.compare import Judged
    from loadtest.plan import Plan

DEFAULT_MODES = "naive,no_lock,thread_lock,process_lock,file_lock"
EXIT_UNKNOWN = 2


@click.group()
def main() -> None:
    """Find out whether a lock is right, and what it costs.

    Exit code 0: every mode as claimed. 1: one broke its word. 2: one could not be told.
    """


@main.command("compare")
@click.option("--modes", default=DEFAULT_MODES, show_default=True, help="which modes, with commas between")
@click.option("--shape", type=click.Choice(list(plan.SHAPES)), default="blog", show_default=True, help="the scene")
@click.option("--workers", type=click.IntRange(1, 64), default=4, show_default=True, help="the service's processes")
@click.option("--threads", type=click.IntRange(1, 256), default=16, show_default=True, help="threads in each of them")
@click.option("--processes", type=click.IntRange(1, 64), default=4, show_default=True, help="client processes")
@click.option("--clients", type=click.IntRange(1, 1000), help="how many buy at once  [default: the shape's]")
@click.option("--tickets", type=click.IntRange(1), help="how many there are to sell  [default: the shape's]")
@click.option("--think-s", type=click.FloatRange(0, 60), help="pause between read and write  [default: the shape's]")
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, help="for flash-sale")
@click.option("--seed", type=int, default=1, show_default=True, help="the same seed makes the same plan")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"), show_default=True)
def compare_modes(  # noqa: PLR0913, PLR0917  # one parameter an option
    modes: str, shape: str, workers: int, threads: int, processes: int, runs: Path, seconds: float, seed: int,
    clients: int | None, tickets: int | None, think_s: float | None,
) -> None:  # fmt: skip
    """Start the service fresh in each mode, sell, and hold each mode to its claim."""
    scene = plan.make(shape, seed, seconds, clients=clients, tickets=tickets, think_s=think_s)
    size = {"workers": workers, "threads": threads, "processes": min(processes, scene.clients)}
    names = list(dict.fromkeys(name.strip() for name in modes.split(",") if name.strip()))
    console = Console()
    try:
        folder = compare.new_folder(runs, shape)
        with _progress(console, scene) as follow:
            for name in names:
                compare.run(name, folder / name, scene, size, follow(name))
    except KeyboardInterrupt:
        console.print(f"interrupted: the service was stopped; what was recorded is in {runs / 'latest'}")
        sys.exit(EXIT_UNKNOWN)
    except OSError as error:
        console.print(f"the run could not be recorded ({error.strerror}: {error.filename}); nothing is left running")
        sys.exit(EXIT_UNKNOWN)
    _finish(compare.judged_run(folder), folder, console)


@main.command("check")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("runs/latest"))
@click.option("--markdown", is_flag=True, help="print the table as Markdown and nothing else")
def check_again(run: Path, *, markdown: bool) -> None:
    """Judge again what RUN left (default: the latest)."""
    results = compare.judged_run(run)
    if markdown:
        click.echo(report.markdown(results), nl=False)
        sys.exit(worst([result.verdict.word for result in results]))
    _finish(results, run, Console())


def _finish(results: list[Judged], folder: Path, console: Console) -> None:
    if not results:
        console.print(f"{folder} has no run to judge")
        sys.exit(EXIT_UNKNOWN)
    report.save(results, folder)
    console.print(report.table(results, folder.resolve().name))
    for line in report.sentences(results):
        console.print(line, highlight=False)
    console.print(f"all figures: {folder / 'verdict.json'}", highlight=False)
    sys.exit(worst([result.verdict.word for result in results]))


@contextmanager
def _progress(console: Console, scene: Plan) -> Iterator[Callable[[str], Callable[[int], None]]]:
    """Show a bar for each mode; yield what starts one and returns what moves it on."""
    total = scene.clients * (scene.orders + scene.look_first) if scene.orders else None
    columns = (TextColumn("{task.description:<14}"), BarColumn(), TextColumn("{task.completed} replies"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:

        def follow(name: str) -> Callable[[int], None]:
            task = bars.add_task(name, total=total)
            return lambda done: bars.update(task, completed=done)

        yield follow


if __name__ == "__main__":
    main()
