"""How long ``loadtest check`` takes for a soak of ten minutes, and how much memory: target 120 s and 1 GB.

The history is that of a right service with the shape ``mixed``: what its buyers want, at a call in a millisecond, with
replies that are lost, holds that end, and a journal. It is written as a run leaves it, and judged as a user would.
"""

from __future__ import annotations

import heapq
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

from loadtest import history, plan
from loadtest.agenda import Agenda
from loadtest.check import Start
from loadtest.history import Operation

CALLS_PER_S = 1_000
SECONDS = 600
TARGET_S, TARGET_GB = 120.0, 1.0
CLAIM = {"reach": "processes", "survives": ["killed holder", "power loss"], "waits": "queues", "fair": False}
MODE = {"mode": "group_commit", "claim": CLAIM | {"price": "none: it is made up"}, "workers": 4, "threads": 16}


@dataclass
class Event:
    """An event whose orders are all answered at once, in a journal."""

    capacity: int
    free: list[int] = field(default_factory=list)
    version: int = 0
    orders: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    ends: list[tuple[int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def change(self, order: str, status: str, tickets: tuple[int, ...], buyer: str = "") -> None:
        """Make the next version."""
        if status in {"cancelled", "expired"}:
            for ticket in tickets:
                heapq.heappush(self.free, ticket)
        self.version += 1
        self.orders[order] = status, tickets
        row = {"version": self.version, "order": order, "buyer": buyer, "tickets": tickets}
        self.lines.append(json.dumps(row | {"count": len(self.free), "status": status}))

    def sweep(self, now: int) -> None:
        """End the holds whose time is over."""
        while self.ends and self.ends[0][0] <= now:
            _, order = heapq.heappop(self.ends)
            if self.orders[order][0] == "held":
                self.change(order, "expired", self.orders[order][1])

    def ask(self, wish: plan.Wish, now: int) -> dict[str, object]:
        """Answer a wish, as the members of an operation."""
        self.sweep(now)
        if wish.kind in {"buy", "hold"}:
            answer = self._place(wish, now)
        elif wish.kind in {"confirm", "cancel"}:
            answer = self._follow(wish)
        else:
            answer = {"outcome": "done", "status": 200}
        return answer if wish.kind == "find" else answer | {"version": self.version, "count": len(self.free)}

    def _place(self, wish: plan.Wish, now: int) -> dict[str, object]:
        if len(self.free) < (1 if wish.partial else wish.quantity):
            return {"outcome": "refused", "status": 409, "problem": "sold-out"}
        tickets = tuple(heapq.heappop(self.free) for _ in range(min(wish.quantity, len(self.free))))
        order = f"{self.version:032x}"
        self.change(order, "held" if wish.kind == "hold" else "sold", tickets, wish.name)
        if wish.kind == "hold":
            heapq.heappush(self.ends, (now + int(wish.ttl_s * 1e9), order))
        return {"outcome": "done", "status": 201, "order": order, "tickets": tickets}

    def _follow(self, wish: plan.Wish) -> dict[str, object]:
        status, tickets = self.orders[wish.order]
        aim = "sold" if wish.kind == "confirm" else "cancelled"
        if status == "expired" or (status, aim) == ("cancelled", "sold"):
            why = "hold-expired" if status == "expired" else "order-cancelled"
            return {"outcome": "refused", "status": 409, "problem": why, "order": wish.order}
        if status == aim:  # the answer of the first time
            return {"outcome": "not done", "status": 503, "problem": "busy", "order": wish.order}
        self.change(wish.order, aim, tickets)
        return {"outcome": "done", "status": 200, "order": wish.order, "tickets": tickets}


def write(place: Path) -> int:
    """Write a run's folder, and return how many calls it has."""
    scene = plan.make("mixed", 1, float(SECONDS))
    event = Event(scene.tickets, list(range(1, scene.tickets + 1)))
    agendas = [Agenda(plan.wishes(scene, client), 0, scene.tide_s) for client in range(scene.clients)]
    chance, rows, names = random.Random(1), [], count()  # noqa: S311  # repeatable, not secret
    took = scene.clients * 10**9 // CALLS_PER_S
    turns = [(client, client) for client in range(scene.clients)]
    while turns[0][0] < SECONDS * 10**9:
        now, client = heapq.heappop(turns)
        taken = agendas[client].take(now)
        planned, wish = taken or (now, plan.Wish("look", f"nothing {next(names)}"))
        answer = event.ask(wish, now)
        key = f"0123456789abcdef-{wish.name.replace(' ', '-')}" if wish.keyed else ""
        words = {"quantity": wish.quantity, "partial": wish.partial, "key": key, "ttl_s": wish.ttl_s}
        words |= {"order": wish.order, "buyer": wish.name if wish.keyed else "", "worker": str(4711 + client % 4)}
        for attempt in range(len(wish.losses) + 1):
            lost = attempt < len(wish.losses)
            name = f"{wish.name} try {attempt + 1}" if attempt else wish.name
            said = {"outcome": "unknown", "problem": "ReplyLost"} if lost else answer
            began, now = now, now + chance.randrange(took // 2, 3 * took // 2)
            rows.append(Operation(wish.kind, name, client, began, began, now, **words | said))  # type: ignore[arg-type]  # members by name
        if answer["outcome"] == "done":
            agendas[client].follow(wish, str(answer.get("order", "")), now)
        heapq.heappush(turns, (max(now, planned), client))
    place.mkdir(parents=True)
    history.save(place / "history.jsonl", rows)
    (place / "journal.jsonl").write_text("".join(f"{line}\n" for line in event.lines))
    told = Operation("look", "the last look", -1, 0, now + 10**10, now + 10**10 + 1, "done", 200)
    event.sweep(0)
    history.save(place / "last.jsonl", [_seen(told, event)])
    files = {"plan": asdict(scene), "mode": MODE, "start": asdict(Start(scene.tickets, scene.tickets)), "served": {}}
    for name, values in files.items():
        (place / f"{name}.json").write_text(json.dumps(values))
    (place / "service.log").touch()
    return len(rows)


def _seen(row: Operation, event: Event) -> Operation:
    return Operation(**asdict(row) | {"version": event.version, "count": len(event.free)})


def main() -> int:
    """Measure once and print; exit 1 if a target is missed."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        calls = write(run / "round-1" / "group_commit")
        (run / "run.json").write_text("{}")
        began = time.perf_counter()
        command = [sys.executable, "-m", "loadtest", "check", str(run)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ours
        took = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    met = took < TARGET_S and memory < TARGET_GB and ended.returncode == 0
    sys.stdout.write(
        f"check of a soak: {calls:,} calls in {took:.1f} s (target {TARGET_S:g} s) and {memory:.2f} GB "
        f"(target {TARGET_GB:g} GB): {'met' if met else 'MISSED'}\n"
    )
    if ended.returncode:
        sys.stdout.write(ended.stdout + ended.stderr)
    return not met


if __name__ == "__main__":
    sys.exit(main())
