"""What agents say, and what they hear back."""

from dataclasses import replace

import pytest
from support.world import ALL, PERSON, QUIET, World

from coordinator.core.agent import PARKED_FOR_GOOD, AgentSpec, Role
from coordinator.core.events import (
    Accepted,
    Ack,
    AgentAsked,
    Asked,
    Assign,
    Blocked,
    Cancelled,
    Complete,
    Continue,
    Failed,
    FailureClass,
    Leaving,
    Progress,
    Reassign,
    Record,
    Recovering,
    Refused,
    Rejected,
    Released,
    ReportAck,
    Reported,
    Updated,
    Woken,
)
from coordinator.core.machine import FINISHED, AgentState, Event, State
from coordinator.core.policy import Policy, Retries
from coordinator.core.task import Answer, Decision, End, Spec

T = "t-1"


def acks(world: World, agent: str = "a") -> list[str]:
    return [message.status for message in world.said_to(agent) if isinstance(message, Ack)]


def refusals(world: World, agent: str = "a") -> list[str]:
    return [message.code for message in world.said_to(agent) if isinstance(message, Refused)]


def test_the_same_result_twice_gets_the_same_ack_and_changes_nothing() -> None:
    world = World().reach(State.WORKING)
    gen = world.generation()
    world.say("a", Complete(T, gen, {"summary": "x"}))
    assert acks(world) == ["complete"]
    before = world.task()

    world.say("a", Complete(T, gen, {"summary": "y"}))

    assert acks(world) == ["complete"]
    assert world.task() == before
    assert world.records() == []


def test_a_stale_result_changes_nothing_and_is_kept_once_for_people() -> None:
    world = World().reach(State.WORKING)
    world.disconnect("a")
    world.add_agents("b")
    world.advance(121)
    world.advance(11)
    world.connect("b")
    assert world.task().status.assigned_to == "b"
    world.connect("a", holding=[(T, 1)])

    for _ in range(2):
        world.say("a", Complete(T, 1, {"summary": "too late"}))
        assert refusals(world) == ["task_complete_failed: stale_generation"]

    orphans = [e for e in world.history if isinstance(e, Record) and e.orphan is not None]
    assert [record.what for record in orphans] == ["orphan_result"]
    assert world.task().status.assigned_to == "b"


def test_a_late_result_counts_while_nobody_else_has_the_task() -> None:
    world = World().reach(State.QUEUED)
    assert world.task().status.retry_count == 1

    world.say("a", Complete(T, 1, {"summary": "done meanwhile"}))

    assert acks(world) == ["complete"]
    assert world.state() is State.DONE
    assert world.task().status.retry_count == 0
    assert [attempt.end for attempt in world.task().status.attempts] == [End.DONE]


def test_a_late_failure_is_charged_once_not_twice() -> None:
    world = World().reach(State.QUEUED)

    world.say("a", Failed(T, 1, reason="broken"))

    assert acks(world) == ["retried"]
    assert world.task().status.retry_count == 1
    assert [attempt.end for attempt in world.task().status.attempts] == [End.FAILED]


def test_a_late_agent_that_owns_something_else_is_told_to_drop_the_task() -> None:
    world = World().reach(State.QUEUED)
    world.want(Spec("t-2", "Another", priority=0))
    assert world.task("t-2").status.assigned_to == "a"

    world.say("a", Accepted(T, 1))
    assert [m.task for m in world.said_to("a") if isinstance(m, Cancelled)] == [T]

    world.say("a", Recovering(T, 1))
    assert world.said_to("a") == [Reassign(T, 1)]
    assert world.state() is State.QUEUED


def test_a_word_of_somebody_else_is_refused_and_its_work_dropped() -> None:
    world = World().reach(State.WORKING)
    world.add_agents("b")
    world.connect("b")

    world.say("b", Accepted(T, world.generation()))

    assert refusals(world, "b") == ["task_update_failed: not_owner"]
    assert any(isinstance(m, Cancelled) for m in world.said_to("b"))
    world.say("b", Complete(T, world.generation(), {}))
    assert refusals(world, "b") == ["task_complete_failed: not_owner"]
    assert world.state() is State.WORKING


