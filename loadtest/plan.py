"""The plan: what each client will ask for and when, as a pure function of a shape and a seed.

Which order a client will be given is not known beforehand. So what is to become of an order is planned together with
it, and the client follows it up when it has the order's identifier.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Literal, get_args

from loadtest.shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.history import Kind

Arrivals = Literal["constant", "poisson"]
Loss = Literal["at once", "unread", "in the middle"]
"""When a client closes its connection instead of reading the reply: when it has sent its request, which the service
may not have read yet; when the reply has come; when it has read some bytes of it."""
LOSSES: tuple[Loss, ...] = get_args(Loss)
LOSSES_MAX = 2
"""So many replies to one wish are lost on purpose at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A scene: how many tickets, who wants them, and when.

    ``orders`` is how many purchases each client makes; 0 means to go on for ``seconds``. ``rate`` is how many purchases
    all clients together plan in a second (an open loop: they are planned whether or not the last one was answered); 0
    means that each client plans a purchase for when the one before was answered (a closed loop). ``quantity_max`` is
    the most that a client asks for at once, at random from 1. ``look_first`` asks for the count before the first
    purchase, as the article's buyers do. ``think_s`` is the pause that the service makes between reading and writing. A
    client opens a new connection after ``orders_per_connection`` purchases: a kept connection stays with one worker,
    and a race between workers would never be seen. What was planned in the first ``warmup_s`` is checked, but not
    measured.

    ``hold_share`` is the part of the orders that begin as a hold, of ``ttl_s``; ``holds_end`` lets some of them end by
    themselves. Where there are holds, every order is given back in the end, so that the scene goes on however long it
    lasts. ``loss_share`` is the part of the replies
    that clients lose on purpose. Where there are ``keys``, each call has an idempotency key, and is made again until it
    is answered. ``partial_share`` is the part of the orders that take what is left, ``read_share`` that of the wishes
    that are only a look. In every other stretch of ``tide_s`` buyers keep what they bought longer by ``TIDE`` times, so
    that tickets run out and come back.
    """

    shape: str
    tickets: int
    clients: int
    orders: int
    quantity_max: int
    partial: bool
    look_first: bool
    think_s: float
    seconds: float
    seed: int
    rate: float = 0.0
    arrivals: Arrivals = "constant"
    warmup_s: float = 0.0
    orders_per_connection: int = 10
    event: str = "default"
    hold_share: float = 0.0
    ttl_s: float = 0.0
    holds_end: bool = False
    loss_share: float = 0.0
    keys: bool = False
    partial_share: float = 0.0
    read_share: float = 0.0
    tide_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing to ask for. ``name`` is unique in the run; the service records it as the buyer.

    ``planned`` is when, in nanoseconds from the start; ``None``: when the one before was answered. ``then`` is what to
    do with the order that comes of it, each ``after_s`` behind the reply; its ``order`` is filled in by then.
    ``losses`` is how the first replies are lost. One that ``lingers`` is put off while the tide is high.
    """

    kind: Kind
    name: str
    quantity: int = 0
    partial: bool = False
    planned: int | None = None
    ttl_s: float = 0.0
    then: tuple[Wish, ...] = ()
    after_s: float = 0.0
    order: str = ""
    keyed: bool = False
    losses: tuple[Loss, ...] = ()
    lingers: bool = False


FATES = {"confirmed": 3, "given up": 2, "forgotten": 2, "too late": 1, "just in time": 2}
"""What becomes of holds, and how often. Where none is to end by itself, only the first two."""
SOON_S, LATER_S = 0.3, 1.0
"""A buyer makes up his mind within the first, and comes back, to cancel, within the second."""
RACE_S = 0.02
"""Who confirms or cancels just in time does it so near to the end of the hold, before or after it."""
TOO_LATE_S = 0.1
"""Who is too late is so by this at least, for the check leaves two clocks some room."""
AGAIN_SHARE = 0.15
"""The part of confirmations and cancellations that are asked for a second time."""
TIDE = 5
"""So many times as long is kept, at high tide, what was bought."""

WARMUP_SHARE, WARMUP_S_MAX = 0.1, 1.0


def make(shape: str, seed: int, seconds: float, **changes: object) -> Plan:
    """Return the plan for ``shape``, with those of ``changes`` that are not ``None`` in place of the shape's own."""
    values = SHAPES[shape] | {name: value for name, value in changes.items() if value is not None}
    timed = not values["orders"]
    warmup_s = min(WARMUP_SHARE * seconds, WARMUP_S_MAX) if timed else 0.0
    return Plan(shape=shape, seed=seed, seconds=seconds, warmup_s=warmup_s, **values)


