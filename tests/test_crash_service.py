"""The whole service, killed at random moments under load: nobody loses a sale, and nothing is sold twice."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from service.catalogue import CLAIMS
from service.stores import journal
from tests import forgetful
from tests.counter import ON_FILES
from tests.crash_round import VICTIMS, Victim, crash
from tests.crowd import Stuck
from tests.forked_service import WRITERS

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 5
KILLS: dict[Victim, int] = {"worker": 32, "group": 4, "start": 2, "master": 2}
"""A round's kills in a mode without a writer; in one with a writer, it takes half of the workers'."""
CLOSED_MIN = 2
"""A journal is closed so often in a round at least; under leases it is at a start alone."""
UNDER_WAY_MIN = 0.9
"""At the moment of so many of the kills, an order is under way."""

survivors = [
    name
    for name, claim in CLAIMS.items()
    if name in ON_FILES and claim.reach == "processes" and "killed holder" in claim.survives
]


def short_journals() -> None:
    """Let the service close its journals again and again, so that it is killed there too."""
    journal.JOURNAL_BYTES_MAX = 20_000


def victims(mode: str, chance: random.Random) -> list[Victim]:
    """Return whom a round kills, in a random order."""
    kills = dict(KILLS)
    if mode in WRITERS:
        kills["writer"] = kills["worker"] // 2
        kills["worker"] -= kills["writer"]
    shuffled = list(Counter(kills).elements())
    chance.shuffle(shuffled)
    return shuffled


def test_two_hundred_kills_of_every_kind() -> None:
    """So many are planned for each mode, and each that has a writer loses it too."""
    assert {"ticket_lock", "group_commit"} <= set(survivors)
    for mode in survivors:
        planned = Counter(victim for number in range(ROUNDS) for victim in victims(mode, random.Random(number)))
        assert planned.total() == 200
        assert set(planned) == {victim for victim in VICTIMS if victim != "writer" or mode in WRITERS}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("mode", survivors)
def test_killed_under_load(tmp_path: Path, mode: str, number: int) -> None:
    """Everybody is served before and after each kill, and replies, journal, and files agree to the last ticket."""
    chance = random.Random(f"{mode}/{number}")
    planned = victims(mode, chance)
    judged = crash(tmp_path, mode, planned, chance, short_journals)
    assert judged.wrong == []
    assert len(list(tmp_path.glob("**/default.*.jsonl"))) >= CLOSED_MIN
    assert judged.under_way >= UNDER_WAY_MIN * len(planned)


def test_an_answer_before_the_write_is_caught(tmp_path: Path) -> None:
    """The test can fail: by whoever asks for an order again, and by the check."""
    chance = random.Random(1)
    judged = crash(tmp_path, "forgetful", ["group", "worker"], chance, forgetful.plant, workers=1)
    assert "404" in judged.wrong[0]
    assert {"phantom order", "lost update", "double sale"} <= judged.anomalies


def test_a_lock_that_dies_with_its_holder_is_caught(tmp_path: Path) -> None:
    """As its claim says, process_lock does not survive a killed holder: nobody is served again."""
    with pytest.raises(Stuck, match=r"0 of 6 buyers .*'busy'"):
        crash(tmp_path, "process_lock", ["worker"] * 20, random.Random(1), patience_s=10, think_s=0.02, wait_s=0.3)
