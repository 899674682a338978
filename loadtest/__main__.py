"""``python -m loadtest``: compare modes, drive a running service, judge again what a run left, compare two runs."""

from __future__ import annotations

import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if not all(map(find_spec, ("click", "jinja2", "requests", "rich"))):
    how = "make setup, then .venv/bin/python -m loadtest; or pip install '.[loadtest]' where its source is"
    sys.stderr.write(f"its packages are not here: {how}\n")
    sys.exit(2)

import click

from loadtest import compare, difference, engines, faults, judge, plan, refusals, rounds, schedule, session
from loadtest.export import FIGURES
from loadtest.provenance import asked
from loadtest.require import WrongRequirement, parse
from loadtest.shapes import SHAPES

if TYPE_CHECKING:
    from loadtest.progress import Follow
    from loadtest.require import Requirement


class Required(click.ParamType):  # type: ignore[type-arg]  # generic for the type checker only
    """A requirement, checked before anything runs."""

    name = "FIGURE<BOUND"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Requirement:  # noqa: ANN401  # as click has it
        try:
            return parse(str(value), FIGURES)
        except WrongRequirement as error:
            self.fail(str(error), param, ctx)


TTLS_MIN = 2
"""So many times as long as a hold lasts a scene in which holds end by themselves, or too few of them do."""
HOSTS_MAX = 16
SHAPE, SHAPE_OF_FAULTS, SHAPE_OF_SOAK, SECONDS, SOAK_S = "blog", "flash-sale", "mixed", 5.0, 600.0
"""What is run where nobody asks for anything else."""
SERVICE = "service"
"""What stands in place of a mode's name where nobody knows it beforehand."""

RUNS = click.option(
    "--runs", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"), show_default=True,
    help="where runs are kept",
)  # fmt: skip
REQUIRE = click.option(
    "--require", "requirements", multiple=True, type=Required(), help="such as 'p99_ms<50' or 'file_lock:ratio>0.2'"
)
REPEAT = click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="rounds")
QUIET = click.option("--quiet", is_flag=True, help="no progress")
RUN = click.Path(exists=True, file_okay=False, path_type=Path)


