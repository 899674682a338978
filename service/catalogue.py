"""The modes by name, and how to build each with its store. The only file that knows them all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from service import commands, engines, plugins, rules, values, words
from service.decisions import Decisions
from service.mode import begin_of
from service.modes.etcd_lock import EtcdLock
from service.modes.etcd_txn import EtcdTxn
from service.modes.file_lock import FileLock
from service.modes.group_commit import GroupCommit
from service.modes.lease import Lease
from service.modes.naive import Naive
from service.modes.no_lock import NoLock
from service.modes.postgres_advisory import PostgresAdvisory
from service.modes.postgres_conditional import PostgresConditional
from service.modes.postgres_group import PostgresGroup
from service.modes.postgres_optimistic import PostgresOptimistic
from service.modes.postgres_row_lock import PostgresRowLock
from service.modes.postgres_serializable import PostgresSerializable
from service.modes.process_lock import ProcessLock
from service.modes.redis_group import RedisGroup
from service.modes.redis_lock import RedisLock
from service.modes.redis_script import RedisScript
from service.modes.single_writer import SingleWriter
from service.modes.sqlite import SqliteTransaction
from service.modes.thread_lock import ThreadLock
from service.modes.ticket_lock import TicketLock
from service.readiness import is_probe
from service.settings import WrongSetting, wrong
from service.stores import recovery
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile
from service.stores.seeds import seeds
from service.trace import NOTING, Lines, Notes, Traced, Turns

if TYPE_CHECKING:
    from service.mode import Claim, Decide, Mode
    from service.settings import Settings
    from service.trace import Teller

Build = Callable[[Any, "Decide", float], "Mode"]  # of the store that the mode needs, the decision, and ``wait_s``

KINDS: dict[str, tuple[Any, ...]] = {
    engines.FILES: (Naive, NoLock, ThreadLock, ProcessLock, FileLock, TicketLock, Lease, GroupCommit, SingleWriter),
    "sqlite": (SqliteTransaction,),
    "postgresql": (
        *(PostgresRowLock, PostgresAdvisory, PostgresOptimistic, PostgresSerializable),
        *(PostgresConditional, PostgresGroup),
    ),
    "redis": (RedisLock, RedisScript, RedisGroup),
    "etcd": (EtcdLock, EtcdTxn),
}
"""All modes, by how the address begins of the engine that they need."""

SCHEMES: dict[str, str] = {kind.name: scheme for scheme, kinds in KINDS.items() if scheme for kind in kinds}
"""The same for each mode that needs an engine. All others are for files."""

CLAIMS: dict[str, Claim] = {kind.name: kind.claim for kinds in KINDS.values() for kind in kinds}

QUEUED: set[str] = {kind.name for kinds in KINDS.values() for kind in kinds if begin_of(kind)}
"""Modes with a queue of orders of their own."""

MODES: dict[str, Build] = {
    **{kind.name: kind for kinds in KINDS.values() for kind in kinds},
    Naive.name: lambda store, decide, _: Naive(store, decide),
    NoLock.name: lambda store, decide, _: NoLock(store, decide),
    RedisScript.name: lambda store, decide, _: RedisScript(store, clock_of(decide)),
    RedisGroup.name: lambda store, decide, wait_s: RedisGroup(store, clock_of(decide), wait_s),
}

STORES: dict[str, type[JsonFile]] = {Lease.name: FencedJsonFile}
"""The stores of the modes that need one of their own."""

SHARED = (FileLock.name, TicketLock.name, Lease.name, GroupCommit.name)
"""The modes whose lock is a file beside the tickets: it keeps out whoever opens it, of another service too."""


OURS = "turnstile"


def listed() -> tuple[list[str], list[str]]:
    """Return a JSON line for each mode: its name, the engine that it needs (none: files), its reach, and its package.

    With them, a sentence for each mode of another package that cannot be used.
    """
    lines = [_line(name, SCHEMES.get(name, engines.FILES), claim, OURS) for name, claim in CLAIMS.items()]
    wrong: list[str] = []
    for name in plugins.names():
        try:
            if plugin := plugins.found(name, MODES):
                lines.append(_line(name, engines.FILES, plugin.claim, plugin.package))
        except WrongSetting as error:
            wrong.append(str(error))
    return lines, wrong


def _line(name: str, engine: str, claim: Claim, package: str) -> str:
    return json.dumps({"mode": name, "engine": engine, "reach": claim.reach, "package": package})


def chosen(settings: Settings) -> Settings:
    """Return the settings with a mode, and one for the engine that they name. Raises ``WrongSetting``."""
    engines.check(settings)
    if settings.url and settings.verify:
        raise wrong("verify", "true", "false with an address: an engine looks after its own files")
    scheme = engines.scheme_of(settings.url)
    known = [name for name in MODES if SCHEMES.get(name, engines.FILES) == scheme]
    mode = settings.mode or (engines.ENGINES[scheme].best if scheme else GroupCommit.name)
    others = mode not in MODES and plugins.found(mode, MODES)
    if mode in known or (others and not scheme):
        made = settings.model_copy(update={"mode": mode})
        _check_shared(made)
        return made
    other = SCHEMES.get(mode, engines.FILES) if mode in MODES or others else scheme
    if other == scheme:
        raise wrong(
            "mode", mode, f"one of {', '.join(known)}, or one that another package brings{_meant(mode, scheme)}"
        )
    where = _address(other) if other else "no address: it is for files"
    raise wrong("url", engines.shown(settings.url), f"{where} for the mode {mode}")


def _meant(mode: str, scheme: str) -> str:
    """Return a question for somebody who misspelt the name of a mode, and who may also have left out its address."""
    near = words.nearest(mode, [*MODES, *plugins.names()])
    other = SCHEMES.get(near, engines.FILES)
    needs = f", which needs {_address(other) if other else 'no address'}" if other != scheme else ""
    return f"; did you mean {near}{needs}?" if near else ""


def _address(scheme: str) -> str:
    return f"an address that begins with {scheme}://"


def _check_shared(settings: Settings) -> None:
    if not settings.shared:
        return
    if settings.url or settings.mode not in SHARED:
        where = "with an address, for engines are shared anyway" if settings.url else f"in the mode {settings.mode}"
        raise wrong("shared", "true", f"false {where}; on files, one of {', '.join(SHARED)} can share them")
    if settings.verify:  # who joins could only read what others are writing
        raise wrong("verify", "true", "false with --shared true: python -m service verify reads while others sell")


def build(settings: Settings) -> tuple[Mode, list[str]]:
    """Return the mode that ``settings`` name, on a store that is ours and whole, and what had to be mended there.

    Call it before the fork, for settings that were ``chosen``. Raises ``Refused``, or ``WrongSetting`` for what another
    package brings.
    """
    return _on_engine(settings) if settings.url else _on_files(settings)


def _on_files(settings: Settings) -> tuple[Mode, list[str]]:
    one = f"a service in mode {settings.mode} (process {os.getpid()})"
    owner = f"services in mode {settings.mode} that share it" if settings.shared else one
    directory = settings.data.resolve()  # once: it may be reached through a link, which could lead elsewhere later
    claimed = recovery.prepare(directory, owner, verify=settings.verify, shared=settings.shared)
    told = [*claimed.told, *claimed.mended]
    make, decide = builder(settings.mode), deciding(settings.think_s)
    if make is SingleWriter:
        make = partial(SingleWriter, pause_s=settings.think_s)
    kind = STORES.get(settings.mode, JsonFile)
    if _is_noted(settings):
        noting = NOTING[kind](directory)
        noting.believed = claimed.believed
        return _traced(make(noting, noting.deciding(decide), settings.wait_s), noting, settings), told
    store = kind(directory)
    store.believed = claimed.believed
    return make(store, decide, settings.wait_s), told


def builder(name: str) -> Build:
    """Return how to build a mode, ours or one that another package brings. Raises ``WrongSetting``."""
    if name in MODES:
        return MODES[name]
    plugin = plugins.found(name, MODES)
    if plugin is None:
        raise wrong("mode", name, f"one of {', '.join(MODES)}")
    return plugin.build


def _on_engine(settings: Settings) -> tuple[Mode, list[str]]:
    store = engines.made(settings)
    store.prepare(seeds(settings.data))
    make, decide = MODES[settings.mode], deciding(settings.think_s)
    if _is_noted(settings):
        notes = Notes()
        return _traced(make(store, notes.deciding(decide), settings.wait_s), notes, settings), []
    return make(store, decide, settings.wait_s), []


def _is_noted(settings: Settings) -> bool:
    """Tell whether it is to be noted of each order when it is let in. Modes with a queue tell of a batch themselves."""
    counted = settings.metrics and settings.mode not in QUEUED
    return counted or bool(settings.trace or settings.tracing) or settings.log_level == "debug"


def _traced(mode: Mode, notes: Notes, settings: Settings) -> Mode:
    tellers: list[Teller] = [] if begin_of(mode) else [Turns()]
    if settings.trace:
        tellers.append(Lines(settings.trace))
    if settings.log_level == "debug":
        tellers.append(Decisions())
    if settings.tracing:
        from service.tracing import Spans  # noqa: PLC0415  # it needs an extra, and half a second

        tellers.append(Spans())
    return Traced(mode, notes, tuple(tellers))


def deciding(think_s: float) -> Decide:
    """Return ``rules.decide`` with the clock bound to it, after a pause of ``think_s`` seconds.

    The pause is the article's ``time.sleep(0.2)`` between reading and writing. It stands here so that every mode can be
    shown at that speed.
    """

    def decide(page: rules.Page, command: commands.Command) -> rules.Decision:
        if think_s and not is_probe(command):
            time.sleep(think_s)
        return rules.decide(page, command, time.time())

    return decide


def clock_of(decide: Decide) -> Callable[[], float]:
    """Return the clock that is bound to ``decide``, with its pause, for modes in which an engine decides."""
    nothing, one_ticket = rules.Page(values.Event("", 0, 0)), commands.Resize("", 1)

    def now() -> float:
        return decide(nothing, one_ticket).page.changes[0].at

    return now
