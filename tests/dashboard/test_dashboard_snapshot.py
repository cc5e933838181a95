"""What the first page answers: health, what needs a person, figures."""

from dataclasses import replace

import pytest
from support.sights import NOW, a_sight, a_task, an_agent

from coordinator.core.agent import PARKED_FOR_GOOD, AgentRecord
from coordinator.core.machine import AgentState, State
from coordinator.core.task import Priority
from dashboard.snapshot import DAY_MS, HOUR_MS, Held, Kind, Level, Origin, Saved, Trouble, link, state_json, take


def codes(sight) -> list[str]:
    return [one.code for one in take(sight).conditions]


# --- health


def test_all_is_well_when_work_goes_on() -> None:
    busy = an_agent(state=AgentState.WORKING, slot="t-2")
    snapshot = take(a_sight(a_task("t-1"), a_task("t-2", State.WORKING), agents=(busy,)))
    assert snapshot.level is Level.OK
    assert snapshot.sentence == "All is well: 1 task is being worked on, 1 waits."


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        ((), "All is well. There is nothing to do yet."),
        ((a_task("t-1", State.DONE),), "All is well, and everything is done."),
        ((a_task("t-1", State.IN_REVIEW),), "All is well, and 1 task needs you."),
        (
            (a_task("t-1"), a_task("t-2", State.IN_REVIEW), a_task("t-3", State.IN_REVIEW)),
            "All is well: 0 tasks are being worked on, 1 waits, 2 need you.",
        ),
    ],
)
def test_a_hub_without_work_is_well(tasks, sentence) -> None:
    assert take(a_sight(*tasks, agents=(an_agent(),))).sentence == sentence


def test_work_on_a_branch_is_taken_by_its_merge() -> None:
    merge = "git -C /srv/p merge --no-ff claude/t-1-one"
    task = a_task("t-1", State.IN_REVIEW, result={"status": "success", "merge": merge})
    (need,) = take(a_sight(task, agents=(an_agent(),))).needs
    assert need.commands == (
        "git -C /srv/p diff HEAD...claude/t-1-one",
        merge,
        'agentcom task reject t-1 --note "WHAT TO CHANGE"',
    )


def test_tasks_without_any_agent_are_named_with_the_command_that_adds_one() -> None:
    (condition,) = take(a_sight(a_task(), a_task("t-2"))).conditions
    assert (condition.code, condition.level) == ("no_agent", Level.WARNING)
    assert condition.text == "2 tasks wait, and there is no agent."
    assert condition.commands == ("agentcom agent add NAME",)


def test_tasks_that_wait_while_everybody_is_offline_are_named() -> None:
    assert codes(a_sight(a_task(), agents=(an_agent(online=False),))) == ["offline"]
    assert codes(a_sight(a_task(), agents=(an_agent(),))) == []
    assert codes(a_sight(agents=(an_agent(online=False),))) == []


def test_a_hub_that_cannot_write_is_critical_and_said_first() -> None:
    sight = a_sight(a_task())
    snapshot = take(replace(sight, facts=replace(sight.facts, read_only="disk full")))
    assert snapshot.level is Level.CRITICAL
    assert snapshot.sentence.startswith("The hub cannot write: disk full.")


def test_parked_silent_and_stuck_agents_are_named_with_what_to_do() -> None:
    parked = replace(an_agent("gcu"), record=AgentRecord("gcu", PARKED_FOR_GOOD, "not logged in"))
    found = take(a_sight(agents=(parked, an_agent("b", unresponsive=True), an_agent("c", stuck=True, slot="t-1"))))
    assert [one.code for one in found.conditions] == ["parked:gcu", "unresponsive:b", "stuck:c"]
    assert found.conditions[0].text == "gcu is parked: not logged in"
    assert found.conditions[0].hint == "Mend that, then let it have work again."
    assert found.conditions[0].commands == ("agentcom agent resume gcu",)


