"""A run in plain words: what was done, what was promised, and how it went. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.fates import listed, seen_of
from loadtest.findings import ANOMALIES
from loadtest.verdict import PROMISES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.judge import Result
    from loadtest.plan import Plan


def headline(results: Sequence[Result]) -> str:
    """Return the outcome as a title."""
    return f"{_outcome(results)}{_with(results)}"


def _outcome(results: Sequence[Result]) -> str:
    words = [result.verdict.word for result in results]
    broke = [result.mode for result in results if result.verdict.word == "broke its word"]
    unsure = [result.mode for result in results if result.verdict.word == "could not tell"]
    if not words:
        return "Nothing was run"
    if broke:
        return f"{listed(broke)} broke {'its' if len(broke) == 1 else 'their'} word"
    if unsure:
        return f"The run could not tell about {listed(unsure)}"
    if len(words) == 1:
        return f"{results[0].mode} did what it claims"
    return f"All {number(len(words))} modes did what they claim"


def _with(results: Sequence[Result]) -> str:
    """Return what was done on purpose, as the end of a title."""
    names = dict.fromkeys(each.name for result in results for each in result.mishaps)
    return f", with {listed([f'a {name}' for name in names])}" if names else ""


def meanwhile(results: Sequence[Result]) -> list[str]:
    """Return a sentence on what was done on purpose while buyers came, if anything was."""
    names = dict.fromkeys(f"a {each.name}" for result in results for each in result.mishaps)
    if not names:
        return []
    what = listed(list(names))
    return [f"Meanwhile, on purpose, there was {what}; after each it was seen whether somebody was served again."]


def scene(  # what a sentence is made of
    plan: Plan, tickets: int, workers: int | None, modes: int, rounds: int, hosts: int = 1
) -> str:
    """Return what was done: who wanted what, of which service, on how many hosts, how often."""
    amount = f"1 to {plan.quantity_max} tickets" if plan.quantity_max > 1 else "1 ticket"
    processes = "" if workers is None else f" of {workers} worker process{'es' * (workers != 1)}"
    if hosts > 1:
        processes = f" on {number(hosts)} hosts{processes}{' each' * bool(processes)}"
    stock = f"a service{processes} that had {tickets:,} ticket{'s' * (tickets != 1)}"
    if plan.rate:
        words = (
            f"{plan.rate:g} times a second for {plan.seconds:g} s, whatever the replies, one of {plan.clients:,} buyers"
        )
        words += f" asked {stock} for {amount}."
    elif plan.orders:
        often = "" if plan.orders == 1 else f", {plan.orders} times one after the other"
        words = f"{plan.clients:,} buyers came at one moment to {stock}. Each asked for {amount}{often}."
    else:
        words = (
            f"{plan.clients:,} buyers came to {stock}. Each asked for {amount}, and again as soon as it was answered,"
        )
        words += f" for {plan.seconds:g} s."
    words += _after(plan)
    if plan.think_s:
        words += f" Between reading and writing, the service paused for {plan.think_s:g} s on purpose, so that orders"
        words += " that are not kept apart collide."
    times = f" in {rounds} rounds" if rounds > 1 else ""
    if modes > 1:
        return f"{words} It was run in {number(modes)} modes, one after the other{times}, each time with a fresh store."
    return f"{words} It was run{times}{', each' * (rounds > 1)} with a fresh store."


def _after(plan: Plan) -> str:
    """Return what buyers did with their orders, and what befell their replies."""
    words = ""
    if plan.hold_share:
        fate = "confirmed, cancelled or let end" if plan.holds_end else "confirmed or cancelled"
        words = (
            f" About {plan.hold_share:.0%} of the orders began as a hold of {plan.ttl_s:g} s, which its buyer {fate};"
        )
        words += " what was bought was given back later."
    if plan.loss_share:
        words += (
            f" About {plan.loss_share:.0%} of the replies were lost on purpose, and their buyers asked again with the"
        )
        words += " same idempotency key until they were answered."
    return words


def outcome(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each group of modes that promise the same and fared alike."""
    groups: dict[tuple[str, str, bool], list[Result]] = {}
    for result in results:
        caught = bool(result.checked and result.checked.findings)
        groups.setdefault((result.claim.get("reach", ""), result.verdict.word, caught), []).append(result)
    return [_fared(group, reach, word, caught=caught) for (reach, word, caught), group in groups.items()]


def _fared(group: Sequence[Result], reach: str, word: str, *, caught: bool) -> str:
    names = listed([result.mode for result in group])
    several = len(group) > 1
    if word == "could not tell":
        return f"About {names} nothing can be said: {'; '.join(result.verdict.why for result in group)}."
    promised = PROMISES.get(reach, "to keep buyers apart")
    claim = f"{names} {'promise' if several else 'promises'} {promised}"
    if reach == "threads" and caught and word == "as claimed":
        claim += ", which is too little for several processes"
    if caught and word == "as claimed":
        return f"{claim}, and {'were' if several else 'was'} caught: {listed(_anomalies(group))}."
    seen = list(dict.fromkeys(said for result in group for each in result.mishaps if (said := seen_of(each))))
    if caught or (word == "broke its word" and seen):
        return f"{claim}, and broke that promise: {listed([*_anomalies(group), *seen])}."
    if word == "as claimed":
        decided = sum(result.measured.decided for result in group if result.measured)
        but = f"; but {listed(seen)}, as {'they say' if several else 'it says'}" if seen else ""
        return f"{claim}, and kept that: nothing was wrong with {decided:,} requests{but}."
    return f"{claim}, should have been caught, and {'were' if several else 'was'} not."


def _anomalies(group: Sequence[Result]) -> list[str]:
    found = {finding.anomaly for result in group if result.checked for finding in result.checked.findings}
    return [name for name in ANOMALIES if name in found]


def number(amount: int) -> str:
    """Return a small number as a word."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return words[amount] if amount < len(words) else f"{amount:,}"
