"""etcd as what is copied, and as the copy.

No lock keeps out all who sell there: what they did meanwhile shows in the digest at the end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.commands import Buy, Cancel, Resize, Sweep
from service.mode import Conflict
from service.stores.etcd_cluster import PAGE_KEYS, EtcdCluster
from service.stores.etcd_gateway import delete, fetch, put
from service.stores.etcd_keys import FORMAT, INCOMPLETE
from service.stores.fencing import NOTED
from service.stores.lines import used_of
from service.stores.replay import Refused
from service.stores.rows import places
from service.stores.sealed import unseal
from service.values import Order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.commands import Command
    from service.rules import Page, Used


class Cluster(EtcdCluster):
    """All keys under one prefix."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.store = self

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            if self._format() != FORMAT:
                raise Refused("the prefix holds no whole store of this service's format")
            yield
        finally:
            self.close()

    def notes(self, name: str) -> Iterator[tuple[int, Used]]:
        start, end = self.keys.all_used()
        while True:
            (found,) = self.gateway.look(fetch(start, end, limit=PAGE_KEYS)).found
            for line in (unseal(kept.value) for kept in found):
                if line["event"] == name and line["status"] == NOTED:
                    yield line["version"], used_of(line)
            if len(found) < PAGE_KEYS:
                return
            start = found[-1].key + b"\0"

    @contextmanager
    def filling(self) -> Iterator[None]:
        try:
            found = self.names("", 1)
            if found and self._format() != INCOMPLETE:
                raise Refused(f"there are events under this prefix already ({found[0]}): choose another prefix")
            # In one transaction, so that there is always the mark where there is something.
            self.gateway.change([], [put(self.keys.format(), INCOMPLETE)])
            for keys in self.keys.everything():
                self.gateway.change([], [delete(*keys)])
            yield
        finally:
            self.close()

    def append(self, name: str, pages: list[Page]) -> None:
        for page in pages:
            seen = self.read(_command(name, page))
            if self.exchange(seen, page) is not seen:
                raise Conflict

    def finish(self) -> None:
        self.gateway.change([], [put(self.keys.format(), FORMAT)])

    def _format(self) -> bytes:
        (kept,) = self.gateway.look(fetch(self.keys.format())).found
        return kept[0].value if kept else b""


def _command(name: str, page: Page) -> Command:
    """Return a command whose page has what this one's change needs to be known: the hold that it ends."""
    match page.changes:
        case (Order() as order,) if places(order):
            return Buy(order.id, name, order.quantity)
        case (Order() as order,):
            return Cancel(order.id, name)
        case ():
            return Sweep(name)
    return Resize(name, page.event.capacity if page.event else 0)
