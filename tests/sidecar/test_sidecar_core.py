"""The core's promises, one claim each, without a clock, a socket or a file."""

from typing import Any

import pytest

from coordinator.wire.frames import (
    AgentRestarting,
    Drain,
    Error,
    Held,
    Identified,
    StateReportAck,
    TaskAccepted,
    TaskAck,
    TaskAssign,
    TaskBlocked,
    TaskCancelled,
    TaskComplete,
    TaskContinue,
    TaskFailed,
    TaskProgress,
    TaskReassign,
    TaskRecovering,
    TaskRejected,
    TaskReleased,
    TaskUpdated,
    WakeResult,
)
from sidecar.core import STOPPED_DURING_RUN, Core, Settings
from sidecar.events import (
    Closed,
    Effect,
    Ended,
    Exit,
    Hello,
    Kill,
    Opened,
    Persist,
    Questioned,
    Received,
    RemoveFiles,
    Reported,
    Restored,
    Resume,
    Say,
    Send,
    Start,
    Stop,
    Tick,
    Update,
)
from sidecar.values import Attempt, Blocked, Failure, Key, Parcel, Queue, Stage, Success

#: What a sidecar says once for each start, last of all.
CHECKED = WakeResult(status="success")
DONE = Success({"status": "success", "summary": "did it"})


def assign(task_id: str = "t-1", generation: int = 1) -> TaskAssign:
    return TaskAssign(task_id=task_id, title="a task", generation=generation, assigned_at=0)


class Bench:
    """A core on the bench: events in, and what it asks for, without its lines for people."""

    def __init__(self, queue: Queue | None = None, **settings: Any) -> None:
        self.now = 0.0
        self.core = Core(queue or Queue(), Settings(**settings))
        self.restored = self.do(Restored())

    def do(self, event: Any) -> list[Effect]:
        return [effect for effect in self.core.handle(event, self.now) if not isinstance(effect, Say)]

    def hear(self, frame: Any, refusal: str | None = None) -> list[Effect]:
        return self.do(Received(frame, refusal))

    def online(self) -> list[Effect]:
        self.do(Opened())
        return self.hear(Identified(agent_id="a", session_id="s", server_time=0))

    def later(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.do(Tick())


def frames(effects: list[Effect]) -> list[Any]:
    return [effect.frame for effect in effects if isinstance(effect, Send)]


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect.frame) if isinstance(effect, Send) else type(effect) for effect in effects]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.online()
    return bench


@pytest.fixture
def working(bench: Bench) -> Bench:
    bench.hear(assign())
    return bench


def test_an_assignment_is_durable_before_it_is_accepted_and_started_only_after_that(bench):
    effects = bench.hear(assign())
    assert kinds(effects) == [Persist, TaskAccepted, Persist, Start]
    assert [effect.queue.attempt.stage for effect in effects if isinstance(effect, Persist)] == [
        Stage.ACCEPTED,
        Stage.RUNNING,
    ]


def test_a_result_is_durable_before_it_is_said(working):
    effects = working.do(Ended(Key("t-1", 1), DONE))
    assert kinds(effects) == [Persist, TaskComplete]
    assert effects[0].queue == Queue(None, (Parcel(Key("t-1", 1), frames(effects)[0]),), (Key("t-1", 1),))


def test_a_failure_keeps_class_and_output(working):
    (frame,) = frames(working.do(Ended(Key("t-1", 1), Failure("no quota", "rate_limited", 99, "tail"))))
    assert (frame.error, frame.failure_class, frame.retry_at, frame.output_tail) == (
        "no quota",
        "rate_limited",
        99,
        "tail",
    )


@pytest.mark.parametrize("status", ["complete", "failed", "retried", "dead_letter"])
def test_a_result_is_forgotten_on_its_ack(working, status):
    working.do(Ended(Key("t-1", 1), DONE))
    effects = working.hear(TaskAck(task_id="t-1", status=status, generation=1))
    assert kinds(effects) == [Persist, RemoveFiles]
    assert working.core.queue.parcels == ()