def test_a_word_about_an_unknown_task_says_so() -> None:
    world = World().reach(State.WORKING)
    world.say("a", Complete("t-nothing", 1, {}))
    assert refusals(world) == ["task_complete_failed: not_found"]
    world.say("a", Reported("t-nothing", 1))
    assert world.said_to("a") == [ReportAck("t-nothing", "abort")]


def test_old_clients_need_no_generation_in_the_session_that_was_told() -> None:
    world = World().reach(State.ASSIGNED, features=frozenset())
    world.say("a", Accepted(T))
    assert world.state() is State.WORKING
    world.say("a", Complete(T, None, {"summary": "ok"}))
    assert world.state() is State.DONE


def test_a_result_without_generation_is_refused_after_a_second_assignment() -> None:
    world = World().reach(State.WORKING)
    world.say("a", Failed(T, 1, reason="x"))
    world.advance(11)
    world.say("a", Accepted(T))
    assert world.generation() == 2

    world.say("a", Complete(T, 0, {}))

    assert refusals(world) == ["task_complete_failed: stale_generation"]
    assert world.state() is State.WORKING


def test_a_result_that_says_failed_is_a_failure() -> None:
    world = World().reach(State.WORKING)
    world.say("a", Complete(T, 1, {"status": "failed", "reason": "tests red"}))
    assert acks(world) == ["retried"]
    assert world.task().status.reason == "tests red"


def test_retries_back_off_and_end() -> None:
    world = World(Policy(retries=Retries(max=2, backoff=10, backoff_max=600))).reach(State.WORKING)
    for number, pause in ((1, 10), (2, 20)):
        world.say("a", Failed(T, number, reason="x"))
        assert world.state() is State.QUEUED
        world.advance(pause - 1)
        assert world.state() is State.QUEUED, "the back-off holds"
        world.advance(1)
        world.say("a", Accepted(T, number + 1))
    world.say("a", Failed(T, 3, reason="x"))
    assert acks(world) == ["dead_letter"]
    assert world.state() is State.FAILED
    assert world.task().status.retry_count == 2
    world.say("a", Failed(T, 3, reason="x"))
    assert acks(world) == ["dead_letter"]


def test_another_agent_is_preferred_after_a_failure() -> None:
    world = World().reach(State.WORKING)
    world.add_agents("b")
    world.connect("b")
    world.say("a", Failed(T, 1, reason="x"))
    world.advance(11)
    assert world.task().status.assigned_to == "b"


@pytest.mark.parametrize("kind", [FailureClass.RATE_LIMITED, FailureClass.ENVIRONMENT])
def test_an_agent_that_cannot_work_is_parked_and_spends_no_retry(kind: FailureClass) -> None:
    world = World().reach(State.WORKING)
    world.say("a", Failed(T, 1, kind, "not now", retry_at=world.now.wall + 60_000))
    record = world.core.memory.agents["a"].record
    assert record.parked
    assert record.parked_reason == "not now"
    assert (record.parked_until == PARKED_FOR_GOOD) == (kind is FailureClass.ENVIRONMENT)
    assert world.task().status.retry_count == 0
    assert world.state() is State.QUEUED
    assert world.core.why(world.task(), world.now).code == "agents_parked"

    if kind is FailureClass.RATE_LIMITED:
        world.advance(61)
    else:
        world.say("a", Woken(status="success"))
    assert world.state() is State.ASSIGNED


def test_three_failures_in_a_row_on_different_tasks_park_an_agent() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.want(*(Spec(f"t-{n}", f"Task {n}") for n in range(1, 5)))
    for _ in range(3):
        slot = world.core.memory.agents["a"].live.slot
        world.say("a", Accepted(slot, 1))
        world.say("a", Failed(slot, 1, reason="broken"))
    assert world.core.memory.agents["a"].record.parked
    assert world.core.memory.agents["a"].live.state is AgentState.IDLE
    assert sum(task.status.retry_count for task in world.core.memory.tasks.values()) == 3


