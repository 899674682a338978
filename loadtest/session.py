"""A session at the terminal: record a run with progress, survive an interruption, judge, report, and exit."""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.markup import escape

from loadtest import export, folder, judge, page, report
from loadtest.interrupt import interruptible
from loadtest.measure import latencies
from loadtest.progress import progress
from loadtest.provenance import provenance
from loadtest.require import evaluate
from loadtest.servers.process import Missing, NotStarted
from loadtest.verdict import worst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from loadtest.judge import Result
    from loadtest.plan import Plan
    from loadtest.progress import Follow
    from loadtest.require import Requirement

EXIT_UNKNOWN = 2
EXIT_MISSED = 3


class Speaker(Console):
    """A console that does not end the program by itself, with a code of its own, when nobody listens any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def record(
    run: Callable[[Path, Follow], None], scene: Plan, asked: dict[str, Any], options: dict[str, Any]
) -> NoReturn:
    """Record what ``run`` does in a new folder, judge it, and exit with the code that says how it went."""
    console = Speaker()
    place = options["runs"]
    try:
        with interruptible():
            place = folder.new(options["runs"], scene.shape)
            (place / "run.json").write_text(json.dumps(asked | provenance()))
            with progress(console, scene, quiet=options["quiet"]) as follow:
                run(place, follow)
        code = finish(place, options["requirements"], console)
    except KeyboardInterrupt:
        _say(console, f"interrupted: the service was stopped; what was recorded is in {place}")
        code = EXIT_UNKNOWN
    except BrokenPipeError:
        code = _unheard()
    except (Missing, NotStarted) as error:
        _say(console, f"an engine could not be had ({error}); what was recorded is in {place}")
        code = EXIT_UNKNOWN
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _say(console, f"the run could not be recorded ({error.strerror}{where}); nothing is left running")
        code = EXIT_UNKNOWN
    sys.exit(code)


def finish(place: Path, requirements: Sequence[Requirement], console: Console, *, markdown: bool = False) -> int:
    """Judge the run in ``place``, write its files, print the report, and return the exit code."""
    # A link such as runs/latest leads elsewhere after the next run.
    place = place.parent / place.readlink() if place.is_symlink() else place
    gc.disable()  # what is read has no cycles, and to look for them again and again takes much of the time
    try:
        return _finished(place, requirements, console, markdown=markdown)
    finally:
        gc.enable()


def _finished(place: Path, requirements: Sequence[Requirement], console: Console, *, markdown: bool) -> int:
    try:
        run = folder.load_run(place)
    except OSError:
        _say(console, f"{place} is no run: make one with python -m loadtest compare")
        return EXIT_UNKNOWN
    try:
        results, ceiling = judge.judge(place)
        stories = judge.stories(place, results)
    except (OSError, ValueError, KeyError, TypeError) as error:
        unlike = f"a file in it is not what this load test writes ({error!r})"
        unread = f"{error.filename} cannot be read ({error.strerror})" if isinstance(error, OSError) else ""
        _say(console, f"{place} cannot be judged: {unread or unlike}")
        return EXIT_UNKNOWN
    if not results:
        _say(console, f"{place} has nothing to judge: no mode came to its end, so name another run")
        return EXIT_UNKNOWN
    outcomes = evaluate(requirements, {result.mode: export.figures(result) for result in results})
    code = worst([result.verdict.word for result in results])
    if code == 0 and not all(outcome.met for outcome in outcomes):
        code = EXIT_MISSED
    try:
        export.write(place, export.as_json(run, results, ceiling, outcomes, stories, code), results)
        for path in place.glob("round-*/*/plan.json"):
            recorded = folder.load_slice(path.parent)
            (path.parent / "latency.hgrm").write_text(export.hgrm(latencies([recorded.slice])))
        drawn = _drawn(place, page.render(place, run, results, ceiling, outcomes, stories))
    except OSError as error:
        _say(console, f"the figures of {place} could not be written ({error.strerror})")
        return EXIT_UNKNOWN
    except Exception as error:  # noqa: BLE001  # a picture that cannot be drawn takes no verdict away
        drawn = f"the report could not be drawn: {error!r}"
    if markdown:
        click.echo(report.markdown(results), nl=False)
        return code
    lines = (
        *report.sentences(results, stories),
        *report.ratios(results, ceiling),
        *report.usage(results),
        *(f"warning: {escape(each)}" for each in (*report.warnings(results, ceiling), *judge.failures(place))),
        *report.requirements(outcomes),
        f"all figures: {place / 'verdict.json'}",
        drawn,
    )
    _tell(console, place, results, lines)
    return code


def _drawn(place: Path, html: str) -> str:
    (place / "report.html").write_text(html, "utf-8")
    return f"report: {place / 'report.html'}"


def _tell(console: Console, place: Path, results: Sequence[Result], lines: Iterable[str]) -> None:
    """Print the tables and the lines below them, to whoever still listens."""
    try:
        for table in report.tables(results, place.resolve().name, console):
            console.print(table)
        if any(result.mishaps for result in results):
            console.print(report.faults(results))
        for line in lines:
            _say(console, line)
    except BrokenPipeError:
        _unheard()


def _say(console: Console, line: str) -> None:
    """Print a line; in a pipe it is one line, however long."""
    console.print(line, highlight=False, soft_wrap=not console.is_terminal)


def _unheard() -> int:
    """Whoever read the output has gone (``| head``): say nothing more, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_UNKNOWN