@pytest.mark.parametrize("reason", ["stale_generation", "not_found", "not_owner", "invalid_state"])
@pytest.mark.parametrize("code", ["task_complete_failed", "task_fail_failed"])
def test_a_result_is_forgotten_when_it_can_never_be_accepted(working, code, reason):
    working.do(Ended(Key("t-1", 1), DONE))
    working.hear(Error(error=f"{code}: {reason}", task_id="t-1", generation=1))
    assert working.core.queue.parcels == ()


@pytest.mark.parametrize(
    "frame",
    [
        Error(error="task_complete_failed: hub_readonly", task_id="t-1", generation=1),
        Error(error="validation_failed", task_id="t-1"),
        Error(error="task_complete_failed: stale_generation", task_id="t-2", generation=1),
        Error(error="task_complete_failed: stale_generation", task_id="t-1", generation=7),
        Error(error="rate_limited"),
        TaskAck(task_id="t-1", status="accepted", generation=1),
        TaskAck(task_id="t-2", status="complete", generation=1),
        TaskAck(task_id="t-1", status="complete", generation=2),
        TaskReassign(task_id="t-1"),
        TaskCancelled(task_id="t-1", generation=1, timestamp=0),
    ],
)
def test_nothing_else_makes_it_forget_a_result(working, frame):
    working.do(Ended(Key("t-1", 1), DONE))
    working.hear(frame)
    assert [parcel.key for parcel in working.core.queue.parcels] == [("t-1", 1)]


def test_an_answer_without_a_generation_means_the_oldest_result_said_in_this_session(working):
    working.do(Ended(Key("t-1", 1), DONE))
    working.hear(assign(generation=2))
    working.do(Ended(Key("t-1", 2), DONE))
    working.hear(TaskAck(task_id="t-1", status="complete"))
    assert [parcel.key.generation for parcel in working.core.queue.parcels] == [2]


def test_results_are_said_again_every_30_seconds_and_after_every_identified(working):
    working.do(Ended(Key("t-1", 1), DONE))
    assert working.later(29.9) == []
    assert kinds(working.later(0.2)) == [TaskComplete]
    working.do(Closed())
    assert working.later(60) == []
    assert kinds(working.online()) == [TaskComplete]


def test_a_result_that_came_while_offline_is_kept_and_said_on_return(working):
    working.do(Closed())
    assert kinds(working.do(Ended(Key("t-1", 1), DONE))) == [Persist]
    assert kinds(working.online()) == [TaskComplete]


def test_the_same_assignment_again_is_accepted_and_starts_nothing(working):
    assert kinds(working.hear(assign())) == [TaskAccepted]


def test_the_same_assignment_again_gets_its_result_when_that_is_on_its_way(working):
    working.do(Ended(Key("t-1", 1), DONE))
    assert kinds(working.hear(assign())) == [TaskComplete]


def test_an_assignment_that_was_answered_for_never_runs_again(working):
    working.do(Ended(Key("t-1", 1), DONE))
    working.hear(TaskAck(task_id="t-1", status="complete", generation=1))
    (frame,) = frames(working.hear(assign()))
    assert frame == TaskReleased(task_id="t-1", generation=1, unfinished=True)


def test_another_task_while_busy_is_rejected_as_busy(working):
    (frame,) = frames(working.hear(assign("t-2")))
    assert frame == TaskRejected(task_id="t-2", generation=1, reason="busy")


def test_results_on_their_way_do_not_hold_the_slot(working):
    working.do(Ended(Key("t-1", 1), DONE))
    assert Start in kinds(working.hear(assign("t-2")))


def test_a_new_generation_begins_only_when_the_old_one_is_dead(working):
    assert kinds(working.hear(assign(generation=2))) == [Kill]
    assert working.hear(assign(generation=2)) == []
    effects = working.do(Ended(Key("t-1", 1), None))
    assert [effect.assignment.generation for effect in effects if isinstance(effect, Start)] == [2]
    assert TaskReleased not in kinds(effects)


def test_an_older_generation_changes_nothing(working):
    working.hear(assign(generation=3))
    working.do(Ended(Key("t-1", 1), None))
    assert working.hear(assign(generation=2)) == []


