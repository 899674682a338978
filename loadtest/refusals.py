"""Refusals: what is asked on the command line and could tell nothing is refused at once, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loadtest import engines, faults, plan, serve
from loadtest.serve import NotServed
from loadtest.servers.process import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.require import Requirement

DEFAULT_MODES = "naive,no_lock,thread_lock,process_lock,file_lock,ticket_lock,lease,group_commit,single_writer"


def check_fault(scene: plan.Plan, hosts: int) -> None:
    """Refuse a fault that nobody could judge."""
    if hosts == 1:
        raise click.BadParameter("with one host nobody is left to be held up: give --hosts too", param_hint="'--fault'")
    if scene.orders:
        timed = ", ".join(name for name, shape in plan.SHAPES.items() if not shape["orders"])
        raise click.BadParameter(f"a fault needs a shape that goes by time: {timed}", param_hint="'--fault'")
    if scene.seconds < faults.SECONDS_MIN:
        sentence = f"to find the holder and to see what follows takes time: expected {faults.SECONDS_MIN:g} or more"
        raise click.BadParameter(sentence, param_hint="'--seconds'")


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
