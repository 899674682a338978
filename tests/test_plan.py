"""The plan of the scenes in which buyers hold, confirm, cancel and ask again; and the agenda of one client."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from loadtest import plan
from loadtest.agenda import Agenda
from loadtest.plan import Wish

MANY = 2_000


def wished(shape: str, seed: int = 1, client: int = 0, count: int = MANY) -> list[Wish]:
    return list(islice(plan.wishes(plan.make(shape, seed, 5.0), client), count))


@pytest.mark.parametrize("shape", ["holds", "retries", "mixed"])
def test_a_mixed_plan_is_a_function_of_shape_and_seed(shape: str) -> None:
    """All that is to become of an order too."""
    assert wished(shape) == wished(shape)
    assert wished(shape) != wished(shape, seed=2)
    assert wished(shape) != wished(shape, client=1)


@pytest.mark.parametrize("shape", ["holds", "retries", "mixed"])
def test_the_names_of_a_plan_are_unique(shape: str) -> None:
    """By its name a call is known."""
    names = [each.name for wish in wished(shape) for each in (wish, *wish.then)]
    assert len(names) == len(set(names))


def test_holds_are_confirmed_cancelled_and_let_end_in_time_and_too_late() -> None:
    """Everything that can happen to a hold happens, before its end, after it, and as near to it as can be."""
    ttl_s = plan.make("holds", 1, 5.0).ttl_s
    seen: Counter[str] = Counter()
    for wish in wished("holds"):
        seen[wish.kind] += 1
        if wish.kind == "hold":
            assert wish.ttl_s == ttl_s
            seen["forgotten"] += not wish.then
        for each in wish.then:
            near = abs(each.after_s - ttl_s) <= plan.RACE_S
            seen[f"{each.kind} {'near' if near else 'early' if each.after_s < ttl_s else 'late'}"] += 1
            seen["again"] += each.name.endswith("again")
        assert (wish.keyed, wish.losses) == (False, ())
    assert set(seen) == {
        "buy", "hold", "forgotten", "again", "confirm early", "confirm near", "confirm late", "cancel early",
        "cancel near", "cancel late",
    }  # fmt: skip
    assert min(seen.values()) >= MANY / 200
    assert 0.65 < seen["hold"] / MANY < 0.75


def test_replies_to_everything_are_lost_in_every_way() -> None:
    """Each call has a key, about three in ten lose their first reply, and none loses more than two; no hold ends."""
    lost: Counter[tuple[str, str]] = Counter()
    calls = [each for wish in wished("retries") for each in (wish, *wish.then)]
    for each in calls:
        assert each.keyed
        assert len(each.losses) <= plan.LOSSES_MAX
        lost.update((each.kind, loss) for loss in each.losses)
    assert lost.keys() == {(kind, loss) for kind in ("buy", "hold", "confirm", "cancel") for loss in plan.LOSSES}
    assert 0.25 < sum(bool(each.losses) for each in calls) / len(calls) < 0.35
    assert all(wish.then for wish in wished("retries"))


def test_a_mixed_scene_has_all_there_is_and_never_ends_in_nothing_but_sold_out() -> None:
    """Whatever changes an event has a key, orders take all or what is left, and what is bought is given back."""
    every = wished("mixed")
    calls = [each for wish in every for each in (wish, *wish.then)]
    assert {each.kind for each in calls} == {"buy", "hold", "confirm", "cancel", "look", "find"}
    assert all(each.keyed == (each.kind not in {"look", "find"}) for each in calls)
    assert {(each.kind, each.partial) for each in every if each.quantity} == {
        ("buy", True), ("buy", False), ("hold", True), ("hold", False),
    }  # fmt: skip
    assert {each.quantity for each in every} == {0, 1, 2, 3, 4}
    bought = [wish for wish in every if wish.kind == "buy" or any(each.kind == "confirm" for each in wish.then[:2])]
    given_back = [wish for wish in bought if any(each.kind == "cancel" and each.lingers for each in wish.then)]
    assert all(wish in given_back for wish in bought if wish.kind == "buy")
    assert all(each.kind == "cancel" for each in calls if each.lingers)


def test_at_high_tide_what_was_bought_is_kept_longer() -> None:
    """Every other stretch of time, so that tickets run out, and come back."""
    wish = Wish("buy", "a", then=(Wish("cancel", "a cancel", after_s=1.0, lingers=True), Wish("find", "b", after_s=1)))
    for answered, kept in ((0, 1), (9, 1), (10, plan.TIDE), (19, plan.TIDE), (20, 1)):
        agenda = Agenda(iter(()), 0, tide_s=10.0)
        agenda.follow(wish, "o1", answered * 10**9)
        moments = {each.kind: due for due, each in (agenda.take(0), agenda.take(0)) if each}  # type: ignore[misc]  # two there are
        assert moments == {"find": (answered + 1) * 10**9, "cancel": (answered + kept) * 10**9}


def test_what_is_due_goes_before_what_is_new() -> None:
    """In a closed loop the next one is planned for when the one before was answered, whatever it is."""
    first = Wish("hold", "a", then=(Wish("cancel", "a cancel", after_s=3e-9), Wish("confirm", "a confirm")))
    agenda = Agenda(iter([first, Wish("buy", "b"), Wish("buy", "c")]), 100)
    assert agenda.take(100) == (100, first)
    agenda.follow(first, "o1", 110)
    assert agenda.take(110) == (110, replace(first.then[1], order="o1"))
    assert agenda.take(112) == (112, Wish("buy", "b"))
    assert agenda.take(120) == (120, replace(first.then[0], order="o1"))
    assert agenda.take(121) == (121, Wish("buy", "c"))
    assert agenda.take(122) is None


def test_what_is_due_is_waited_for_when_nothing_else_is_left() -> None:
    """The last order is followed up too."""
    wish = Wish("hold", "a", then=(Wish("confirm", "a confirm", after_s=50e-9),))
    agenda = Agenda(iter([wish]), 0)
    agenda.take(0)
    agenda.follow(wish, "o1", 10)
    assert agenda.take(10) == (60, replace(wish.then[0], order="o1"))
    assert agenda.take(70) is None


def test_in_an_open_loop_each_is_planned_for_its_own_moment() -> None:
    """Though it has passed: the wait is charged to the one who had to wait."""
    wishes = [
        Wish("hold", "a", planned=0, then=(Wish("confirm", "a confirm", after_s=5e-9),)),
        Wish("buy", "b", planned=20),
    ]
    agenda = Agenda(iter(wishes), 100)
    assert agenda.take(100) == (100, wishes[0])
    agenda.follow(wishes[0], "o1", 107)
    assert agenda.take(130) == (112, replace(wishes[0].then[0], order="o1"))
    assert agenda.take(131) == (120, wishes[1])
