"""``python -m tests.lease_program``: the service, with shorter leases and with a mode that is broken on purpose.

``lease_unfenced`` is ``lease`` without the check: no fence on its lines, and a store that writes what it is given. With
both, the file ``inside`` beside the tickets names the last process that has read and not decided yet.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from service import __main__ as program
from service import catalogue, trace
from service.modes import lease
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile
from service.trace import Noting, NotingFenced

if TYPE_CHECKING:
    from service.commands import Command
    from service.rules import Page

LEASE_S = 0.5


class Telling(JsonFile):
    """A store that tells who has read."""

    def read(self, command: Command) -> Page:
        page = super().read(command)
        (self.directory / "inside").write_text(str(os.getpid()))
        return page


class Fenced(Telling, FencedJsonFile):
    """The right store."""


class Unfenced(Telling):
    """A store that knows no fences."""

    def fence(self, _event: str) -> int:
        """Return a number that says nothing."""
        return 0

    def write(self, page: Page, _fence: int = 0) -> None:
        super().write(page)


class NotingTelling(Telling, NotingFenced):
    """The right store, when it is noted who is let in."""


class NotingUnfenced(Unfenced, Noting):
    """The wrong one."""


class LeaseUnfenced(lease.Lease):
    """The planted fault: a paused holder goes on as if nothing had happened."""

    name = "lease_unfenced"


if __name__ == "__main__":
    lease.LEASE_S = LEASE_S
    catalogue.MODES[LeaseUnfenced.name] = LeaseUnfenced
    catalogue.STORES |= {lease.Lease.name: Fenced, LeaseUnfenced.name: Unfenced}
    trace.NOTING |= {Fenced: NotingTelling, Unfenced: NotingUnfenced}
    program.main()
