"""What waits for a person, as `agentcom task why`, `task show` and `status` say it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.cli import Said
from support.repo import Clone
from support.state import keep_state

from coordinator.core.machine import State
from coordinator.core.task import Answer, Decision, Spec, Status, Task

Run = Callable[..., Said]
MERGE = "git -C /srv/p merge --no-ff claude/t-1-one"
SPEC = Spec("t-1", "One", where="tasks/t-1.yaml")


def task(state: State, **status) -> Task:
    return Task(SPEC, Status(state, spec="b" * 40, **status))


ASKS = task(State.BLOCKED, question="Which colour?", assigned_to="claude")
JUDGED = task(State.IN_REVIEW, result={"status": "success", "merge": MERGE}, last_owner="claude")


@pytest.mark.parametrize(
    ("one", "what", "command"),
    [
        (ASKS, "it asks: Which colour?", 'agentcom task answer t-1 "YOUR ANSWER"'),
        (JUDGED, "its result is to be judged", MERGE),
    ],
)
def test_what_waits_for_a_person_says_so_and_how_to_go_on(
    clone: Clone, run: Run, one: Task, what: str, command: str
) -> None:
    keep_state(clone, [one])
    why = run("task", "why", "t-1").out.splitlines()
    assert why[0].startswith(f"t-1 waits for you: {what} (")
    assert any(line.endswith(f"  {command}") for line in why[1:]), why
    for words in (("task", "show", "t-1"), ("status",)):
        lines = run(*words).out.splitlines()
        assert any(line.endswith(f"  {command}") for line in lines), lines


def test_status_has_what_waits_for_a_person_apart_from_what_is_in_hand(clone: Clone, run: Run) -> None:
    busy = Task(replace(SPEC, id="t-2", title="Two"), Status(State.WORKING, spec="b" * 40, assigned_to="gcu"))
    keep_state(clone, [ASKS, busy])
    lines = run("status").out.splitlines()
    mine, theirs = lines.index("waits for you:"), lines.index("in hand:")
    assert mine < theirs
    assert lines[mine + 1].split()[:2] == ["t-1", "blocked"]
    assert lines[mine + 1].endswith("it asks: Which colour?")
    assert lines[theirs + 1].split()[:2] == ["t-2", "working"]


def test_what_was_asked_answered_and_judged_is_shown_with_the_task(clone: Clone, run: Run) -> None:
    answers = (Answer(1, "Blue"),)
    reviews = (Decision(2, approve=False, note="Too pale"), Decision(3, approve=True))
    keep_state(clone, [task(State.DONE, completed_at=1_795_346_400_000, answers=answers, reviews=reviews)])
    lines = run("task", "show", "t-1").out.splitlines()
    at = lines.index("what people said:")
    assert lines[at + 1 : at + 4] == [
        "  answered   Blue",
        "  sent back  Too pale",
        "  approved",
    ]