def test_a_clone_says_as_of_when_it_is_and_how_to_go_on() -> None:
    origin = Origin(False, "hub not running; as of 3 h ago (3f2a)", NOW - 3 * HOUR_MS)
    (condition,) = take(a_sight(a_task(), origin=origin)).conditions
    assert condition.text == "Hub not running; as of 3 h ago (3f2a)."
    assert condition.commands == ("agentcom hub",)
    (copy,) = take(a_sight(origin=replace(origin, hub="http://127.0.0.1:4000"))).conditions
    assert copy.hint == "http://127.0.0.1:4000/dashboard"


def test_a_remote_that_refuses_is_named_with_what_waits() -> None:
    sight = a_sight()
    remote = {"name": "origin", "push_error": "protected branch", "fetch_error": None, "unpushed": 4}
    (condition,) = take(replace(sight, facts=replace(sight.facts, remote=remote))).conditions
    assert condition.text == "origin cannot be pushed to: protected branch"
    assert condition.hint.endswith("4 commits wait.")


def test_a_suspended_repository_and_wrong_files_are_named() -> None:
    trouble = Trouble("tasks/t-1.yaml:1:1", "titel: unknown key", "did you mean title?")
    assert codes(a_sight(suspended=True, troubles=(trouble,))) == ["suspended", "problems"]


# --- what needs a person


def test_what_needs_a_person_comes_in_the_order_of_its_urgency() -> None:
    sight = a_sight(
        a_task("t-f", State.FAILED),
        a_task("t-r", State.REJECTED),
        a_task("t-q", State.BLOCKED, question="Which port?"),
        a_task("t-v", State.IN_REVIEW),
        a_task("t-o", State.DONE, orphans=(1,)),
        held=(Held("added", "c" * 40, 30),),
        troubles=(Trouble("x", "y"),),
        saved=(Saved("BACKLOG.md", "BACKLOG.md: 2 new items are saved but not committed"),),
        saved_hint="`git commit BACKLOG.md`, or let `agentcom watch --commit` do it",
        orphans={"t-o": ("status/closed/2026/11/25/t-o.orphan-1.json",)},
    )
    needs = take(sight).needs
    assert [need.kind for need in needs] == list(Kind)
    by_kind = {need.kind: need for need in needs}
    assert by_kind[Kind.QUESTION].text == "Which port?"
    assert by_kind[Kind.QUESTION].commands == ('agentcom task answer t-q "YOUR ANSWER"',)
    assert by_kind[Kind.FAILED].tail == "the end"
    assert by_kind[Kind.FAILED].commands == ("agentcom task rerun t-f",)
    assert by_kind[Kind.SAVED].commands == ("git commit BACKLOG.md", "agentcom watch --commit")
    assert by_kind[Kind.HELD].title == "30 new ready items came at once and wait until you have looked"


def test_what_failed_long_ago_is_history() -> None:
    old = a_task("t-f", State.FAILED, completed_at=NOW - 8 * DAY_MS)
    assert take(a_sight(old)).needs == ()


# --- rows and figures


def test_those_at_work_longest_come_first_and_the_newest_ends() -> None:
    sight = a_sight(
        a_task("t-1", State.WORKING, started_at=NOW - 1_000),
        a_task("t-2", State.WORKING, started_at=NOW - 9_000),
        a_task("t-3", State.DONE, completed_at=NOW - 9_000),
        a_task(
            "t-4", State.DONE, completed_at=NOW - 1_000, result={"tokens_used": 12, "pr_url": "https://f.example/1"}
        ),
    )
    snapshot = take(sight)
    assert [row.task.id for row in snapshot.working.rows] == ["t-2", "t-1"]
    assert [row.task.id for row in snapshot.finished.rows] == ["t-4", "t-3"]
    first = snapshot.finished.rows[0]
    assert (first.tokens, first.pr_url, first.duration, first.agent) == (12, "https://f.example/1", 119_000, "loash")


