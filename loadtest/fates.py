"""What a mode's claim makes of a mishap, each by itself. Pure.

What a mode says that it survives must leave nobody stuck. What it does not say so of must be seen to do harm: the
others stand still, or are let in and sell what was sold. Nothing excuses a service that does not start again, or leaves
those without an answer who were inside, and everyone is to bear a service that is killed, and a disk that is full or
slow. What met nobody tells nothing, but where nobody holds anything that others wait for: there whoever is stopped will
do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from loadtest.mishaps import HOLDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.mishaps import Mishap, Name

Word = Literal["as claimed", "broke its word", "could not tell"]
Excuse = Literal["none", "unsure", "let in"]
EXCUSES: tuple[Excuse, ...] = get_args(Excuse)
"""From none to a good one."""

LET_IN: Name = "paused holder"
"""The only one beside whom others may be let in, for he goes on later: who is dead does not."""


def is_promised(mishap: Mishap, survives: Sequence[str]) -> bool:
    """Tell whether nobody may be stuck after it. Who is killed by chance may be the holder."""
    name = "killed holder" if mishap.name == "killed worker" else mishap.name
    return name in survives if name in HOLDERS else True


def excuse(mishap: Mishap, survives: Sequence[str], *, met: bool) -> Excuse:
    """Return what a mishap makes of something wrong that was not over before it.

    Where the others stood still, nobody was let in. ``met`` says that whoever was out was inside.
    """
    if mishap.name != LET_IN or mishap.stuck or is_promised(mishap, survives):
        return "none"
    if met:
        return "let in"
    return "none" if mishap.free else "unsure"


def fate(mishap: Mishap, survives: Sequence[str], *, proven: bool = False) -> Word:
    """Return how a mode fared. ``proven``: it was caught selling what was sold, which a pause may have led to."""
    if mishap.wrong:
        return "broke its word"
    if is_promised(mishap, survives):
        if mishap.stuck:
            return "broke its word"
        missed = mishap.name in {*HOLDERS, "full disk"} and not (mishap.met or mishap.free)
        return "could not tell" if missed else "as claimed"
    if mishap.stuck or (proven and mishap.met and mishap.name == LET_IN) or mishap.name == "killed worker":
        return "as claimed"
    return "broke its word" if mishap.met else "could not tell"


def seen_of(mishap: Mishap) -> str:
    """Return what was seen of it, if it was anything."""
    return mishap.wrong or (f"after a {mishap.name} nobody was served any more" if mishap.stuck else "")


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
