"""The scene: where to send what a plan says, and how each wish is put as a request."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.history import Kind
    from loadtest.plan import Plan, Wish

KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Scene:
    """Where to send, and what to send there: to the service at ``url``, and to ``others`` that sell the same tickets.

    ``noop`` asks the service for an answer that neither locks nor stores. ``events`` are bought from in turn (none: the
    plan's one event). Where there are ``finds``, these orders are asked for in turn, and nothing is bought. ``run``
    begins the idempotency keys: a service remembers those of the run before, and the same seed makes the same names.
    """

    url: str
    plan: Plan
    noop: bool = False
    events: Sequence[str] = ()
    finds: Sequence[str] = ()
    others: Sequence[str] = ()
    run: str = field(default_factory=lambda: secrets.token_hex(KEY_BYTES))

    @property
    def hosts(self) -> tuple[str, ...]:
        """All services, in order."""
        return (self.url, *self.others)

    def kind(self, wish: Wish) -> Kind:
        """Return what is asked for in place of ``wish``, or with it."""
        return "noop" if self.noop else "find" if self.finds else wish.kind

    def key(self, wish: Wish) -> str:
        """Return the idempotency key of a wish: one for all its attempts, or none."""
        return f"{self.run}-{wish.name.replace(' ', '-')}" if wish.keyed else ""

    def request(self, client: int, number: int, wish: Wish, host: int = 0) -> requests.Request:
        """Return the request for the wish of this number of a client, or for what is asked in its stead."""
        url = self.hosts[host]
        turn = client + number * self.plan.clients
        if self.finds:
            return requests.Request("GET", f"{url}/orders/{self.finds[turn % len(self.finds)]}")
        if wish.kind == "find":
            return requests.Request("GET", f"{url}/orders/{wish.order}")
        if wish.kind == "look":
            return requests.Request("GET", f"{url}/events/{self.plan.event}")
        headers = {"Idempotency-Key": self.key(wish)} if wish.keyed else {}
        if wish.kind == "confirm":
            return requests.Request("POST", f"{url}/orders/{wish.order}/confirm", headers=headers)
        if wish.kind == "cancel":
            return requests.Request("DELETE", f"{url}/orders/{wish.order}", headers=headers)
        event = self.events[turn % len(self.events)] if self.events else self.plan.event
        path = "noop" if self.noop else f"events/{event}/{'holds' if wish.kind == 'hold' else 'buy'}"
        asked: dict[str, object] = {"quantity": wish.quantity, "partial": wish.partial, "buyer": wish.name}
        asked |= {"ttl_s": wish.ttl_s} if wish.kind == "hold" and not self.noop else {}
        headers["Content-Type"] = "application/json"
        return requests.Request("POST", f"{url}/{path}", data=json.dumps(asked), headers=headers)
