"""Refusals: what is asked on the command line and could tell nothing is refused at once, in one sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from loadtest import engines, plan, schedule, serve, slowness, volume
from loadtest.folder import CEILING
from loadtest.serve import NotServed
from loadtest.servers.process import Missing
from loadtest.shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.require import Requirement
    from loadtest.schedule import Kind

DEFAULT_MODES = "naive,no_lock,thread_lock,process_lock,file_lock,ticket_lock,lease,group_commit,single_writer"
MODE_NAME = re.compile(r"[a-z0-9_]+")


def modes_of(listed: str) -> list[str]:
    """Return the modes that are named in a list, each once."""
    names = list(dict.fromkeys(name.strip() for name in listed.split(",")))
    if not all(MODE_NAME.fullmatch(name) and name != CEILING for name in names):
        raise click.BadParameter("expected the names of modes with commas between", param_hint="'--modes'")
    return names


def faults_of(listed: str) -> tuple[Kind, ...]:
    """Return the faults that are named in a list."""
    names = [name.strip() for name in listed.split(",")] if listed else []
    known = [kind for name in names for kind in schedule.KINDS if kind == name]
    if len(known) < len(names):
        sentence = f"{listed!r}: expected some of {', '.join(schedule.KINDS)}, with commas between"
        raise click.BadParameter(sentence, param_hint="'--faults'")
    return tuple(known)


def check_timed(shape: str) -> None:
    """Refuse what was said of time, for a shape that ends when all have bought."""
    context = click.get_current_context()
    for name, what in (("rate", "an open loop needs"), ("seconds", "so many seconds are for")):
        if SHAPES[shape]["orders"] and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            timed = ", ".join(each for each, values in SHAPES.items() if not values["orders"])
            raise click.BadParameter(f"{what} a shape that goes by time: {timed}", param_hint=f"'--{name}'")


def check_faults(kinds: Sequence[Kind], scene: plan.Plan, hosts: int, *, soak: bool) -> None:
    """Refuse faults that nobody could make here, or judge."""
    if scene.orders:
        timed = ", ".join(name for name, shape in SHAPES.items() if not shape["orders"])
        raise click.BadParameter(f"faults need a shape that goes by time: {timed}", param_hint="'--shape'")
    needed_s = schedule.seconds_max(kinds, hosts)
    if scene.seconds < needed_s:
        sentence = (
            f"these faults and what follows them may take {needed_s:g} s: expected so many or more; "
            "the scene ends as soon as they are over"
        )
        raise click.BadParameter(sentence, param_hint="'--seconds'")
    if "full-disk" in kinds and soak:
        sentence = "orders alone would fill the small file system of full-disk in a soak: leave out one of them"
        raise click.BadParameter(sentence, param_hint="'--faults'")
    if "full-disk" in kinds and hosts > 1:
        sentence = "full-disk fills the file system of one host: leave out --hosts, or full-disk"
        raise click.BadParameter(sentence, param_hint="'--faults'")
    try:
        if "full-disk" in kinds:
            volume.check()
        if "slow-disk" in kinds:
            slowness.check()
    except Missing as error:
        raise click.BadParameter(str(error), param_hint="'--faults'") from error


def check_disks(kinds: Sequence[Kind], needed: Mapping[str, str], url: str) -> None:
    """Refuse to fill, or to slow, a disk that is not ours."""
    elsewhere = [name for name, engine in needed.items() if engine in engines.RUNNING]
    if "full-disk" in kinds and elsewhere:
        sentence = (
            f"{elsewhere[0]} keeps its tickets with a server, whose disk is not filled: leave out full-disk, or name "
            "modes on files or sqlite"
        )
        raise click.BadParameter(sentence, param_hint="'--faults'")
    if "slow-disk" in kinds and elsewhere and url:
        sentence = "the server at --url is not ours to be made slow: leave out slow-disk, or --url"
        raise click.BadParameter(sentence, param_hint="'--faults'")


def engines_of(names: Sequence[str], hosts: int, url: str) -> dict[str, str]:
    """Return the engine that each mode needs. Refuse what cannot be run so, before anything runs."""
    if hosts == 1 and not url and set(names) <= set(DEFAULT_MODES.split(",")):
        return {}
    try:
        listed = engines.listed()
        for name in names:
            if name not in listed:
                raise click.BadParameter(serve.refusal(name), param_hint="'--modes'")
        needed = {name: listed[name] for name in names}
        engines.check(set(needed.values()) if not url else ())
    except (NotServed, Missing) as error:
        raise click.ClickException(str(error)) from error
    scheme = url.partition("://")[0]
    known = [name for name, engine in listed.items() if engine and engine == scheme]
    if url and not set(names) <= set(known):
        sentence = f"these modes do not run there: expected {' or '.join(known) or 'the address of an engine'}"
        raise click.BadParameter(sentence, param_hint="'--url'" if not known else "'--modes'")
    if hosts > 1 and "" in needed.values():
        on_engines = ", ".join(name for name, engine in listed.items() if engine)
        sentence = f"modes on files run on one host: leave out --hosts, or name modes on an engine: {on_engines}"
        raise click.BadParameter(sentence, param_hint="'--modes'")
    return needed


def check_required(requirements: Sequence[Requirement], names: Sequence[str]) -> None:
    """Refuse what asks of a mode that will not run: it would be missed after all the rest was waited for."""
    for each in requirements:
        if each.mode not in {None, *names}:
            sentence = f"{each.text!r} asks for a mode that will not run: expected {' or '.join(names)}"
            raise click.BadParameter(sentence, param_hint="'--require'")