def test_attempts_are_counted_as_people_count_them() -> None:
    (row,) = take(a_sight(a_task("t-1", State.WORKING, retry_count=1, max_retries=2))).working.rows
    assert (row.attempt, row.of) == (2, 3)


def test_progress_is_that_of_the_agent_at_this_task() -> None:
    at_it = an_agent(state=AgentState.WORKING, slot="t-1", progress=40.0, note="half")
    (row,) = take(a_sight(a_task("t-1", State.WORKING), agents=(at_it,))).working.rows
    assert (row.progress, row.note) == (40.0, "half")
    elsewhere = an_agent(state=AgentState.WORKING, slot="t-9", progress=40.0)
    (row,) = take(a_sight(a_task("t-1", State.WORKING), agents=(elsewhere,))).working.rows
    assert row.progress is None


def test_those_that_wait_stand_as_they_would_run() -> None:
    sight = a_sight(
        a_task("t-low", priority=Priority.LOW),
        a_task("t-new", created_at=NOW),
        a_task("t-now", priority=Priority.URGENT),
    )
    assert [row.task.id for row in take(sight).waiting.rows] == ["t-now", "t-new", "t-low"]


def test_the_last_hour_slides() -> None:
    ends = [NOW - HOUR_MS - 1, NOW - HOUR_MS + 1, NOW - 1]
    tasks = [
        a_task(f"t-{at}", State.DONE, completed_at=end, started_at=end - 10, result={"tokens_used": 5})
        for at, end in enumerate(ends)
    ]
    pace = take(a_sight(*tasks, a_task("t-f", State.FAILED))).pace
    assert (pace.done, pace.tokens, pace.mean_ms) == (2, 10, 10)
    assert (pace.parts[0], pace.parts[-1]) == (1, 1)


def test_assignment_is_counted_from_when_the_task_could_run_and_its_agent_was_free() -> None:
    before = a_task("t-1", State.DONE, completed_at=NOW - 50_000, assigned_at=NOW - 3 * HOUR_MS)
    waited = a_task("t-2", State.WORKING, created_at=NOW - 100_000, assigned_at=NOW - 49_970)
    blocked = a_task(
        "t-3", State.WORKING, created_at=NOW - 100_000, assigned_to="b", assigned_at=NOW - 40_000, depends_on=("t-1",)
    )
    pace = take(a_sight(before, waited, blocked)).pace
    assert pace.latency_p95 == 10_000
    assert take(a_sight(before, waited)).pace.latency_p50 == 30


def test_what_an_agent_did_today_is_counted_since_midnight() -> None:
    today = NOW // DAY_MS * DAY_MS
    tasks = (
        a_task("t-1", State.DONE, completed_at=today, result={"tokens_used": 7}),
        a_task("t-2", State.DONE, completed_at=today - 1),
    )
    (card,) = take(a_sight(*tasks, agents=(an_agent(done_session=4),))).cards
    assert (card.done_today, card.tokens_today, card.done_session) == (1, 7, 4)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "ftp://x", 7, None, "https://" + "x" * 2000, "//x"])
def test_an_address_that_is_none_leads_nowhere(address) -> None:
    assert link(address) is None


def test_the_state_for_programs_has_what_clients_read() -> None:
    said = state_json(
        take(a_sight(a_task("t-1", State.DONE), a_task("t-2"), agents=(an_agent(),))), [{"agent_id": "loash"}]
    )
    assert said["uptime_ms"] == HOUR_MS
    assert said["timestamp"] == NOW
    assert said["health"]["status"] == "ok"
    assert said["queue"]["by_status"]["queued"] == 1
    assert said["queue"]["by_priority"] == {"0": 0, "1": 0, "2": 1, "3": 0}
    assert said["throughput"]["completed_last_hour"] == 1
    assert said["recent_completions"][0]["task_id"] == "t-1"
    assert said["agents"] == [{"agent_id": "loash"}]