def scene_options(command: Any) -> Any:  # noqa: ANN401  # as click's decorators
    """Add the options that make a plan."""
    for option in reversed(
        [
            click.option("--shape", type=click.Choice(list(SHAPES)),
                         help=f"the scene  [default: {SHAPE}; with faults {SHAPE_OF_FAULTS}]"),
            click.option("--seconds", type=click.FloatRange(0.5, 3600),
                         help=f"how long shapes last that go by time  [default: {SECONDS:g}; with faults: enough]"),
            click.option("--clients", type=click.IntRange(1, 1000), help="how many buy at once"),
            click.option("--rate", type=click.FloatRange(0.1, 100_000),
                         help="purchases a second that are planned whatever the replies (open loop)"),
            click.option("--arrivals", type=click.Choice(["constant", "poisson"]), default="constant",
                         show_default=True, help="how they are spaced"),
            click.option("--processes", type=click.IntRange(1, 64), default=4, show_default=True,
                         help="client processes"),
            click.option("--seed", type=int, default=1, show_default=True, help="the same seed makes the same plan"),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Find out whether a lock is right, and what it costs.

    Exit code 0: every mode as claimed. 1: one broke its word. 2: one could not tell. 3: a requirement was missed.
    """


@main.command("compare", short_help="Start the service fresh in each mode, and judge each.")
@click.option("--modes", default=refusals.DEFAULT_MODES, show_default=True, help="which modes, with commas between")
@scene_options
@click.option("--workers", type=click.IntRange(1, 64), default=4, show_default=True, help="the service's processes")
@click.option("--threads", type=click.IntRange(1, 256), default=16, show_default=True, help="threads in each of them")
@click.option(
    "--hosts",
    type=click.IntRange(1, HOSTS_MAX),
    default=1,
    show_default=True,
    help="services that sell the same tickets, each on its own port with its own workers",
)
@click.option(
    "--faults",
    default="",
    help=f"what is done on purpose meanwhile, with commas between: {', '.join(schedule.KINDS)}; see docs/faults.md",
)
@click.option("--soak", is_flag=True, help="go on with the faults until the end; nothing that is used may keep growing")
@click.option("--url", default="", help="use the engine that runs at this address, not a private one")
@click.option("--tickets", type=click.IntRange(1), help="how many there are to sell  [default: the shape's]")
@click.option("--think-s", type=click.FloatRange(0, 60), help="pause between read and write  [default: the shape's]")
@REPEAT
@click.option("--trace/--no-trace", default=True, show_default=True, help="let the service write what witnesses need")
@RUNS
@REQUIRE
@QUIET  # fmt: skip
def compare_modes(**options: Any) -> None:  # noqa: ANN401  # click gives them by name
    """Start the service fresh in each mode, sell, and hold each mode to its claim."""
    kinds = refusals.faults_of(options["faults"])
    _with_faults(options, kinds)
    # With faults each purchase has a connection of its own, so that not all wait for the one that is out.
    apart = {"orders_per_connection": 1} if kinds else {}
    scene = _scene(options, tickets=options["tickets"], think_s=options["think_s"], **apart)
    if kinds:
        refusals.check_faults(kinds, scene, options["hosts"], soak=options["soak"])
    processes = min(options["processes"], scene.clients)
    setup = compare.Setup(
        options["workers"], options["threads"], processes, options["trace"], options["hosts"], kinds, options["soak"]
    )
    names = refusals.modes_of(options["modes"])
    refusals.check_required(options["requirements"], names)
    needed = refusals.engines_of(names, options["hosts"], options["url"])
    refusals.check_disks(kinds, needed, options["url"])
    # Beside a pause that is made on purpose, at a rate that is planned, or where replies are lost and buyers come back
    # for what they hold, a ratio to the ceiling says nothing.
    ceiling = not (scene.think_s or scene.rate or scene.hold_share or kinds)

    def run(place: Path, follow: Follow) -> None:
        with engines.running(needed, options["url"]) as databases:

            def once(number: int, name: str, title: str) -> None:
                home = place / f"round-{number}" / name
                compare.serve_and_run(name, home, scene, setup, follow(title), databases.fresh(name, home))

            rounds.carry_out(once, place, names, options["repeat"], ceiling=ceiling)

    session.record(run, scene, asked(options), options)


@main.command("run", short_help="Drive and judge a service that is running at URL.")
@click.argument("url")
@scene_options
@click.option("--event", default="default", show_default=True, help="which event to buy from")
@click.option("--token", envvar="TURNSTILE_ADMIN_TOKEN", default="", help="the admin token, to see the journal")
@REPEAT
@RUNS
@REQUIRE
@QUIET
def run_against(url: str, **options: Any) -> None:  # noqa: ANN401  # click gives them by name
    """Drive and judge a service that is running at URL, through HTTP alone. It buys real tickets there."""
    scene = _scene(options, event=options["event"], think_s=0.0)
    refusals.check_required(options["requirements"], [SERVICE])
    if scene.holds_end and not options["token"]:
        sentence = "only the journal says which holds have ended: this shape needs TURNSTILE_ADMIN_TOKEN"
        raise click.BadParameter(sentence, param_hint="'--token'")
    url = url.rstrip("/")
    word, why = compare.refusal(url, options["event"], options["token"])
    if why:
        raise click.BadParameter(why, param_hint=word)

    def run(place: Path, follow: Follow) -> None:
        processes, rounds = min(options["processes"], scene.clients), options["repeat"]
        for number in range(1, rounds + 1):
            told = follow(f"{url} ({number}/{rounds})" if rounds > 1 else url)
            compare.run_against(url, place / f"round-{number}" / SERVICE, scene, processes, options["token"], told)

    session.record(run, scene, asked(options | {"url": url}), options)


@main.command("check")
@click.argument("run", type=click.Path(path_type=Path), default=Path("runs/latest"))
@click.option("--markdown", is_flag=True, help="print the table as Markdown and nothing else")
@REQUIRE
def check_again(run: Path, requirements: tuple[Requirement, ...], *, markdown: bool) -> NoReturn:
    """Judge again what RUN left (default: the latest)."""
    sys.exit(session.finish(run, requirements, session.Speaker(), markdown=markdown))


@main.command("diff", short_help="Say how SECOND differs from FIRST.")
@click.argument("first", type=RUN)
@click.argument("second", type=RUN)
def differ(first: Path, second: Path) -> None:
    """Say how SECOND differs from FIRST, and whether that is larger than the noise."""
    for place in (first, second):
        if not (place / "run.json").exists():
            raise click.ClickException(f"{place} is no run: make one with python -m loadtest compare")
    found = difference.differences(judge.judge(first)[0], judge.judge(second)[0])
    if not found:
        raise click.ClickException("the two runs have no mode in common that was measured in both")
    for each in found:
        interval = f" (95 %: {each.ratio.low:.2f} to {each.ratio.high:.2f})" if each.ratio.low is not None else ""
        click.echo(f"{each.mode:<16} {each.figure:<16} {each.ratio.median:.2f} times{interval}: {each.meaning}")


def _with_faults(options: dict[str, Any], kinds: tuple[schedule.Kind, ...]) -> None:
    """Put in what faults, or a soak, need, where nobody asks for anything else."""
    wanted: dict[str, object] = {"shape": SHAPE_OF_SOAK, "seconds": SOAK_S} if options["soak"] else {}
    if kinds and not wanted:
        wanted = {"shape": SHAPE_OF_FAULTS, "seconds": schedule.seconds_max(kinds, options["hosts"])}
        wanted |= {"think_s": faults.THINK_S, "tickets": faults.TICKETS}
    for name, value in wanted.items():
        if options[name] is None and (name != "tickets" or options["shape"] == SHAPE_OF_FAULTS):
            options[name] = value


def _scene(options: dict[str, Any], **changes: object) -> plan.Plan:
    options |= {"shape": options["shape"] or SHAPE, "seconds": options["seconds"] or SECONDS}
    wanted = {name: options[name] for name in ("clients", "rate", "arrivals")} | changes
    refusals.check_timed(options["shape"])
    if options["arrivals"] == "poisson" and not options["rate"]:
        raise click.BadParameter("only a rate has arrivals: give --rate too", param_hint="'--arrivals'")
    scene = plan.make(options["shape"], options["seed"], options["seconds"], **wanted)
    if scene.holds_end and scene.seconds < TTLS_MIN * scene.ttl_s:
        sentence = f"a hold ends after {scene.ttl_s:g} s: expected {TTLS_MIN * scene.ttl_s:g} or more"
        raise click.BadParameter(sentence, param_hint="'--seconds'")
    return scene


def run() -> NoReturn:
    """Run the command line. Exit code 1 is a verdict, so no mistake, interruption or crash of ours may end with it."""
    try:
        sys.exit(main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
    except click.Abort:
        sys.stderr.write("interrupted\n")
    except Exception:  # noqa: BLE001  # as said above
        traceback.print_exc()
    sys.exit(session.EXIT_UNKNOWN)


if __name__ == "__main__":
    run()
