"""Commits of the trail, told in lines."""

from typing import Any

from coordinator.up.story import Story, news, standing


def record(subject: str, event: str, task: str | None = "t-1", commit: str = "c") -> dict[str, Any]:
    return {"subject": subject, "event": event, "task": task, "commit": commit}


def task(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "t-1",
        "title": "Write seven",
        "status": status,
        "question": None,
        "reason": "",
        "result": None,
        "lane": "ready",
        "hold": False,
        "held": False,
        **more,
    }


def test_a_task_is_told_from_its_beginning_to_its_end() -> None:
    story = Story()
    told = [
        story.tell(record("t-1: created (Ada): Write seven", "created")),
        story.tell(record("t-1: queued -> assigned (claude)", "assigned")),
        story.tell(record("t-1: assigned -> working (claude)", "accepted")),
        story.tell(
            record("t-1: working -> in_review (claude)", "completed"),
            task("in_review", result={"pr_url": "https://example.org/pull/7", "tokens_used": 412_345}),
        ),
    ]
    assert told == [
        ["t-1 new: Write seven"],
        ["t-1: queued -> assigned (claude): Write seven"],
        [],
        [
            "t-1: working -> in_review (claude): Write seven",
            "-> look at it, and merge it: https://example.org/pull/7",
            '-> send it back: agentcom task reject t-1 --note "WHAT TO CHANGE"',
        ],
    ]
    assert story.end() == ["0 done, 0 failed, 412k tokens"]


def test_only_what_needs_more_words_is_asked_for() -> None:
    story = Story()
    assert story.wants(record("t-1: queued -> assigned (a)", "assigned")) is None
    assert story.wants(record("t-1: working -> blocked (a)", "blocked")) == "t-1"
    assert story.wants(record("agent a: parked", "agent_changed", task=None)) is None


def test_a_question_comes_with_the_command_that_answers_it() -> None:
    told = Story().tell(record("t-1: working -> blocked (a)", "blocked"), task("blocked", question="Which one?"))
    assert told == [
        "t-1: working -> blocked (a): Write seven; it asks: Which one?",
        '-> answer its question: agentcom task answer t-1 "YOUR ANSWER"',
    ]


def test_the_end_says_what_is_left_and_for_whom() -> None:
    mine = [task("blocked", question="Which one?"), task("in_review")]
    later = [task("queued"), task("queued", hold=True), task("queued", held=True), task("queued", lane="inbox")]
    assert Story().end([*mine, *later, task("done")]) == [
        "0 done, 0 failed",
        "3 tasks wait for you: agentcom status",
        "1 task goes on at the next start: agentcom up",
    ]


def test_of_agents_only_what_a_person_may_want_to_know_is_told() -> None:
    story = Story()
    assert story.tell(record("agent a: parked: not logged in", "agent_changed", task=None)) == [
        "agent a: parked: not logged in"
    ]
    assert story.tell(record("agent a: got a token (ac_12345)", "agent_changed", task=None)) == []


def test_an_attempt_that_failed_and_is_tried_again_comes_with_its_reason() -> None:
    again = record("t-1: working -> queued (a)", "failed")
    why = {"code": "backoff", "text": "backs off after: no work tree could be made"}
    story = Story()
    assert story.wants(again) == "t-1"
    (line,) = story.tell(again, task("queued", why=why))
    assert line == "t-1: working -> queued (a): Write seven; backs off after: no work tree could be made"
    waits = {"code": "no_agent", "text": "no agent is free"}
    assert story.tell(again, task("queued", why=waits)) == ["t-1: working -> queued (a): Write seven"]


def test_words_of_agents_play_no_tricks_with_the_terminal() -> None:
    (line,) = Story().tell(
        record("t-1: working -> failed (a)", "failed"), task("failed", reason="\x1b[2Jboom\nbang " + "x" * 500)
    )
    assert "\x1b" not in line
    assert "\n" not in line
    assert len(line) < 200


def test_nothing_is_told_twice_and_a_task_that_goes_on_counts_once() -> None:
    story = Story()
    trail = [record(f"t-1: x {n}", "held", commit=f"c{n}") for n in (3, 2, 1)]
    assert [one["commit"] for one in news(trail, "c1")] == ["c2", "c3"]
    assert news(trail, "c3") == []
    for status in ("failed", "done"):
        story.tell(record(f"t-1: working -> {status} (a)", status), task(status))
    assert story.end() == ["1 done, 0 failed"]


def test_how_things_stand_is_one_line_in_the_words_of_people() -> None:
    assert standing({"done": 3, "queued": 2, "in_review": 1, "failed": 0}) == "2 waiting, 1 in review, 3 done"
    assert standing({}) == ""
