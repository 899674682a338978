"""Many orders, one write: decide them one after another, and make all of them durable together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.commands import Command
    from service.mode import Decide
    from service.outcomes import Reply
    from service.stores.json_file import JsonFile


def commit(store: JsonFile, decide: Decide, commands: Iterable[Command]) -> list[Reply]:
    """Read once, decide ``commands`` of one event in their order, write once. Return their replies, in the same order.

    All or none is done. Call it inside: nobody else may write to the event meanwhile.
    """
    pages, replies, event = [], [], ""
    try:
        for command in commands:
            event = command.event
            page = store.read(command)
            decision = decide(page, command)
            if decision.page != page:
                store.expect(decision.page)
                pages.append(decision.page)
            replies.append(decision.reply)
        if pages:
            store.write_all(pages)
    except BaseException:
        store.forget(event)  # nothing of it was written
        raise
    return replies
