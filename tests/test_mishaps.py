"""What is made of a mishap: by itself, in the verdict, in the figures, and in the words of a witness. On values."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from loadtest import plan
from loadtest.fates import fate
from loadtest.findings import Witness
from loadtest.history import Operation, Passage
from loadtest.met import is_between, known
from loadtest.mishaps import RECOVERY_S, Mishap, Name, Stretch, befallen, excused
from loadtest.slices import cut
from loadtest.verdict import Claimed, Conditions, verdict
from loadtest.witness import tell
from tests import faults_table, reliability
from tests.test_verdict import BUSY, CAUGHT, CLEAN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.findings import Checked
    from loadtest.history import Outcome

S = 1_000_000_000
PAUSED = Stretch("host 1 paused", 10 * S, 15 * S, "paused holder", met=True)
MET, STUCK, MISSED = (
    Mishap("paused holder", met=met, stuck=stuck) for met, stuck in ((True, False), (True, True), (False, False))
)
KILLED, HUNG = Mishap("killed holder", met=True, stuck=False), Mishap("killed holder", met=True, stuck=True)
FREE = replace(MISSED, free=True)
WORKER = Mishap("killed worker", met=False, stuck=False)
FULL, SLOW = Mishap("full disk", met=True, stuck=False), Mishap("slow disk", met=True, stuck=False)
STOPPED = Mishap("killed service", met=True, stuck=False)
FENCED = ("killed holder", "paused holder")


def bought(called_s: float, returned_s: float, outcome: Outcome = "done", status: int = 0) -> Operation:
    times = (int(called_s * S), int(called_s * S), int(returned_s * S))
    return Operation("buy", f"at {called_s}", 0, *times, outcome, status)


@pytest.mark.parametrize(
    ("survives", "mishaps", "checked", "word"),
    [
        (FENCED, [MET], CLEAN, "as claimed"),
        (FENCED, [FREE], CLEAN, "as claimed"),  # nobody waits in a mode like this: there is no holder to be met
        (FENCED, [MISSED], CLEAN, "could not tell"),
        (FENCED, [replace(KILLED, met=False), MET], CLEAN, "could not tell"),
        (FENCED, [replace(KILLED, met=False, free=True), MET], CLEAN, "as claimed"),
        (FENCED, [MET], CAUGHT, "broke its word"),
        (FENCED, [STUCK], CLEAN, "broke its word"),
        (FENCED[:1], [MET], CAUGHT, "as claimed"),
        (FENCED[:1], [STUCK], CLEAN, "as claimed"),
        (FENCED[:1], [MET], CLEAN, "broke its word"),
        (FENCED[:1], [MISSED], CLEAN, "could not tell"),
        (FENCED[:1], [MISSED], CAUGHT, "could not tell"),  # it may have met a holder, and nobody knows
        (FENCED[:1], [FREE], CAUGHT, "broke its word"),  # there was no holder, so nobody was let in beside one
        (FENCED[:1], [STOPPED, FREE], CAUGHT, "broke its word"),
        (FENCED[:1], [STOPPED, MISSED], CAUGHT, "could not tell"),
        (FENCED[:1], [STOPPED, MET], CAUGHT, "as claimed"),
        (FENCED[:1], [KILLED, STUCK, STOPPED, FULL, SLOW, WORKER], CLEAN, "as claimed"),
        (FENCED[:1], [HUNG, STUCK], CLEAN, "broke its word"),
        (FENCED[:1], [KILLED, MISSED], CLEAN, "could not tell"),
        (FENCED[:1], [STUCK], CAUGHT, "broke its word"),  # who let nobody in has no excuse for a sale made twice
        ((), [HUNG, WORKER], CLEAN, "as claimed"),
        ((), [HUNG, WORKER], CAUGHT, "broke its word"),
        ((), [KILLED], CLEAN, "broke its word"),
        ((), [KILLED], CAUGHT, "broke its word"),  # a lock that keeps nobody out is no lock with a killed holder
        ((), [replace(KILLED, met=False)], CAUGHT, "broke its word"),
        ((), [replace(WORKER, stuck=True), HUNG], CLEAN, "as claimed"),
        (FENCED, [replace(WORKER, stuck=True)], CLEAN, "broke its word"),
        (FENCED, [WORKER], CAUGHT, "broke its word"),
        ((), [WORKER], CAUGHT, "broke its word"),  # one who is dead lets nobody in
        (FENCED, [replace(STOPPED, stuck=True)], CLEAN, "broke its word"),
        (FENCED, [replace(STOPPED, wrong="the service did not start")], CLEAN, "broke its word"),
        ((), [replace(SLOW, stuck=True)], CLEAN, "broke its word"),
        ((), [replace(FULL, wrong="with a full disk 2 replies said nothing definite")], CLEAN, "broke its word"),
        (FENCED, [replace(FULL, met=False)], CLEAN, "could not tell"),
    ],
)
def test_a_mode_is_held_to_what_it_survives_both_ways(
    survives: tuple[str, ...], mishaps: Sequence[Mishap], checked: Checked, word: str
) -> None:
    """With nothing lost and nobody stuck; one that does not claim it must be caught, if anyone was inside."""
    claimed = Claimed("hosts", 2, hosts=3, survives=survives)
    told = verdict(claimed, checked, BUSY, Conditions(mishaps=tuple(mishaps)))
    assert told.word == word, told.why
    if mishaps == [STUCK] and checked is CLEAN:
        assert told.why.endswith(
            "3 hosts of 2 processes each, with a paused holder, it was caught: "
            "after a paused holder nobody was served any more"
        )
    if word == "could not tell" and MISSED in mishaps and checked is CLEAN:
        assert told.why == "nobody is known to have been between reading and writing when one was stopped"


def test_what_was_there_before_a_pause_did_not_come_of_it() -> None:
    """A lock that keeps nobody out is found though its claim leaves out a paused holder, and none can be met."""
    claimed = Claimed("processes", 4, survives=FENCED[:1])
    for mishap in (MET, MISSED):
        told = verdict(claimed, CAUGHT, BUSY, Conditions(mishaps=(mishap,), excuses=("let in", "none")))
        assert told.word == "broke its word", told.why
    told = verdict(claimed, CAUGHT, BUSY, Conditions(mishaps=(MET,), excuses=("let in", "unsure")))
    assert told.word == "could not tell"
    assert told.why == "lost update x 3: a pause may have led to it, and nobody knows whom it met"
    for excuses in (("let in",), ()):
        assert verdict(claimed, CAUGHT, BUSY, Conditions(mishaps=(MET,), excuses=excuses)).word == "as claimed"
    # Others stood still in another round, which denies this one nothing.
    told = verdict(claimed, CAUGHT, BUSY, Conditions(mishaps=(STUCK,), excuses=("let in",)))
    assert told.word == "as claimed", told.why


def test_who_promises_nothing_is_caught_whatever_else_befalls_it() -> None:
    """Beyond its reach a mode must be caught, and no mishap stands for that."""
    for reach, word in (("nowhere", "as claimed"), ("threads", "as claimed"), ("processes", "broke its word")):
        gone = replace(STOPPED, wrong="the service did not start: the store was sold twice from")
        claimed = Claimed(reach, 4, survives=FENCED)
        assert verdict(claimed, CAUGHT, BUSY, Conditions(mishaps=(STUCK, gone))).word == word
    told = verdict(Claimed("nowhere", 4), CLEAN, BUSY, Conditions(mishaps=(STUCK,)))
    assert (told.word, told.why.rpartition(", ")[0][-26:]) == ("broke its word", "it should have been caught")


def test_a_service_that_did_not_start_again_broke_its_word_though_the_scene_ended_badly() -> None:
    """That the last look failed is what comes of it, and no doubt; another failure is one."""
    gone = replace(STOPPED, wrong="the service did not start: no")
    claimed = Claimed("processes", 4, survives=FENCED)
    failed = Conditions(failures=("file_lock: the service ended with 2",), mishaps=(gone,))
    told = verdict(claimed, CLEAN, BUSY, failed)
    assert told.word == "broke its word"
    assert "did not start: no; and file_lock: the service ended" in told.why
    assert verdict(claimed, CLEAN, BUSY, replace(failed, mishaps=(KILLED,))).word == "could not tell"


def test_the_table_has_the_word_of_each_mishap() -> None:
    """By itself: one fault may be borne, and another not."""
    assert [fate(each, FENCED[:1]) for each in (KILLED, HUNG, STUCK, MET, MISSED, WORKER)] == [
        "as claimed", "broke its word", "as claimed", "broke its word", "could not tell", "as claimed",
    ]  # fmt: skip
    assert [fate(each, (), proven=True) for each in (MET, MISSED)] == ["as claimed", "could not tell"]
    assert [fate(each, FENCED) for each in (MISSED, FREE, WORKER)] == ["could not tell", "as claimed", "as claimed"]


def test_nobody_is_stuck_if_others_are_served_when_they_have_had_time_to_recover() -> None:
    """A lease may hold them up for as long as it lasts, and no longer; a look is no service, nor is an error."""
    begun = 10 + RECOVERY_S
    before, look = bought(9, begun - 0.1), replace(bought(begun, begun + 0.2), kind="look")
    failed, late = bought(begun, begun + 0.5, "unknown", 500), bought(10, 15.1)
    for rows, stuck in (
        ([before, look, failed, late], True),
        ([before, bought(10, begun + 0.1)], False),
        ([before, bought(10, begun + 0.1, "refused")], False),
    ):
        (found,) = befallen([([PAUSED], rows)])
        assert (found.name, found.met, found.stuck) == ("paused holder", True, stuck)
    (twice,) = befallen([([PAUSED], [bought(9, begun + 1)]), ([PAUSED], [bought(9, 90, "unknown")])])
    assert (twice.times, twice.stuck, twice.recovered_s) == (2, True, None)
    missed = replace(PAUSED, met=False)
    for stretches, met, free in (
        ([PAUSED, missed], True, False),
        ([missed, replace(missed, free=True)], False, False),
        ([replace(missed, free=True)] * 2, False, True),
    ):
        (found,) = befallen([(stretches, [bought(9, begun + 1)])])
        assert (found.met, found.free) == (met, free)
    (unasked,) = befallen([([PAUSED], [before, look, bought(begun + 3, begun + 3.1)])])
    assert not unasked.stuck  # at a low rate it may be that nobody wants anything just then
    assert befallen([([replace(PAUSED, mishap=None)], [])]) == ()


def test_where_everybody_waits_for_the_one_that_is_paused_nobody_can_tell() -> None:
    """It may be that no other worker was asked: who was not called upon did not fail to serve."""
    paused = replace(PAUSED, victim="70")
    waiting = [replace(bought(9, 15.2), worker="vm/70"), replace(bought(9.5, 15.4), worker="70")]
    (found,) = befallen([([paused], waiting)])
    assert (found.stuck, found.met) == (False, False)
    (found,) = befallen([([paused], [*waiting, replace(bought(9.7, 15.9), worker="vm/71")])])
    assert (found.stuck, found.met) == (True, True)
    (found,) = befallen([([paused], [*waiting, bought(9.7, 16, "unknown")])])
    assert found.stuck
    (found,) = befallen([([replace(paused, mishap="killed holder")], waiting)])
    assert found.stuck


@pytest.mark.parametrize("name", ["killed service", "restarted service", "full disk", "slow disk"])
def test_what_stops_everybody_leaves_time_to_recover_when_it_is_over(name: Name) -> None:
    """Nobody need be served meanwhile; who is killed, or paused, is one of several."""
    stretch = Stretch("all", 10 * S, 20 * S, name, met=True)
    (found,) = befallen([([stretch], [bought(20, 20.5), bought(20, 23.5)])])
    assert (found.stuck, found.recovered_s) == (False, 0.5)
    (found,) = befallen([([stretch], [bought(9, 13.5), bought(22, 30, "unknown")])])
    assert (found.stuck, found.recovered_s) == (True, None)
    (found,) = befallen([([replace(stretch, mishap="killed worker")], [bought(9, 13.5)])])
    assert (found.stuck, found.recovered_s) == (False, 3.5)


def test_several_faults_of_one_slice_are_each_looked_at() -> None:
    """A lock that is kept by a dead process is no fault of the restart that came after it."""
    killed = Stretch("worker 1 killed", 10 * S, 10 * S, "killed holder", met=True)
    again = Stretch("started again", 16 * S, 17 * S)
    stopped = Stretch("the service killed", 30 * S, 31 * S, "killed service", met=True)
    rows = [bought(9, 9.9), bought(17, 17.5), bought(30, 34.5), bought(9.5, 16.5, "unknown")]
    found = {each.name: each for each in befallen([([killed, again, stopped], rows)])}
    assert {name: each.stuck for name, each in found.items()} == {"killed holder": True, "killed service": False}
    assert found["killed holder"].excused == 1


def test_who_was_inside_a_service_that_ends_in_order_gets_an_answer() -> None:
    """Refused for now is one; who called a moment before may not have been inside yet."""
    ended = Stretch("ended in order", 10 * S, 12 * S, "restarted service", met=True)
    fine = [bought(9, 11, "done", 201), bought(9, 11, "not done", 503), bought(9.9, 10, "unknown"), bought(12, 16)]
    (found,) = befallen([([ended], fine)])
    assert found.wrong == ""
    (found,) = befallen([([ended], [*fine, bought(9, 10.5, "unknown")])])
    assert found.wrong == "1 of 3 calls that were inside when it was told to end got no answer"
    (found,) = befallen([([replace(ended, ended="told to end, it ended with 1")], fine)])
    assert found.wrong == "told to end, it ended with 1"


def test_a_full_disk_is_told_of_in_definite_words() -> None:
    """503 and nothing else; and where nobody heard it, the disk was not full for anyone."""
    told = replace(bought(11, 12, "not done", 503), problem="not-written")
    full = Stretch("full disk", 10 * S, 13 * S, "full disk")
    (found,) = befallen([([full], [told, bought(13, 17)])])
    assert (found.met, found.wrong, found.excused) == (True, "", 1)
    for other in (bought(11, 12), replace(told, problem="busy")):
        (found,) = befallen([([full], [other, bought(13, 17)])])
        assert not found.met
    (found,) = befallen([([full], [bought(11, 12, "unknown", 500), bought(13, 17)])])
    assert found.wrong == "with a full disk 1 replies said nothing definite"
    (found,) = befallen([([full], [told, bought(11, 12, "unknown"), bought(13, 17)])])
    assert found.wrong == "with a full disk 1 calls got no answer"
    (found,) = befallen([([full], [told, bought(9, 12, "unknown"), bought(13, 17)])])
    assert found.wrong == ""


def test_a_holder_that_had_written_was_not_met() -> None:
    """By the trace: one that was stopped between its reading and the end of the pause that the service makes there."""
    inside, waiting = Passage("a", 1, 9 * S, 16 * S, 9 * S, int(9.95 * S), 3), Passage("b", 2, 9 * S, 16 * S)
    written = replace(inside, read=int(9.8 * S))
    assert known(PAUSED, [waiting, inside], 0.1).met
    assert not known(PAUSED, [waiting, written], 0.1).met
    assert not known(PAUSED, [replace(inside, left=14 * S)], 0.1).met  # it was never stopped
    assert known(PAUSED, [waiting], 0.1).met  # a mode without notes, or no trace: nobody knows better
    killed = replace(PAUSED, mishap="killed holder")
    assert known(killed, [written], 0.1) == killed
    assert known(PAUSED, [written], 0.0).met  # a service that does not pause there leaves no time to tell apart


def test_a_holder_that_decides_again_was_met_when_the_one_before_it_had_left() -> None:
    """Its trace has what it read last. Nobody had left for longer than it takes to be let in, and it was not over."""
    before, again = (
        Passage("a", 2, 8 * S, int(9.94 * S), 9 * S, 9 * S, 3),
        Passage("b", 1, 9 * S, 17 * S, 16 * S, 16 * S, 9),
    )
    for left_s, met in ((9.94, True), (9.99, False), (9.89, False)):
        assert known(PAUSED, [replace(before, left=int(left_s * S)), again], 0.1).met is met
        assert is_between(10 * S, [replace(before, left=int(left_s * S))], 0.1) is met
    assert not is_between(10 * S, [again], 0.1)


def test_who_is_in_line_behind_several_of_the_one_that_is_paused_is_served_in_the_end() -> None:
    """It is left out for longer where nobody is served, and they are stuck if nobody is until it goes on."""
    long = replace(PAUSED, to_ns=int(18.5 * S))
    for first_s, stuck in ((17.5, False), (18.6, True)):
        (found,) = befallen([([long], [bought(9, 12.5), bought(9, first_s)])])
        assert found.stuck is stuck
    (found,) = befallen([([replace(long, mishap="killed holder")], [bought(9, 17.5)])])
    assert found.stuck  # the others have five seconds, and no more


def test_where_nobody_keeps_others_out_there_is_no_holder_to_be_met() -> None:
    """The trace shows it: several had read at once, or an engine decides. Else one was there, and was not met."""
    missed = replace(PAUSED, met=False)
    turns = [Passage(str(at), at % 2, at, at + 9, at, at, at) for at in range(0, 90, 10)]
    held_up = [replace(turns[-1], worker=70, left=20 * S), *turns[:-1]]  # its lease ended, and others came after it
    beside = [replace(row, left=row.left + 30, worker=row.read or 0) for row in turns]
    engine = [replace(row, entered=None, read=None, version=None) for row in turns]
    for name in ("paused holder", "killed holder"):
        for passages, free in ((turns, False), (held_up, False), (beside, True), (engine, True), ([], True)):
            assert known(replace(missed, mishap=name), passages, 0.1).free is free
            assert not known(replace(PAUSED, mishap=name), engine, 0.1).free  # it was met
        # Who tries again is in the trace once, with what he decided in the end; as if he had waited for the others.
        assert known(replace(missed, mishap=name), turns, 0.1, "retries").free
        assert not known(replace(missed, mishap=name), turns, 0.1, "queues").free
    assert known(replace(missed, mishap="full disk"), turns, 0.1) == replace(missed, mishap="full disk")


def test_what_fails_while_something_is_done_is_no_error_of_the_mode() -> None:
    """It is checked, and not counted; before and after it is, but for a connection that led to the dead."""
    scene = plan.make("flash-sale", 1, 30.0)
    rows = [bought(9, 9.5, "unknown"), bought(9.9, 12, "not done", 503), bought(11, 12), bought(14, 16, "unknown", 500)]
    rows += [bought(15.5, 16, "unknown", 500), bought(16, 16.1, "unknown")]
    measured = cut(replace(scene, warmup_s=0.0), rows, [], None, 2, [PAUSED]).operations
    assert [row.called / S for row in measured] == [9, 11, 15.5]
    assert not excused(bought(16, 16.1, "unknown"), [replace(PAUSED, mishap=None)])


def test_who_was_held_up_from_the_warm_up_on_is_measured() -> None:
    """Else the longest waits of all would be in no percentile; and a scene that ends early was no longer than that."""
    scene = replace(plan.make("flash-sale", 1, 30.0), warmup_s=1.0)
    rows = [bought(9, 9.1), bought(9.9, 15.2), bought(15.2, 15.3), bought(15.3, 19)]
    seen = cut(scene, rows, [], None, 2, [PAUSED])
    assert [row.called / S for row in seen.operations] == [9.9, 15.2, 15.3]
    assert seen.seconds == pytest.approx(9.0)
    without = cut(scene, rows, [], None, 2, [replace(PAUSED, mishap=None)])
    assert [row.called / S for row in without.operations] == [15.2, 15.3]


def test_a_witness_names_the_host_and_what_was_done_meanwhile() -> None:
    """Two hosts sold one ticket because one of them was paused: the sentence says so."""
    rows = [
        replace(bought(9.9, 15.2), name="ann", order="a", worker="1/70", version=2, tickets=(1,)),
        replace(bought(13, 13.2), name="bob", order="b", worker="2/71", version=2, tickets=(1,)),
    ]
    passages = [
        Passage("a", 70, int(9.9 * S), int(15.1 * S), int(9.9 * S), int(9.95 * S), 1),
        Passage("b", 71, 13 * S, int(13.1 * S), 13 * S, 13 * S, 1),
    ]
    story = tell("double sale", Witness("?", ("ann", "bob")), rows, passages, [PAUSED])
    assert "worker 1 on host 1 read version 1" in story.sentence
    assert "worker 2 on host 2 read version 1" in story.sentence
    assert story.sentence.endswith("ticket 1 has two owners; meanwhile: host 1 paused")
    assert "meanwhile" not in tell("double sale", Witness("?", ("ann", "bob")), rows, passages).sentence


def test_the_page_of_figures_has_a_row_for_each_mode() -> None:
    """How often each fault was made, and after which nobody was served; a holder that nobody met is said to be none."""
    run = {
        "mishaps": [asdict(each) for each in (KILLED, MISSED, replace(HUNG, name="slow disk", times=2))],
        "checked": {"findings": [{"anomaly": "phantom order", "times": 3}, {"anomaly": "double sale", "times": 1}]},
        "verdict": {"word": "broke its word"},
        "calls": 1234,
    }
    assert faults_table.table({"file_lock": run}).splitlines()[2:] == [
        "| `file_lock` | 1 | 1, none met | 2 | 1,234 | 3 | 1 | a slow disk | broke its word |"
    ]


def test_the_page_of_figures_bears_a_mode_that_did_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a verdict and no history: its row says so, and the others are kept."""
    monkeypatch.setattr(faults_table, "RUNS", tmp_path)
    (tmp_path / "lease" / "latest").mkdir(parents=True)
    left = {"exit_code": 2, "modes": [{"mishaps": [], "checked": None, "verdict": {"word": "could not tell"}}]}
    (tmp_path / "lease" / "latest" / "verdict.json").write_text(json.dumps(left))
    found = faults_table.verdict("lease")
    assert found is not None
    assert faults_table.table({"lease": found}).endswith("| `lease` | 0 | 0 | 0 | none | could not tell |")


def test_a_table_keeps_the_rows_that_are_not_made_again() -> None:
    """Also when they have columns that the new ones have not."""
    old = "| mode | full disk | calls |\n| --- | --: | --: |\n| `a` | 1 | 2 |\n| `b` | 3 | 4 |\n"
    new = "| mode | calls |\n| --- | --: |\n| `b` | 5 |\n| `c` | 6 |"
    kept = "| mode | full disk | calls |\n| --- | --: | --: |\n| `a` | 1 | 2 |\n| `b` | 0 | 5 |\n| `c` | 0 | 6 |"
    assert reliability.merged(old, new, 1) == kept
    assert reliability.merged("", new, 1) == new
