"""Many orders, one write: decide them one after another, and make all of them durable together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from service.mode import NotWritten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from service.commands import Command
    from service.mode import Decide
    from service.outcomes import Reply
    from service.rules import Page


class Together(Protocol):
    """What is read and written together."""

    def page(self, command: Command) -> Page | Exception:
        """Return the page that the next command touches, after what is expected; or why its page alone cannot be read.

        Raises what keeps the others from being read too.
        """

    def expect(self, page: Page) -> None:
        """Let the next command find what was decided, before it is written."""

    def write_all(self, pages: Sequence[Page]) -> None:
        """Make all pages that were expected durable, or none."""

    def take_back(self, name: str) -> None:
        """Forget what was expected of an event, of which certainly nothing was written."""

    def forget(self, name: str) -> None:
        """Forget what was expected of an event, of which something may have been written."""


def commit(store: Together, decide: Decide, commands: Iterable[Command]) -> list[Reply | Exception]:
    """Read once, decide ``commands`` of one event in their order, write once. Return their replies, in the same order.

    An exception among them is of a command whose page could not be read: certainly nothing was done for that one. Of
    the others, all or none is done. Call it inside: nobody else may write to the event meanwhile.
    """
    pages: list[Page] = []
    replies: list[Reply | Exception] = []
    event = ""
    try:
        for command in commands:
            event = command.event
            page = store.page(command)
            if isinstance(page, Exception):
                replies.append(page)
                continue
            decision = decide(page, command)
            if decision.page != page:
                store.expect(decision.page)
                pages.append(decision.page)
            replies.append(decision.reply)
        if pages:
            store.write_all(pages)
    except NotWritten:  # the disk may be full for hours, and to read a whole journal for each refusal takes long
        store.take_back(event)
        raise
    except BaseException:
        store.forget(event)
        raise
    return replies