@pytest.mark.parametrize(
    ("frame", "unfinished"),
    [
        (TaskCancelled(task_id="t-1", generation=1, reason="changed my mind", timestamp=0), False),
        (TaskCancelled(task_id="t-1", generation=2, timestamp=0), False),
        (TaskReassign(task_id="t-1"), True),
        (StateReportAck(task_id="t-1", action="abort"), True),
        (Error(error="task_update_failed: not_owner", task_id="t-1", generation=1), False),
    ],
)
def test_work_taken_away_is_killed_and_then_released(working, frame, unfinished):
    assert kinds(working.hear(frame)) == [Kill]
    assert working.hear(frame) == []
    effects = working.do(Ended(Key("t-1", 1), None))
    assert frames(effects) == [TaskReleased(task_id="t-1", generation=1, unfinished=unfinished)]
    assert working.core.queue.attempt is None


@pytest.mark.parametrize(
    "frame",
    [
        TaskContinue(task_id="t-1", generation=1),
        StateReportAck(task_id="t-1", action="continue"),
        TaskReassign(task_id="t-2"),
        TaskReassign(task_id="t-1", generation=7),
        Error(error="task_update_failed: stale_generation", task_id="t-1"),
        TaskAck(task_id="t-1", status="accepted"),
    ],
)
def test_words_about_something_else_leave_the_work_alone(working, frame):
    assert working.hear(frame) == []
    assert working.core.working_on == ("t-1", 1)


def test_a_cancel_of_an_older_generation_is_answered_and_kills_nothing(bench):
    bench.hear(assign(generation=2))
    assert frames(bench.hear(TaskCancelled(task_id="t-1", generation=1, timestamp=0))) == [
        TaskReleased(task_id="t-1", generation=1)
    ]


def test_a_result_that_was_complete_when_the_work_was_cancelled_is_still_delivered(working):
    working.hear(TaskCancelled(task_id="t-1", generation=1, timestamp=0))
    assert kinds(working.do(Ended(Key("t-1", 1), DONE))) == [Persist, TaskComplete, TaskReleased]


def test_a_runtime_that_refuses_is_a_rejection_with_its_reason(bench):
    assert frames(bench.hear(assign(), refusal="not my kind")) == [
        TaskRejected(task_id="t-1", generation=1, reason="not my kind")
    ]


def test_a_task_id_that_is_no_file_name_is_rejected(bench):
    assert kinds(bench.hear(assign("../x"))) == [TaskRejected]


def test_drain_takes_no_new_work_until_the_next_session(bench):
    bench.hear(Drain(reason="maintenance"))
    assert kinds(bench.hear(assign())) == [TaskRejected]
    bench.do(Closed())
    bench.online()
    assert Start in kinds(bench.hear(assign()))


def test_a_change_of_the_task_in_hand_is_kept_beside_it(working):
    frame = TaskUpdated(task_id="t-1", generation=1, answer="42")
    assert working.hear(frame) == [Update(Key("t-1", 1), frame)]
    assert working.hear(TaskUpdated(task_id="t-1", generation=9)) == []


def test_a_living_child_is_reported_every_minute(working):
    assert kinds(working.later(60)) == [TaskProgress]
    assert working.later(59) == []
    assert kinds(working.later(1)) == [TaskProgress]


def test_identify_names_the_newest_generation_of_everything_held(working):
    working.do(Ended(Key("t-1", 1), DONE))
    working.hear(assign(generation=2))
    working.hear(assign("t-3"))
    working.do(Closed())
    assert working.do(Opened()) == [Hello((Held(task_id="t-1", generation=2),))]


def test_an_acceptance_that_was_not_acked_is_said_again_in_the_next_session(working):
    working.do(Closed())
    assert kinds(working.online()) == [TaskAccepted]
    working.hear(TaskAck(task_id="t-1", status="accepted", generation=1))
    working.do(Closed())
    assert working.online() == []


def test_a_result_is_delivered_days_later_also_by_another_process(working):
    working.do(Closed())
    working.do(Ended(Key("t-1", 1), DONE))
    working.later(3 * 86_400)
    again = Bench(working.core.queue)
    again.later(4 * 86_400)
    assert TaskComplete in kinds(again.online())