def test_busy_costs_nothing_and_the_agent_is_left_alone_for_a_while() -> None:
    world = World().reach(State.ASSIGNED)
    world.say("a", Rejected(T, 1, "busy"))
    assert world.state() is State.QUEUED
    assert world.task().status.excluded == ()
    world.advance(59)
    assert world.state() is State.QUEUED
    world.advance(2)
    assert world.state() is State.ASSIGNED
    assert world.task().status.retry_count == 0


def test_busy_to_a_repeated_assign_of_an_old_client_means_that_it_is_at_work() -> None:
    world = World().reach(State.ASSIGNED, features=frozenset())
    world.disconnect("a")
    world.connect("a", frozenset(), holding=None)
    assert not any(isinstance(m, Assign) for m in world.said_to("a")), "it has 2 s to say what it holds"
    world.advance(2)
    assert [m.task.id for m in world.said_to("a") if isinstance(m, Assign)] == [T]
    world.say("a", Rejected(T, None, "busy"))
    assert world.state() is State.WORKING


def test_a_rejection_excludes_and_goes_to_the_next() -> None:
    world = World()
    world.add_agents("a", "b")
    world.connect("a")
    world.want(Spec(T, "x"))
    world.say("a", Rejected(T, 1, "no access"))
    assert world.state() is State.QUEUED, "the offline agent b counts as fitting"
    world.connect("b")
    assert world.task().status.assigned_to == "b"
    world.say("b", Rejected(T, 2, "no access"))
    assert world.state() is State.REJECTED


def test_a_question_keeps_the_slot_of_an_agent_that_hears_answers() -> None:
    world = World().reach(State.BLOCKED)
    world.want(Spec("t-2", "other"))
    assert world.state("t-2") is State.QUEUED
    world.want(replace(world.specs[T], answer=Answer(1, "left")))
    assert world.state() is State.WORKING
    assert [m.answer for m in world.said_to("a") if isinstance(m, Updated) and m.answer] == ["left"]


def test_an_answer_that_was_lost_with_the_session_is_said_again_to_the_agent_that_goes_on() -> None:
    world = World().reach(State.BLOCKED)
    world.want(replace(world.specs[T], answer=Answer(1, "left")))
    world.disconnect("a")
    world.connect("a", holding=[(T, 1)])
    (again,) = [message for message in world.said_to("a") if isinstance(message, Updated)]
    assert (again.answer, again.changed) == ("left", {"answer_number": 1})


def test_a_second_question_answered_in_the_same_words_is_a_second_answer() -> None:
    world = World().reach(State.BLOCKED)
    for _ in range(2):
        world.say("a", Blocked(T, 1, "which one?"))
        world.handle(Asked(Event.ANSWER, T, PERSON, "left"))
        assert world.state() is State.WORKING
    (last,) = [message for message in world.said_to("a") if isinstance(message, Updated)]
    assert last.changed == {"answer_number": 2}


def test_a_question_of_another_agent_frees_its_slot_and_the_answer_prefers_it() -> None:
    world = World().reach(State.BLOCKED, features=frozenset())
    world.want(Spec("t-2", "other"))
    assert world.task("t-2").status.assigned_to == "a"
    world.want(replace(world.specs[T], answer=Answer(1, "left")))
    assert world.state() is State.QUEUED
    assert world.task().status.preferred == "a"


def test_a_cancelled_task_keeps_its_agent_releasing_until_it_says_so() -> None:
    world = World().reach(State.WORKING)
    world.want(Spec("t-2", "next"))
    world.want(replace(world.specs[T], cancel=True))
    assert world.core.memory.agents["a"].live.state is AgentState.RELEASING
    assert world.state("t-2") is State.QUEUED
    world.say("a", Released(T, 1))
    assert world.task("t-2").status.assigned_to == "a"


def test_an_agent_that_never_releases_is_unresponsive_until_it_speaks() -> None:
    world = World().reach(State.WORKING)
    world.want(replace(world.specs[T], cancel=True), Spec("t-2", "next"))
    world.advance(61)
    assert world.core.memory.agents["a"].live.unresponsive
    assert world.state("t-2") is State.QUEUED
    world.say("a", Released(T, 1))
    assert world.state("t-2") is State.ASSIGNED