def wishes(plan: Plan, client: int) -> Iterator[Wish]:
    """Yield the orders that ``client`` wants, one by one; in a closed loop that goes by time, without end."""
    chance = random.Random(f"{plan.seed}/{client}")  # noqa: S311  # repeatable, not secret
    moments = _moments(plan, client) if plan.rate else None
    for number in range(plan.orders) if plan.orders else count():
        planned = next(moments, None) if moments else None
        if moments and planned is None:
            return
        if plan.read_share and chance.random() < plan.read_share:
            yield Wish("look", f"client {client} look {number}", planned=planned)
            continue
        quantity = chance.randint(1, plan.quantity_max)
        partial = plan.partial or (plan.partial_share > 0 and chance.random() < plan.partial_share)
        wish = Wish("buy", f"client {client} order {number}", quantity, partial, planned)
        yield _mixed(plan, wish, chance) if plan.hold_share else wish


def _mixed(plan: Plan, wish: Wish, chance: random.Random) -> Wish:
    """Return ``wish`` as a purchase or a hold, with all that is to become of it."""
    held = chance.random() < plan.hold_share
    steps = _fate(plan, chance) if held else [_later("cancel", 0.0, chance)]
    then: list[Wish] = []
    if plan.read_share and chance.random() < plan.read_share:
        then.append(Wish("find", f"{wish.name} find", after_s=chance.uniform(0, LATER_S)))
    for number, (kind, after_s) in enumerate(steps):
        bought = kind == "cancel" and (not held or (number > 0 and steps[0][0] == "confirm"))
        name = f"{wish.name} {kind}{' at last' * (kind in [earlier for earlier, _ in steps[:number]])}"
        follow = Wish(kind, name, after_s=after_s, lingers=bought)
        then.append(_keyed(plan, follow, chance))
        if chance.random() < AGAIN_SHARE:
            then.append(_keyed(plan, replace(follow, name=f"{follow.name} again"), chance))
    wish = replace(wish, kind="hold", ttl_s=plan.ttl_s) if held else wish
    return _keyed(plan, replace(wish, then=tuple(then)), chance)


def _fate(plan: Plan, chance: random.Random) -> list[tuple[Kind, float]]:
    """Return what becomes of a hold: what is asked, and how long after the hold was answered."""
    fates = list(FATES)[: None if plan.holds_end else 2]
    match chance.choices(fates, [FATES[name] for name in fates])[0]:
        case "confirmed":
            return [("confirm", chance.uniform(0, SOON_S)), _later("cancel", SOON_S, chance)]
        case "given up":
            moment = chance.uniform(0, SOON_S)
            # Some think better of it when it is too late.
            regret: list[tuple[Kind, float]] = [("confirm", moment)] if chance.random() < AGAIN_SHARE else []
            return [("cancel", moment), *regret]
        case "too late":
            return [("confirm", plan.ttl_s + chance.uniform(TOO_LATE_S, SOON_S))]
        case "just in time":
            kind: Kind = "cancel" if chance.random() < AGAIN_SHARE else "confirm"
            moment = plan.ttl_s + chance.uniform(-RACE_S, RACE_S)
            return [(kind, moment), _later("cancel", moment, chance)]
    return []


def _later(kind: Kind, since_s: float, chance: random.Random) -> tuple[Kind, float]:
    return kind, since_s + chance.uniform(0, LATER_S)


def _keyed(plan: Plan, wish: Wish, chance: random.Random) -> Wish:
    """Return ``wish`` with a key, and with the replies that are lost, where that is the plan."""
    if not plan.keys:
        return wish
    losses: list[Loss] = []
    while len(losses) < LOSSES_MAX and chance.random() < plan.loss_share:
        losses.append(chance.choice(LOSSES))
    return replace(wish, keyed=True, losses=tuple(losses))


def _moments(plan: Plan, client: int) -> Iterator[int]:
    """Yield when ``client`` is to buy: every so-manieth of the arrivals of all clients, up to the end.

    Constant arrivals are evenly spaced; Poisson arrivals have exponential gaps, as independent people make them.
    """
    chance = random.Random(f"{plan.seed}/arrivals")  # noqa: S311  # repeatable, not secret; the same for all clients
    moment = 0.0
    for number in count():
        if moment >= plan.seconds:
            return
        if number % plan.clients == client:
            yield int(moment * 1e9)
        poisson = plan.arrivals == "poisson"
        moment = moment + chance.expovariate(plan.rate) if poisson else (number + 1) / plan.rate