def test_a_sleep_of_hours_is_caught_up_with_by_one_word_each(working):
    working.do(Questioned(Key("t-1", 1), "which one?"))
    assert kinds(working.later(8 * 3_600)) == [TaskProgress, TaskBlocked]
    assert working.later(1) == []


def test_a_clock_that_stands_still_or_goes_back_sends_nothing_twice(working):
    working.later(60)
    assert working.later(0) == []
    assert working.later(-30) == []
    assert kinds(working.later(90)) == [TaskProgress]


# --- what the agent says --------------------------------------------------------------------------------------------

T1 = Key("t-1", 1)
WHICH = TaskBlocked(task_id="t-1", generation=1, question="which one?")
BLOCKED = TaskAck(task_id="t-1", status="blocked", generation=1)


def test_progress_is_passed_on_at_once_and_said_again_with_every_sign_of_life(working):
    (frame,) = frames(working.do(Reported(T1, 40, "half the table", 7)))
    assert (frame.progress, frame.note, frame.tokens_used) == (40, "half the table", 7)
    (frame,) = frames(working.do(Reported(T1, note="the other half")))
    assert (frame.progress, frame.note, frame.tokens_used) == (40, "the other half", 7)
    assert frames(working.later(60)) == [frame]
    working.do(Closed())
    assert frame in frames(working.online())


def test_a_question_is_said_until_the_hub_has_it_and_the_work_goes_on(working):
    assert frames(working.do(Questioned(T1, "which one?"))) == [WHICH]
    assert frames(working.later(30)) == [WHICH]
    working.do(Closed())
    assert WHICH in frames(working.online())
    assert working.hear(BLOCKED) == []
    assert WHICH not in frames(working.later(300))
    assert working.core.working_on == T1


def test_a_question_that_is_answered_is_not_said_again(working):
    working.do(Questioned(T1, "which one?"))
    working.do(Questioned(T1, None))
    assert WHICH not in frames(working.later(30))


@pytest.mark.parametrize("event", [Reported(Key("t-1", 2), 40), Questioned(Key("t-2", 1), "which one?")])
def test_words_of_another_attempt_are_not_passed_on(working, event):
    assert working.do(event) == []


def test_a_run_that_ends_with_a_question_frees_the_slot_once_the_hub_has_the_question(working):
    assert kinds(working.do(Ended(T1, Blocked("which one?")))) == [Persist, TaskBlocked]
    assert kinds(working.later(30)) == [TaskBlocked]
    effects = working.hear(BLOCKED)
    assert kinds(effects) == [Persist, RemoveFiles, TaskReleased]
    assert frames(effects) == [TaskReleased(task_id="t-1", generation=1)]
    assert working.core.queue.parcels == ()


def test_a_question_outlives_a_crash_and_is_named_as_held(working):
    working.do(Ended(T1, Blocked("which one?")))
    again = Bench(working.core.queue)
    assert again.do(Opened()) == [Hello((Held(task_id="t-1", generation=1),))]
    assert WHICH in frames(again.hear(Identified(agent_id="a", session_id="s", server_time=0)))


def test_an_answer_to_a_run_that_has_ended_hands_the_task_back_for_another_attempt(working):
    working.do(Ended(T1, Blocked("which one?")))
    effects = working.hear(TaskUpdated(task_id="t-1", generation=1, answer="the left one"))
    assert frames(effects) == [TaskReleased(task_id="t-1", generation=1, unfinished=True)]
    working.hear(TaskAck(task_id="t-1", status="rejected", generation=1))
    assert working.core.queue.parcels == ()


@pytest.mark.parametrize(
    "frame",
    [
        TaskCancelled(task_id="t-1", generation=1, timestamp=0),
        TaskReassign(task_id="t-1"),
        Error(error="task_update_failed: stale_generation", task_id="t-1", generation=1),
    ],
)
def test_a_question_that_nobody_waits_with_any_more_is_dropped(working, frame):
    working.do(Ended(T1, Blocked("which one?")))
    working.hear(frame)
    assert working.core.queue.parcels == ()


def test_a_question_of_work_that_was_taken_away_is_not_asked(working):
    working.hear(TaskCancelled(task_id="t-1", generation=1, timestamp=0))
    assert kinds(working.do(Ended(T1, Blocked("which one?")))) == [Persist, RemoveFiles, TaskReleased]