def test_holding_the_task_needs_no_second_assign() -> None:
    world = World().reach(State.WORKING)
    world.disconnect("a")
    world.connect("a", holding=[(T, 1)])
    assert world.said_to("a") == [Continue(T, 1)]
    assert world.records() == []


def test_an_owner_that_comes_back_with_empty_hands_gets_the_same_assignment() -> None:
    world = World().reach(State.WORKING)
    world.disconnect("a")
    world.connect("a", holding=[])
    assert [(m.task.id, m.task.status.generation) for m in world.said_to("a")] == [(T, 1)]
    assert world.state() is State.WORKING


def test_holding_what_is_not_its_own_is_called_back_before_new_work() -> None:
    world = World().reach(State.WORKING)
    world.disconnect("a")
    world.want(replace(world.specs[T], cancel=True), Spec("t-2", "next"))
    world.connect("a", holding=[(T, 1)])
    assert any(isinstance(m, Cancelled) for m in world.said_to("a"))
    assert world.state("t-2") is State.QUEUED
    world.say("a", Released(T, 1))
    assert world.state("t-2") is State.ASSIGNED


def test_a_short_gap_costs_nothing_and_an_ended_lease_costs_a_retry_of_working_tasks() -> None:
    world = World().reach(State.WORKING)
    world.disconnect("a")
    world.advance(119)
    assert world.state() is State.WORKING
    world.advance(2)
    assert world.state() is State.QUEUED
    assert world.task().status.retry_count == 1


def test_changes_asked_go_back_to_the_same_agent_with_the_note() -> None:
    world = World().reach(State.IN_REVIEW)
    world.want(replace(world.specs[T], decision=Decision(1, False, "shorter please")))
    assert world.state() is State.ASSIGNED
    assert world.task().status.reviews == (Decision(1, False, "shorter please"),)
    assert world.task().status.attempts[-1].end is End.CHANGES_ASKED
    world.observe()
    assert world.records() == []


def test_progress_of_a_stuck_agent_clears_the_flag() -> None:
    world = World().reach(State.WORKING, features=ALL)
    world.advance(301)
    assert world.core.memory.agents["a"].live.stuck
    world.say("a", Progress(T, 1, 10.0, "at it"))
    assert not world.core.memory.agents["a"].live.stuck
    world.advance(899)
    assert world.state() is State.WORKING


def test_silence_alone_takes_nothing_from_an_agent_that_promised_no_progress() -> None:
    world = World().reach(State.WORKING)
    world.advance(3600)
    assert world.state() is State.WORKING


@pytest.mark.parametrize("state", sorted(FINISHED))
def test_rerun_opens_a_finished_task_with_a_clean_slate(state: State) -> None:
    world = World().reach(state)
    world.agents["a"] = AgentSpec("a", disabled=True)
    world.want(replace(world.specs[T], rerun=1, cancel=False))
    status = world.task().status
    assert (status.status, status.retry_count, status.excluded, status.last_owner) == (State.QUEUED, 0, (), None)
    world.observe()
    assert world.records() == []


def test_a_person_and_a_reader_may_connect_but_get_no_work() -> None:
    world = World()
    world.add_agents(AgentSpec("pat", kind="person"), AgentSpec("eye", role=Role.READER))
    for name in ("pat", "eye"):
        assert world.connect(name) == []
    world.want(Spec(T, "x"))
    assert world.state() is State.QUEUED
    assert world.core.why(world.task(), world.now).code == "no_agent"


def test_a_rate_limit_does_not_shorten_a_parking_for_good() -> None:
    world = World().reach(State.WORKING)
    world.say("a", Failed(T, 1, FailureClass.ENVIRONMENT, "not logged in"))
    world.say("a", Failed(T, 1, FailureClass.RATE_LIMITED, "limit"))
    world.advance(7200)
    assert world.core.memory.agents["a"].record.parked_reason == "not logged in"


