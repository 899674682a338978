"""``python -m tests.careless_program``: the service with modes that are careless about holds and retries on purpose.

``keyless`` ignores idempotency keys. ``lenient`` confirms a hold after its time, if nobody has swept it before.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from service import __main__ as program
from service import catalogue
from service.commands import Confirm
from service.modes.file_lock import FileLock

if TYPE_CHECKING:
    from service.commands import Command
    from service.mode import Decide
    from service.outcomes import Reply
    from service.rules import Decision, Page
    from service.stores.json_file import JsonFile


class Keyless(FileLock):
    """A request that is made again is another request."""

    name = "keyless"

    def execute(self, command: Command) -> Reply:
        return super().execute(replace(command, key=None))


class Lenient(FileLock):
    """Better late than never."""

    name = "lenient"

    def __init__(self, store: JsonFile, decide: Decide, wait_s: float) -> None:
        def late(page: Page, command: Command) -> Decision:
            if isinstance(command, Confirm) and page.order and page.order.status == "held":
                page = replace(page, order=replace(page.order, expires_at=math.inf))
            return decide(page, command)

        super().__init__(store, late, wait_s)


if __name__ == "__main__":
    catalogue.MODES[Keyless.name] = Keyless
    catalogue.MODES[Lenient.name] = Lenient
    program.main()
