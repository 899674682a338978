"""The article's code without its lock.

How it keeps others out: not at all. Everyone reads the document, decides, then truncates the document and fills it.
How far that reaches: nowhere. Two buyers who read the same count sell the same tickets, and whoever reads between
another's truncation and its writing finds half a file.
What it leaves undone: everything; it is here to be caught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.mode import Claim, Decide

if TYPE_CHECKING:
    from service.commands import Command
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile


class Naive:
    name = "naive"
    claim = Claim(
        reach="nowhere",
        survives=(),
        waits="does not wait",
        fair=False,
        price="loses updates, and readers find half-written files",
    )

    def __init__(self, store: JsonFile, decide: Decide) -> None:
        self.store = store
        self._decide = decide

    def open(self) -> None:
        self.store.open()

    def execute(self, command: Command) -> Reply:
        self.store.look(command.event)  # the article's ``json.load``: at the wrong moment, half a file
        page = self.store.read(command)
        decision = self._decide(page, command)
        if decision.page != page:
            self.store.write_in_place(decision.page)
        return decision.reply
