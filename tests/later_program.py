"""The service with one more mode, of which every outcome comes later: no order is done by the thread that asks.

``python -m tests.later_program --mode later``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from service import __main__ as program
from service import catalogue
from service.later import too_late
from service.modes.group_commit import GroupCommit

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Answer, Leave


UNSAYABLE = "nobody can say what became of this order"
"""A buyer whose order has an outcome that no reply can be made of."""


class Later(GroupCommit):
    """Group commit, begun in a thread of its own."""

    name = "later"

    def open(self) -> None:
        super().open()
        self._beginning = ThreadPoolExecutor(1)

    def begin(self, command: Command, answer: Answer) -> Leave:
        unsayable: Any = object()
        if getattr(command, "buyer", None) == UNSAYABLE:
            self._beginning.submit(answer, unsayable)
        else:
            self._beginning.submit(super().begin, command, answer)
        return too_late


if __name__ == "__main__":
    catalogue.MODES[Later.name] = Later
    program.main()