# --- words that must not hurt ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_at", "pause_ms"),
    [
        (None, 300_000),
        (0, 300_000),
        (1_800_000, 300_000),  # seconds, or long ago
        (1_800_000_060_000, 60_000),
        (1_800_000_000_000_000, 30 * 86_400_000),  # microseconds
        (10**400, 30 * 86_400_000),
    ],
)
def test_a_rate_limit_parks_for_a_sane_time_whatever_retry_at_says(retry_at: int | None, pause_ms: int) -> None:
    world = World().reach(State.WORKING)
    world.say("a", Failed(T, 1, FailureClass.RATE_LIMITED, "quota", retry_at))
    assert world.core.memory.agents["a"].record.parked_until == world.now.wall + pause_ms
    assert world.core.next_due(world.now) is not None


def test_an_agent_may_be_busy_for_years() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.want(Spec(T, "x"))
    for _ in range(1200):
        world.say("a", Rejected(T, world.generation(), "busy"))
        world.say("a", Progress("t-other", 1))
    assert world.state() is State.ASSIGNED


@pytest.mark.parametrize("state", [State.ASSIGNED, State.WORKING])
def test_an_owner_with_nothing_running_any_more_gives_its_task_back(state: State) -> None:
    """A word on its way while the hub ended the attempt makes it count again; the work is dead all the same."""
    world = World().reach(State.WORKING, features=QUIET)
    world.advance(7_201)
    assert world.state() is State.QUEUED
    if state is State.WORKING:
        world.say("a", Progress(T, 1, 50.0))
        assert world.state() is State.WORKING
    else:
        world.say("a", Released(T, 1))
        world.advance(20)
        assert world.state() is State.ASSIGNED

    world.say("a", Released(T, world.generation()))

    assert world.task().status.attempts[-1].end is End.HANDED_BACK
    assert world.core.memory.agents["a"].live.state is not AgentState.WORKING


def test_a_question_repeated_about_an_older_task_does_not_take_the_slot_of_the_present_one() -> None:
    world = World().reach(State.BLOCKED, features=ALL)
    world.say("a", Released(T, 1))
    world.want(Spec("t-2", "Another"))
    world.say("a", Accepted("t-2", 1))

    world.say("a", Blocked(T, 1, "still: which one?"))
    world.want(replace(world.specs[T], answer=Answer(1, "the left one")))

    assert world.core.memory.agents["a"].live.slot == "t-2"
    assert world.state() is State.QUEUED
    assert world.state("t-2") is State.WORKING


def test_a_late_environment_failure_gives_the_retry_back_and_is_said_once() -> None:
    world = World().reach(State.QUEUED)
    assert world.task().status.retry_count == 1

    world.say("a", Failed(T, 1, FailureClass.ENVIRONMENT, "not logged in"))

    status = world.task().status
    assert (status.retry_count, status.not_before, status.attempts[-1].end) == (0, None, End.ENVIRONMENT)
    world.handle(AgentAsked("resume", "a", PERSON))
    world.say("a", Failed(T, 1, FailureClass.ENVIRONMENT, "not logged in"))
    assert not world.core.memory.agents["a"].record.parked


def test_a_late_rejection_gives_the_retry_back() -> None:
    world = World().reach(State.QUEUED)
    world.add_agents("b")
    world.say("a", Rejected(T, 1, "no such tool"))
    status = world.task().status
    assert (status.retry_count, status.excluded, status.attempts[-1].end) == (0, ("a",), End.REJECTED)


def test_a_failure_said_of_a_result_in_review_is_refused_and_parks_nobody() -> None:
    world = World().reach(State.IN_REVIEW)
    world.say("a", Failed(T, 1, FailureClass.ENVIRONMENT, "not logged in"))
    assert refusals(world) == ["task_fail_failed: invalid_state"]
    assert not world.core.memory.agents["a"].record.parked
    assert world.task().status.orphans == ()


def test_cancelling_a_waiting_task_leaves_its_past_attempts_as_they_were() -> None:
    world = World().reach(State.QUEUED)
    world.handle(Asked(Event.CANCEL, T, PERSON))
    assert [attempt.end for attempt in world.task().status.attempts] == [End.LEASE_ENDED]


