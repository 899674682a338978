"""Many orders, one write: decide them one after another, and make all of them durable together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.rules import Page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.mode import Decide
    from service.rules import Command, Reply
    from service.stores.json_file import JsonFile


def commit(store: JsonFile, decide: Decide, commands: Iterable[Command]) -> list[Reply]:
    """Read once, decide ``commands`` of one event in their order, write once. Return their replies, in the same order.

    All or none is done. Call it inside: nobody else may write to the event meanwhile.
    """
    page: Page | None = None
    pages, replies = [], []
    for command in commands:
        page = store.read(command) if page is None else Page(page.event)
        decision = decide(page, command)
        if decision.page != page:
            pages.append(decision.page)
        page = decision.page
        replies.append(decision.reply)
    if pages:
        store.write_all(pages)
    return replies
