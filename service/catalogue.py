"""The modes by name, and how to build each with its store. The only file that knows them all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from service import commands, rules
from service.modes.file_lock import FileLock
from service.modes.group_commit import GroupCommit
from service.modes.lease import Lease
from service.modes.naive import Naive
from service.modes.no_lock import NoLock
from service.modes.process_lock import ProcessLock
from service.modes.single_writer import SingleWriter
from service.modes.thread_lock import ThreadLock
from service.modes.ticket_lock import TicketLock
from service.settings import wrong
from service.stores import recovery
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile
from service.trace import NOTING, Traced

if TYPE_CHECKING:
    from service.mode import Claim, Decide, Mode
    from service.settings import Settings

Build = Callable[[Any, "Decide", float], "Mode"]  # of the store that the mode needs, the decision, and ``wait_s``

MODES: dict[str, Build] = {
    Naive.name: lambda store, decide, _: Naive(store, decide),
    NoLock.name: lambda store, decide, _: NoLock(store, decide),
    ThreadLock.name: ThreadLock,
    ProcessLock.name: ProcessLock,
    FileLock.name: FileLock,
    TicketLock.name: TicketLock,
    Lease.name: Lease,
    GroupCommit.name: GroupCommit,
    SingleWriter.name: SingleWriter,
}

STORES: dict[str, type[JsonFile]] = {Lease.name: FencedJsonFile}
"""The stores of the modes that need one of their own."""

CLAIMS: dict[str, Claim] = {
    mode.name: mode.claim
    for mode in (Naive, NoLock, ThreadLock, ProcessLock, FileLock, TicketLock, Lease, GroupCommit, SingleWriter)
}


def check(settings: Settings) -> None:
    """Raise ``WrongSetting`` if there is no such mode."""
    if settings.mode not in MODES:
        raise wrong("mode", settings.mode, f"one of {', '.join(MODES)}")


def build(settings: Settings) -> tuple[Mode, list[str]]:
    """Return the mode that ``settings`` name, on a store that is ours and whole, and what had to be mended there.

    Call it before the fork, for settings that were checked. Raises ``recovery.Refused``.
    """
    owner = f"a service in mode {settings.mode} (process {os.getpid()})"
    claimed = recovery.prepare(settings.data, owner, verify=settings.verify)
    make, decide = MODES[settings.mode], deciding(settings.think_s)
    if make is SingleWriter:
        make = partial(SingleWriter, pause_s=settings.think_s)
    kind = STORES.get(settings.mode, JsonFile)
    if settings.trace is None:
        return make(kind(settings.data), decide, settings.wait_s), claimed.mended
    store = NOTING[kind](settings.data)
    return Traced(make(store, store.deciding(decide), settings.wait_s), store, settings.trace), claimed.mended


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