def test_a_sidecar_that_stops_asks_instead_of_handing_back_what_waits_for_an_answer(working):
    working.do(Stop())
    working.do(Stop())
    assert kinds(working.do(Ended(T1, Blocked("which one?")))) == [Persist, TaskBlocked]
    assert working.hear(BLOCKED)[-1] == Exit(0)


# --- after a crash ---------------------------------------------------------------------------------------------------


def crashed(stage: Stage) -> Queue:
    return Queue(attempt=Attempt(stage, assign()))


def test_a_run_cut_off_by_a_crash_is_reported_and_not_run_again():
    bench = Bench(crashed(Stage.RUNNING))
    assert kinds(bench.restored) == [Persist]
    frame, last = frames(bench.online())
    assert last == CHECKED
    assert isinstance(frame, TaskFailed)
    assert (frame.error, frame.failure_class) == (STOPPED_DURING_RUN, "error")


def test_a_result_found_after_a_crash_is_delivered():
    core = Core(crashed(Stage.RUNNING), Settings())
    core.handle(Restored(DONE), 0.0)
    assert [type(parcel.frame) for parcel in core.queue.parcels] == [TaskComplete]


@pytest.mark.parametrize("answer", [TaskContinue(task_id="t-1", generation=1), assign()])
def test_what_was_accepted_but_not_started_starts_once_the_hub_says_that_it_is_still_ours(answer):
    bench = Bench(crashed(Stage.ACCEPTED))
    assert frames(bench.online()) == [TaskRecovering(task_id="t-1", generation=1, last_status="accepted"), CHECKED]
    assert kinds(bench.hear(answer)) == [Persist, Start]
    assert Start not in kinds(bench.hear(answer))


def test_what_was_accepted_but_not_started_is_dropped_when_it_is_no_longer_ours():
    bench = Bench(crashed(Stage.ACCEPTED))
    bench.online()
    assert Start not in kinds(bench.hear(TaskReassign(task_id="t-1")))
    assert bench.core.queue.attempt is None


def test_a_new_generation_replaces_what_was_never_started():
    bench = Bench(crashed(Stage.ACCEPTED))
    bench.online()
    effects = bench.hear(assign(generation=2))
    assert [effect.assignment.generation for effect in effects if isinstance(effect, Start)] == [2]


# --- stopping --------------------------------------------------------------------------------------------------------


def test_an_idle_sidecar_stops_at_once(bench):
    assert bench.do(Stop()) == [Send(AgentRestarting()), Exit(0)]


def test_a_stopping_sidecar_lets_the_work_finish_and_waits_for_the_ack(working):
    assert working.do(Stop()) == [Send(AgentRestarting())]
    assert kinds(working.do(Ended(Key("t-1", 1), DONE))) == [Persist, TaskComplete]
    assert working.hear(TaskAck(task_id="t-1", status="complete", generation=1))[-1] == Exit(0)


def test_work_that_does_not_finish_in_time_is_handed_back(working):
    working.do(Stop())
    assert kinds(working.later(10)) == [Kill]
    effects = working.do(Ended(Key("t-1", 1), None))
    assert kinds(effects) == [Persist, TaskReleased]
    assert frames(effects)[0].unfinished
    assert working.hear(TaskAck(task_id="t-1", status="rejected", generation=1))[-1] == Exit(0)


def test_work_that_finishes_in_time_leaves_no_instant_behind(working):
    """An instant that nobody clears would make the daemon spin until it exits."""
    working.do(Stop())
    working.do(Ended(Key("t-1", 1), DONE))
    assert working.later(2.9) == []
    assert working.core.next_due() > working.now
    assert kinds(working.later(0.2)) == [Exit]


def test_what_was_never_started_is_handed_back_in_one_word():
    bench = Bench(Queue(attempt=Attempt(Stage.ACCEPTED, assign())))
    bench.now = 1000.0
    bench.online()
    effects = bench.do(Stop())
    assert kinds(effects) == [AgentRestarting, Persist, TaskReleased]


