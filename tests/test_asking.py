"""A word of a person is refused when it would change nothing, and says why; else it names the keys to write."""

import pytest

from coordinator import asking
from coordinator.asking import Pointless, Standing
from coordinator.core.machine import FINISHED, OPEN, State
from coordinator.core.task import Answer, Decision, Spec

Q, W, B, R, D = State.QUEUED, State.WORKING, State.BLOCKED, State.IN_REVIEW, State.DONE


def task(state: State | None = None, **known) -> Standing:
    spec = {name: known.pop(name) for name in ("hold", "cancel", "rerun", "answer", "decision") if name in known}
    counted = known.pop("counted", 0)
    return Standing(Spec("t-1", "x", **spec), "tasks/t-1.yaml", b"title: x\n", state=state, rerun=counted, **known)


def approve(standing: Standing) -> asking.Ask:
    return asking.decide(standing, approve=True)


def reject(standing: Standing) -> asking.Ask:
    return asking.decide(standing, approve=False, note="more")


def answer(standing: Standing) -> asking.Ask:
    return asking.answer(standing, "Blue")


#: word -> the states in which it means something (None: no hub has read the task yet).
MEANINGFUL = {
    asking.hold: OPEN - {R} | {None},
    asking.cancel: OPEN | {None},
    asking.rerun: FINISHED | {R},
    answer: {B},
    approve: {R},
    reject: {R},
}


@pytest.mark.parametrize("word", MEANINGFUL)
@pytest.mark.parametrize("state", [None, *State])
def test_a_word_is_taken_where_the_table_gives_it_a_meaning_and_refused_elsewhere(word, state):
    if state in MEANINGFUL[word]:
        assert word(task(state)).values
        return
    with pytest.raises(Pointless) as raised:
        word(task(state))
    assert "t-1" in str(raised.value)
    assert ("no hub has read" if state is None else str(state).replace("_", " ")) in str(raised.value).replace("_", " ")


@pytest.mark.parametrize("state", [None, *sorted(OPEN)])
def test_a_held_task_is_released_and_not_held_twice(state):
    assert asking.release(task(state, hold=True)).values == {"hold": False}
    for word, held in ((asking.release, False), (asking.hold, True)):
        with pytest.raises(Pointless, match="held"):
            word(task(state, hold=held))


def test_a_finished_task_is_neither_held_nor_released_nor_cancelled():
    for word in (asking.hold, asking.release, asking.cancel):
        with pytest.raises(Pointless, match="t-1 is done already: there is nothing to"):
            word(task(D, hold=True))


def test_a_word_that_stands_there_already_is_not_said_again():
    said = (
        (asking.cancel, task(Q, cancel=True), "delete that line"),
        (asking.cancel, task(None, cancel=True), "no hub has read it yet"),
        (asking.rerun, task(D, rerun=2, counted=1), "says rerun: 2 already"),
        (answer, task(B, generation=3, answer=Answer(3, "Blue")), "gives that answer already"),
        (approve, task(R, generation=3, decision=Decision(3, True)), "says that already"),
    )
    for word, standing, match in said:
        with pytest.raises(Pointless, match=match):
            word(standing)


def test_a_rerun_is_one_above_what_the_hub_counted_and_takes_back_a_cancel():
    assert asking.rerun(task(D, rerun=4, counted=4)).values == {"rerun": 5, "cancel": False}
    assert asking.rerun(task(D, rerun=1, counted=4)).values == {"rerun": 5, "cancel": False}


def test_answers_and_verdicts_speak_of_the_attempt_at_hand():
    assert answer(task(B, generation=7, answer=Answer(6, "Blue"))).values == {
        "answer": {"generation": 7, "text": "Blue"}
    }
    assert approve(task(R, generation=7)).values == {"review_decision": {"generation": 7, "approve": True}}
    assert reject(task(R, generation=7)).values == {
        "review_decision": {"generation": 7, "approve": False, "note": "more"}
    }


def test_a_hold_of_a_task_in_hand_says_that_the_attempt_runs_on():
    assert "runs on" in asking.hold(task(W)).follows
    assert "runs on" not in asking.hold(task(Q)).follows


def test_an_edit_of_a_finished_task_says_when_it_counts():
    assert "rerun t-1" in asking.edit(task(D), {"title": "y"}).follows


def test_a_removed_file_says_what_is_in_force_then():
    assert asking.remove(task(Q)).follows == "it is cancelled"
    assert asking.remove(task(Q, line="BACKLOG.md:7")).follows == "BACKLOG.md:7 is in force again"
    assert "stays in the trail" in asking.remove(task(D, line="BACKLOG.md:7")).follows


@pytest.mark.parametrize(
    ("standing", "match"),
    [
        (task(Q, own=False, line="BACKLOG.md:7"), "it is BACKLOG.md:7, delete that line"),
        (task(Q, own=False), "agentcom task cancel t-1"),
        (task(D, own=False), "stays in the trail"),
    ],
)
def test_what_has_no_file_cannot_be_removed_and_says_how(standing, match):
    with pytest.raises(Pointless, match=match):
        asking.remove(standing)
