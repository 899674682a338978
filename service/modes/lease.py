"""``filelock.SoftFileLease``, with a fence that the store checks.

How it keeps others out: a file names the holder, a thread of whom touches it. Who sees it untouched for LEASE_S, or its
holder dead, takes it over; nothing tells the old holder, but the store refuses what comes too late (``fenced.py``).
How far that reaches: all processes and threads of this directory, paused ones too. What it leaves undone: a queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import filelock

from service.each import Each
from service.leases import held
from service.mode import Claim, Decide
from service.outcomes import NoSuchEvent

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.fenced import FencedJsonFile

POLL_S = 0.005
LEASE_S = 2.0


class Lease:
    name = "lease"
    claim = Claim(
        reach="processes",
        survives=("killed holder", "paused holder", "power loss"),
        waits="polls",
        fair=False,
        price=f"makes a file and a thread for each order; a paused holder holds up the others for {LEASE_S:g} s",
    )

    def __init__(self, store: FencedJsonFile, decide: Decide, wait_s: float) -> None:
        self.store = store
        self._decide = decide
        self._wait_s = wait_s

    def open(self) -> None:
        self.store.open()
        self._leases = Each(self._lease)

    def execute(self, command: Command) -> Reply:
        if not self.store.has(command.event):
            return NoSuchEvent(command.event)
        with held(self._leases[command.event], self._wait_s, LEASE_S):
            fence = self.store.fence(command.event)
            page = self.store.read(command)
            decision = self._decide(page, command)
            if decision.page != page:
                self.store.write(decision.page, fence)
        return decision.reply

    def _lease(self, event: str) -> filelock.SoftFileLease:
        path = self.store.directory / f"{event}.lease"
        return filelock.SoftFileLease(path, lease_duration=LEASE_S, mode=0o600, poll_interval=POLL_S)
