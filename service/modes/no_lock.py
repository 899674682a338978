"""Whole files, but nobody kept out.

How it keeps others out: not at all. The document is written over at one stroke, so a reader always finds a whole one.
How far that reaches: nowhere. Two buyers who read the same version both write the next one: one update is lost, and
their tickets have two owners. Atomic writes are no exclusion.
What it leaves undone: the lock around read, decide and write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.mode import Claim, Decide

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile


class NoLock:
    name = "no_lock"
    claim = Claim(
        reach="nowhere",
        survives=(),
        waits="does not wait",
        fair=False,
        price="loses updates: two buyers get the same tickets",
    )

    def __init__(self, store: JsonFile, decide: Decide) -> None:
        self.store = store
        self._decide = decide

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        page = self.store.read(command)
        decision = self._decide(page, command)
        if decision.page != page:
            self.store.write(decision.page)
        return decision.reply
