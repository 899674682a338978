"""The modes by name, and how to build each with its store. The only file that knows them all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from service import commands, engines, rules, values
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
from service.settings import wrong
from service.stores import recovery
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile
from service.stores.seeds import seeds
from service.trace import NOTING, Notes, Traced

if TYPE_CHECKING:
    from service.mode import Claim, Decide, Mode
    from service.settings import Settings

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

MODES: dict[str, Build] = {
    **{kind.name: kind for kinds in KINDS.values() for kind in kinds},
    Naive.name: lambda store, decide, _: Naive(store, decide),
    NoLock.name: lambda store, decide, _: NoLock(store, decide),
    RedisScript.name: lambda store, decide, _: RedisScript(store, clock_of(decide)),
    RedisGroup.name: lambda store, decide, wait_s: RedisGroup(store, clock_of(decide), wait_s),
}

STORES: dict[str, type[JsonFile]] = {Lease.name: FencedJsonFile}
"""The stores of the modes that need one of their own."""


def listed() -> list[str]:
    """Return a JSON line for each mode: its name, the engine that it needs (none for files), and its reach."""
    return [
        json.dumps({"mode": name, "engine": SCHEMES.get(name, engines.FILES), "reach": claim.reach})
        for name, claim in CLAIMS.items()
    ]


def chosen(settings: Settings) -> Settings:
    """Return the settings with a mode, and one for the engine that they name. Raises ``WrongSetting``."""
    engines.check(settings)
    if settings.url and settings.verify:
        raise wrong("verify", "true", "false with an address: an engine looks after its own files")
    scheme = engines.scheme_of(settings.url)
    known = [name for name in MODES if SCHEMES.get(name, engines.FILES) == scheme]
    mode = settings.mode or (engines.ENGINES[scheme].best if scheme else GroupCommit.name)
    if mode in known:
        return settings.model_copy(update={"mode": mode})
    other = SCHEMES.get(mode, engines.FILES) if mode in MODES else scheme
    if other == scheme:
        raise wrong("mode", mode, f"one of {', '.join(known)}")
    where = f"an address that begins with {other}://" if other else "no address: it is for files"
    raise wrong("url", engines.shown(settings.url), f"{where} for the mode {mode}")


def build(settings: Settings) -> tuple[Mode, list[str]]:
    """Return the mode that ``settings`` name, on a store that is ours and whole, and what had to be mended there.

    Call it before the fork, for settings that were ``chosen``. Raises ``Refused``.
    """
    return _on_engine(settings) if settings.url else _on_files(settings)


def _on_files(settings: Settings) -> tuple[Mode, list[str]]:
    owner = f"a service in mode {settings.mode} (process {os.getpid()})"
    claimed = recovery.prepare(settings.data, owner, verify=settings.verify)
    make, decide = MODES[settings.mode], deciding(settings.think_s)
    if make is SingleWriter:
        make = partial(SingleWriter, pause_s=settings.think_s)
    kind = STORES.get(settings.mode, JsonFile)
    if settings.trace is None:
        store = kind(settings.data)
        store.believed = claimed.believed
        return make(store, decide, settings.wait_s), claimed.mended
    store = NOTING[kind](settings.data)
    store.believed = claimed.believed
    return Traced(make(store, store.deciding(decide), settings.wait_s), store, settings.trace), claimed.mended


def _on_engine(settings: Settings) -> tuple[Mode, list[str]]:
    store = engines.made(settings)
    store.prepare(seeds(settings.data))
    make, decide = MODES[settings.mode], deciding(settings.think_s)
    if settings.trace is None:
        return make(store, decide, settings.wait_s), []
    notes = Notes()
    return Traced(make(store, notes.deciding(decide), settings.wait_s), notes, settings.trace), []


def deciding(think_s: float) -> Decide:
    """Return ``rules.decide`` with the clock bound to it, after a pause of ``think_s`` seconds.

    The pause is the article's ``time.sleep(0.2)`` between reading and writing. It stands here so that every mode can be
    shown at that speed.
    """

    def decide(page: rules.Page, command: commands.Command) -> rules.Decision:
        if think_s:
            time.sleep(think_s)
        return rules.decide(page, command, time.time())

    return decide


def clock_of(decide: Decide) -> Callable[[], float]:
    """Return the clock that is bound to ``decide``, with its pause, for modes in which an engine decides."""
    nothing, one_ticket = rules.Page(values.Event("", 0, 0)), commands.Resize("", 1)

    def now() -> float:
        return decide(nothing, one_ticket).page.changes[0].at

    return now
