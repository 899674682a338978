"""The service with one more mode, of which every outcome comes later: no order is done by the thread that asks.

``python -m tests.later_program --mode later``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from service import __main__ as program
from service import catalogue
from service.later import too_late
from service.modes.group_commit import GroupCommit

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Answer, Leave


class Later(GroupCommit):
    """Group commit, begun in a thread of its own."""

    name = "later"

    def open(self) -> None:
        super().open()
        self._beginning = ThreadPoolExecutor(1)

    def begin(self, command: Command, answer: Answer) -> Leave:
        self._beginning.submit(super().begin, command, answer)
        return too_late


if __name__ == "__main__":
    catalogue.MODES[Later.name] = Later
    program.main()
