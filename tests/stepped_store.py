"""The stores with a stop before each step that others can notice, and a decision with one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service import rules
from service.stores.fenced import FencedJsonFile
from service.stores.json_file import JsonFile
from tests.counter import NOW
from tests.scheduler import step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from service.commands import Command
    from service.outcomes import NoSuchEvent
    from service.rules import Decision, Page
    from service.values import Event


class SteppedFile(JsonFile):
    """What most modes have."""

    _last = "writes the document"

    def look(self, name: str) -> Event | NoSuchEvent:
        step("looks at the document")
        return super().look(name)

    def page(self, command: Command) -> Page | Exception:
        step("reads")
        return super().page(command)

    def write_in_place(self, page: Page) -> None:
        self._last = "empties the document"
        super().write_in_place(page)

    def _appended(self, pages: Sequence[Page]) -> tuple[Path, bytes]:
        step("writes the line")
        document = super()._appended(pages)
        step(self._last)
        return document


class SteppedFencedFile(FencedJsonFile):
    """The store of ``lease`` with these stops. Its look at the journal and its write have stops of their own."""

    def fence(self, event: str) -> int:
        step("takes a fence")
        return super().fence(event)

    def read(self, command: Command) -> Page:
        step("reads")
        return super().read(command)

    def _appended(self, pages: Sequence[Page], fence: int = 0) -> tuple[Path, bytes]:
        document = super()._appended(pages, fence)
        step("writes the document")
        return document


def decide(page: Page, command: Command) -> Decision:
    """Decide at a fixed moment."""
    step("decides")
    return rules.decide(page, command, NOW)