# --- agents that go --------------------------------------------------------------------------------------------------


def test_an_agent_that_leaves_gets_back_nothing_that_it_gives_back() -> None:
    world = World().reach(State.WORKING)
    world.say("a", Leaving())
    world.say("a", Released(T, 1, unfinished=True))
    assert world.state() is State.QUEUED
    world.disconnect("a")
    world.connect("a")
    assert world.state() is State.ASSIGNED


def test_what_a_leaving_agent_never_accepted_is_given_to_the_next_at_once() -> None:
    world = World().reach(State.ASSIGNED)
    world.add_agents("b")
    world.connect("b")
    world.say("a", Leaving())
    world.disconnect("a")
    assert world.task().status.assigned_to == "b"
    assert world.task().status.retry_count == 0


def test_a_returning_agent_must_end_everything_that_is_not_its_own_before_it_gets_work() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a", QUIET, holding=[("t-8", 1), ("t-9", 2)])
    world.want(Spec(T, "x"))
    world.say("a", Released("t-9", 2))
    assert world.state() is State.QUEUED
    world.say("a", Released("t-8", 1))
    assert world.state() is State.ASSIGNED


# --- dates, circles, edits --------------------------------------------------------------------------------------------


def test_a_deadline_that_passed_during_a_review_ends_the_task_that_is_sent_back() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.reach(State.IN_REVIEW, deadline=world.now.wall + 10_000)
    world.advance(11)
    assert world.state() is State.IN_REVIEW
    world.handle(Asked(Event.CHANGES_ASKED, T, PERSON, "shorter"))
    world.advance(1)
    assert world.state() is State.FAILED
    assert world.generation() == 1


def test_a_task_whose_deadline_has_passed_is_never_given_out() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.want(Spec(T, "too late", deadline=world.now.wall - 1))
    assert world.state() is State.FAILED
    assert world.said_to("a") == []


def test_a_circle_is_open_as_soon_as_one_of_its_tasks_has_ended() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.want(Spec(T, "one", depends_on=("t-2",)), Spec("t-2", "two", depends_on=(T,)))
    assert world.core.why(world.task(), world.now).code == "cycle"
    world.handle(Asked(Event.DONE_BY_HAND, "t-2", PERSON))
    assert world.state() is State.ASSIGNED


def test_retries_that_were_spent_stay_spent_when_fewer_are_allowed() -> None:
    world = World().reach(State.QUEUED)
    world.want(replace(world.specs[T], max_retries=0))
    status = world.task().status
    assert (status.retry_count, status.max_retries) == (1, 1)


def test_a_hold_written_during_a_review_holds_the_task_that_is_sent_back() -> None:
    world = World().reach(State.IN_REVIEW)
    world.want(replace(world.specs[T], hold=True))
    world.handle(Asked(Event.CHANGES_ASKED, T, PERSON, "shorter"))
    assert world.state() is State.QUEUED
    assert world.core.why(world.task(), world.now).code == "held"


def test_a_rerun_asked_for_directly_takes_the_newest_words_with_it() -> None:
    world = World().reach(State.DONE)
    world.want(replace(world.specs[T], title="Other words"))
    world.handle(Asked(Event.RERUN, T, PERSON))
    assert world.task().spec.title == "Other words"
    assert world.observe() == []


def test_a_sidecar_started_again_and_again_with_the_same_fault_costs_less_and_less() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.want(Spec(T, "x"))
    for _ in range(5):
        if world.state() is State.ASSIGNED:
            world.say("a", Failed(T, world.generation(), FailureClass.ENVIRONMENT, "not logged in"))
        world.disconnect("a")
        world.connect("a")
        world.say("a", Woken(None, "success"))
    assert world.generation() == 4
    world.advance(7_200)
    assert world.generation() == 5


def test_an_agent_that_said_it_leaves_and_stays_gets_work_again() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.say("a", Leaving())
    world.want(Spec(T, "x"))
    assert world.state() is State.QUEUED
    world.advance(301)
    assert world.state() is State.ASSIGNED