def test_the_wake_check_is_passed_once_for_each_start_and_after_what_was_still_to_be_said(working):
    """A held "not logged in" must not park the agent again that this start has just asked work for."""
    working.do(Closed())
    working.do(Ended(Key("t-1", 1), Failure("not logged in", "environment")))
    assert kinds(working.online()) == [TaskFailed]
    assert kinds(Bench(working.core.queue).online()) == [TaskFailed, WakeResult]


def test_a_sidecar_that_stops_says_so_again_in_each_session(working):
    working.do(Stop())
    working.do(Closed())
    assert kinds(working.online())[0] is AgentRestarting


def test_a_sidecar_for_one_task_asks_for_no_second_one():
    bench = Bench(once=True)
    bench.online()
    assert kinds(bench.hear(assign())) == [Persist, TaskAccepted, AgentRestarting, Persist, Start]


def test_a_second_stop_hands_back_at_once(working):
    working.do(Stop())
    assert kinds(working.do(Stop())) == [Kill]


def test_a_hand_back_without_an_answer_is_kept_for_the_next_start(working):
    working.do(Closed())
    working.do(Stop())
    working.do(Stop())
    assert working.do(Ended(Key("t-1", 1), None))[-1] == Exit(0)
    again = Bench(working.core.queue)
    assert frames(again.online()) == [TaskReleased(task_id="t-1", generation=1, unfinished=True), CHECKED]
    assert kinds(again.hear(assign())) == [TaskReleased]


def test_a_hand_back_that_nobody_answers_is_forgotten_after_three_tries(working):
    working.do(Stop())
    working.do(Stop())
    working.do(Ended(Key("t-1", 1), None))
    again = Bench(working.core.queue)
    again.online()
    said = [kinds(again.later(30)) for _ in range(4)]
    assert said == [[TaskReleased], [TaskReleased], [Persist], []]


def test_a_stopping_sidecar_takes_nothing_new(working):
    working.do(Stop())
    assert kinds(working.hear(assign("t-2"))) == [TaskRejected]


def test_once_ends_after_the_first_result_is_answered_for():
    bench = Bench(once=True)
    bench.online()
    bench.hear(assign())
    assert kinds(bench.hear(assign("t-2"))) == [TaskRejected]
    assert kinds(bench.do(Ended(Key("t-1", 1), DONE))) == [Persist, TaskComplete]
    assert bench.hear(TaskAck(task_id="t-1", status="complete", generation=1))[-1] == Exit(0)


# --- agents that are no children of the sidecar ----------------------------------------------------------------------


def test_a_woken_agent_at_work_is_waited_for_after_a_crash_and_never_woken_as_new():
    fresh = Bench(Queue(Attempt(Stage.ACCEPTED, assign())), outlives=True)
    assert Resume not in kinds(fresh.restored)
    core = Core(Queue(Attempt(Stage.RUNNING, assign())), Settings(outlives=True))
    effects = [effect for effect in core.handle(Restored(goes_on=True), 0) if not isinstance(effect, Say)]
    assert effects == [Resume(assign())]
    assert core.working_on == Key("t-1", 1)


def test_what_a_woken_agent_reported_meanwhile_ends_the_attempt_at_the_next_start():
    core = Core(Queue(Attempt(Stage.RUNNING, assign())), Settings(outlives=True))
    effects = core.handle(Restored(DONE, goes_on=True), 0)
    assert Resume not in kinds(effects)
    assert [parcel.frame.type for parcel in core.queue.parcels] == ["task_complete"]


def test_a_stopping_sidecar_leaves_a_woken_agent_its_work():
    bench = Bench(outlives=True)
    bench.online()
    bench.hear(assign())
    effects = bench.do(Stop())
    assert kinds(effects) == [AgentRestarting, Exit]
    assert bench.core.queue.attempt == Attempt(Stage.RUNNING, assign())


def test_a_woken_agent_that_was_cancelled_is_not_left_its_work():
    bench = Bench(outlives=True)
    bench.online()
    bench.hear(assign())
    bench.hear(TaskCancelled(task_id="t-1", generation=1, timestamp=0))
    assert Exit not in kinds(bench.do(Stop()))
    effects = bench.do(Ended(Key("t-1", 1), None))
    assert TaskReleased in kinds(effects)
