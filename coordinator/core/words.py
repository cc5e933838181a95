"""What an agent's word does: does it count, what does it change, what is the answer (PROTOCOL 1.4).

Every word is bound to the owner as well as to the generation. ``_standing`` says how the speaker stands to the task;
one function per word does the rest. Sessions and sockets are not known here.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, assert_never

from coordinator.core.acting import Step
from coordinator.core.agent import PARKED_FOR_GOOD
from coordinator.core.events import (
    Accepted,
    Ack,
    AckStatus,
    Actor,
    Blocked,
    Cancelled,
    Complete,
    Continue,
    Failed,
    FailureClass,
    Leaving,
    Orphan,
    Progress,
    Reassign,
    Recovering,
    Refused,
    Rejected,
    Released,
    ReportAck,
    Reported,
    Woken,
    Word,
    agent_actor,
)
from coordinator.core.machine import AgentEvent, AgentState, Event, State
from coordinator.core.scheduler import fitting_left
from coordinator.core.task import Attempt, End, Task

#: How long an agent is parked after ``rate_limited`` without a ``retry_at`` to come, and at most, in ms.
RATE_LIMIT_PAUSE_MS = 300_000
RATE_LIMIT_PAUSE_MOST_MS = 30 * 86_400_000
#: How long an agent that said busy is left alone: 60 s doubling to 10 min.
BUSY_PAUSE = 60.0
BUSY_PAUSE_MAX = 600.0
#: So many failures in a row on different tasks that nobody else failed park an agent.
FAILURES_TO_PARK = 3
#: So many passed wake checks in a row end parking at once; each further one after a pause of 60 s doubling to 1 h.
WAKES_AT_ONCE = 3
WAKE_PAUSE = 60.0
WAKE_PAUSE_MAX = 3_600.0
#: One that said that it leaves, and is still there after so long (seconds), has changed its mind.
LEAVING_WITHIN = 300.0
#: The sidecar's own word for an attempt that died with it; no fault of its agent (DECISIONS 13).
SIDECAR_STOPPED = "sidecar stopped during the run"

_FAILED_ENDS = frozenset({End.FAILED, End.RATE_LIMITED, End.ENVIRONMENT, End.BUDGET})
_DONE_ENDS = frozenset({End.DONE, End.CHANGES_ASKED})


class Standing(Enum):
    """How a speaker stands to a task."""

    OWNER = auto()
    LATE = auto()
    PAST = auto()
    STALE = auto()
    FOREIGN = auto()
    UNKNOWN = auto()

    @property
    def counts(self) -> bool:
        return self in (Standing.OWNER, Standing.LATE)

    @property
    def refusal(self) -> str:
        """The R of ``task_X_failed: R`` for a word that does not count."""
        return {Standing.FOREIGN: "not_owner", Standing.UNKNOWN: "not_found"}.get(self, "stale_generation")


@dataclass(frozen=True, slots=True)
class _Speech:
    """A word in its context: who speaks, of which task, and how they stand to each other."""

    agent: str
    by: Actor
    task: Task | None
    standing: Standing
    attempt: Attempt | None
    generation: int | None

    @property
    def known(self) -> Task:
        """The task, where ``standing`` says that there is one."""
        if self.task is None:
            raise AssertionError("a word about an unknown task counts")
        return self.task


def hear(step: Step, agent_id: str, word: Word) -> None:
    """Act on one word of a connected, authenticated agent."""
    live = step.memory.agents[agent_id].live
    if not isinstance(word, Woken | Leaving):
        if live.unresponsive:
            step.memory.set_live(agent_id, unresponsive=False)
        if live.busy and not (isinstance(word, Rejected) and word.reason == "busy"):
            step.memory.mono.clear(("busy", agent_id))
            step.memory.set_live(agent_id, busy=False)
    match word:
        case Accepted():
            _accepted(step, _speech(step, agent_id, word.task, word.generation), word)
        case Rejected():
            _rejected(step, _speech(step, agent_id, word.task, word.generation), word)
        case Progress():
            _progress(step, _speech(step, agent_id, word.task, word.generation), word)
        case Complete():
            _complete(step, _speech(step, agent_id, word.task, _fate(step, agent_id, word)), word)
        case Failed():
            _failed(step, _speech(step, agent_id, word.task, _fate(step, agent_id, word)), word)
        case Blocked():
            _blocked(step, _speech(step, agent_id, word.task, word.generation), word)
        case Released():
            _released(step, _speech(step, agent_id, word.task, word.generation), word)
        case Recovering():
            _recovering(step, _speech(step, agent_id, word.task, _recovered(step, agent_id, word)), word)
        case Reported():
            _reported(step, _speech(step, agent_id, word.task, word.generation), word)
        case Woken():
            _woken(step, agent_id, word)
        case Leaving():
            step.memory.set_live(agent_id, leaving=True)
            step.memory.mono.set(("leaving", agent_id), step.now.mono + LEAVING_WITHIN)
        case _:
            assert_never(word)


# --- standing --------------------------------------------------------------------------------------------------------


def _fate(step: Step, agent_id: str, word: Complete | Failed) -> int | None:
    """Read a missing generation of a result: good only when the task was assigned exactly once, to this agent."""
    if word.generation:
        return word.generation
    task = step.memory.tasks.get(word.task)
    once = (
        task is not None
        and task.status.generation == 1
        and agent_id in (task.status.assigned_to, task.status.last_owner)
    )
    return 1 if once else -1


def _recovered(step: Step, agent_id: str, word: Recovering) -> int | None:
    """Read a missing generation of ``task_recovering``: the current one when this very agent still owns the task."""
    task = step.memory.tasks.get(word.task)
    if word.generation is None and task is not None and task.status.assigned_to == agent_id:
        return task.status.generation
    return -1 if word.generation is None else word.generation


def _speech(step: Step, agent_id: str, task_id: str, generation: int | None) -> _Speech:
    task = step.memory.tasks.get(task_id)
    attempt: Attempt | None = None
    if task is None:
        standing = Standing.UNKNOWN
    else:
        status = task.status
        if generation is None:
            told = (task_id, status.generation) in step.memory.agents[agent_id].live.told
            generation = status.generation if told else -1
        attempt = next((a for a in status.attempts if (a.generation, a.agent) == (generation, agent_id)), None)
        current = generation == status.generation
        if current and status.assigned_to == agent_id:
            standing = Standing.OWNER
        elif current and status.last_owner == agent_id and task.state is State.QUEUED:
            standing = Standing.LATE
        elif attempt is not None:
            standing = Standing.PAST
        else:
            standing = Standing.FOREIGN if current else Standing.STALE
    spoken_of = generation if generation is not None and generation > 0 else None
    return _Speech(agent_id, agent_actor(agent_id), task, standing, attempt, spoken_of)


def _may_return(step: Step, agent_id: str) -> bool:
    """Tell whether a late agent may take its task up again: enabled, and owner of nothing else."""
    return step.memory.agents[agent_id].enabled and not step.memory.owned_by(agent_id)


def _drop(step: Step, speech: _Speech, task_id: str, generation: int | None, reason: str) -> None:
    """Tell the speaker to drop work that is not its own."""
    known = generation if generation is not None else (speech.task.status.generation if speech.task else 0)
    step.send(speech.agent, Cancelled(task_id, known, reason))


def _refuse_update(step: Step, speech: _Speech, task_id: str, generation: int | None) -> None:
    """Answer accepted, progress, blocked, rejected that do not count (DESIGN 4, notes under the table)."""
    invalid = _in_review_now(speech)
    code = "invalid_state" if invalid else speech.standing.refusal
    step.send(speech.agent, Refused(f"task_update_failed: {code}", _explain(speech, code), task_id, speech.generation))
    if not invalid:
        _drop(step, speech, task_id, generation, f"not yours any more ({code})")


def _in_review_now(speech: _Speech) -> bool:
    """Tell whether the attempt spoken of has ended with the result that a person is looking at."""
    task, attempt = speech.task, speech.attempt
    under_review = task is not None and task.state is State.IN_REVIEW and speech.standing is Standing.PAST
    return under_review and task is not None and attempt is not None and attempt.generation == task.status.generation


def _ack(step: Step, speech: _Speech, task_id: str, status: AckStatus) -> None:
    step.send(speech.agent, Ack(task_id, status, speech.generation))


def _explain(speech: _Speech, code: str) -> str:
    if speech.task is None:
        return "there is no such task; drop it"
    status = speech.task.status
    return f"the task is {status.status}, generation {status.generation}: {code.replace('_', ' ')}"


# --- words -----------------------------------------------------------------------------------------------------------


def _take_up(step: Step, speech: _Speech, event: Event, **cause: Any) -> Task | None:
    """Let a word that means "I am at it" happen; None when a late speaker may not come back."""
    if speech.standing is Standing.LATE and not _may_return(step, speech.agent):
        return None
    before = speech.known
    after = step.apply(event, before, speech.by, agent=speech.agent, **cause)
    if after is None:
        return None
    step.tell_of(speech.agent, after)
    if after.state is State.WORKING and before.state is not State.WORKING:
        step.take_slot(speech.agent, after, AgentEvent.START)
    return after


def _accepted(step: Step, speech: _Speech, word: Accepted) -> None:
    again = speech.standing is Standing.PAST and _done_now(speech)
    if again or (speech.standing.counts and _take_up(step, speech, Event.ACCEPTED) is not None):
        _ack(step, speech, word.task, "accepted")
    elif speech.standing is Standing.LATE:
        _drop(step, speech, word.task, word.generation, "you own another task")
    else:
        _refuse_update(step, speech, word.task, word.generation)


def _done_now(speech: _Speech) -> bool:
    task, attempt = speech.task, speech.attempt
    return (
        task is not None
        and attempt is not None
        and task.state is State.DONE
        and attempt.generation == task.status.generation
        and attempt.end is End.DONE
    )


def _rejected(step: Step, speech: _Speech, word: Rejected) -> None:
    if speech.attempt is not None and speech.attempt.end in (End.REJECTED, End.BUSY):
        _ack(step, speech, word.task, "rejected")
    elif not speech.standing.counts:
        _refuse_update(step, speech, word.task, word.generation)
    elif word.reason == "busy":
        _busy(step, speech, word)
    else:
        task = speech.known
        step.apply(
            Event.REJECTED,
            task,
            speech.by,
            agent=speech.agent,
            end=End.REJECTED,
            reason=word.reason,
            own_word=True,
            fitting_left=fitting_left(step.memory, task, speech.agent),
        )
        _ack(step, speech, word.task, "rejected")


def _busy(step: Step, speech: _Speech, word: Rejected) -> None:
    task, agent = speech.known, step.memory.agents[speech.agent]
    old_client = not agent.features and (agent.live.session is None or agent.live.session.holding is None)
    repeated = agent.live.slot == task.id and agent.live.state is AgentState.ASSIGNED and agent.live.resent
    after = step.apply(
        Event.BUSY,
        task,
        speech.by,
        agent=speech.agent,
        end=End.BUSY,
        reason="busy",
        own_word=True,
        holds_it=old_client and repeated,
    )
    if after is not None and after.state is State.WORKING and task.state is State.ASSIGNED:
        step.take_slot(speech.agent, after, AgentEvent.START)
    elif after is not None and after.status.assigned_to is None:
        count = agent.live.busy_count + 1
        pause = min(BUSY_PAUSE_MAX, BUSY_PAUSE * 2 ** min(count - 1, 10))
        step.memory.set_live(speech.agent, busy=True, busy_count=count)
        step.memory.mono.set(("busy", speech.agent), step.now.mono + pause)
    _ack(step, speech, word.task, "rejected")


def _progress(step: Step, speech: _Speech, word: Progress) -> None:
    if not speech.standing.counts:
        _refuse_update(step, speech, word.task, word.generation)
        return
    after = _take_up(step, speech, Event.PROGRESS)
    if after is None:
        _drop(step, speech, word.task, word.generation, "you own another task")
        return
    step.expect_progress(after)
    step.memory.set_live(speech.agent, progress=word.progress, note=word.note)


def failed_by_its_own_words(result: Any) -> str | None:
    """Return the reason when a result says that it failed (PROTOCOL 1.4), None when it is a success."""
    if not isinstance(result, dict):
        return None
    report = result.get("verification_report")
    if isinstance(report, dict) and report.get("status") == "fail":
        return "the verification report says fail"
    if result.get("status") in ("failed", "failure", "error"):
        return str(result.get("reason") or result.get("error") or "the result says failed")
    return None


def _complete(step: Step, speech: _Speech, word: Complete) -> None:
    reason = failed_by_its_own_words(word.result)
    if reason is not None:
        _failed(step, speech, Failed(word.task, word.generation, reason=reason))
    elif speech.standing.counts:
        task = speech.known
        result = dict(word.result)
        if word.tokens is not None:
            result["tokens_used"] = word.tokens
        policy, spec = step.memory.policy, task.spec
        review = policy.wants_review(spec.review, policy.repo_of(spec.repo, spec.kind))
        step.apply(
            Event.COMPLETE,
            task,
            speech.by,
            agent=speech.agent,
            end=End.DONE,
            result=result,
            own_word=True,
            review=review,
        )
        live = step.memory.agents[speech.agent].live
        tokens = result.get("tokens_used")
        step.memory.set_live(
            speech.agent,
            done_session=live.done_session + 1,
            tokens_session=live.tokens_session + (tokens if isinstance(tokens, int) else 0),
            failures=(),
            busy_count=0,
            wakes=0,
        )
        _ack(step, speech, word.task, "complete")
    elif speech.attempt is not None and speech.attempt.end in _DONE_ENDS:
        _ack(step, speech, word.task, "complete")
    else:
        _orphan(step, speech, word.task, {"status": "complete", **word.result}, "complete")


def _orphan(step: Step, speech: _Speech, task_id: str, result: dict[str, Any], word: str) -> None:
    """Refuse a stale result, and keep it for people when the speaker really had that attempt (S7)."""
    task, attempt = speech.task, speech.attempt
    if task is not None and attempt is not None and attempt.generation not in task.status.orphans:
        step.orphan(task, speech.by, Orphan(attempt.generation, speech.agent, result))
    code = "stale_generation" if speech.standing is Standing.PAST else speech.standing.refusal
    step.send(speech.agent, Refused(f"task_{word}_failed: {code}", _explain(speech, code), task_id, speech.generation))


def _failed(step: Step, speech: _Speech, word: Failed) -> None:
    if speech.standing.counts:
        _fail_attempt(step, speech, word)
    elif speech.attempt is not None and speech.attempt.end in _FAILED_ENDS:
        last = speech.known.status.attempts[-1] is speech.attempt
        ended = last and speech.known.state in (State.FAILED, State.CANCELLED)
        _ack(step, speech, word.task, "dead_letter" if ended else "retried")
    elif _in_review_now(speech):
        code = "task_fail_failed: invalid_state"
        step.send(speech.agent, Refused(code, _explain(speech, "invalid_state"), word.task, speech.generation))
    else:
        _orphan(
            step, speech, word.task, {"status": "failed", "error": word.reason, "output_tail": word.output_tail}, "fail"
        )
        if speech.standing is Standing.PAST and _parking(word.kind):
            _park(step, speech.agent, word)


def _parking(kind: FailureClass) -> bool:
    return kind in (FailureClass.RATE_LIMITED, FailureClass.ENVIRONMENT)


def _fail_attempt(step: Step, speech: _Speech, word: Failed) -> None:
    if _parking(word.kind):
        event, end = Event.PARKING, End(word.kind.value)
    elif word.kind is FailureClass.BUDGET:
        event, end = Event.BUDGET, End.BUDGET
    else:
        event, end = Event.FAILED, End.FAILED
    before = speech.known
    after = step.apply(
        event,
        before,
        speech.by,
        what=str(word.kind) if event is Event.PARKING else None,
        agent=speech.agent,
        end=end,
        reason=word.reason,
        output_tail=word.output_tail,
        own_word=True,
    )
    _ack(step, speech, word.task, "retried" if after and after.state is State.QUEUED else "dead_letter")
    if event is Event.PARKING:
        _park(step, speech.agent, word)
    elif word.reason != SIDECAR_STOPPED:
        _count_failure(step, speech.agent, before)


def _park(step: Step, agent_id: str, word: Failed) -> None:
    reason = word.reason or str(word.kind)
    if word.kind is FailureClass.ENVIRONMENT:
        step.park(agent_id, None, reason)
    else:
        now = step.now.wall
        to_come = word.retry_at is not None and word.retry_at > now
        until = word.retry_at if word.retry_at is not None and to_come else now + RATE_LIMIT_PAUSE_MS
        step.park(agent_id, min(until, now + RATE_LIMIT_PAUSE_MOST_MS), reason)


def _count_failure(step: Step, agent_id: str, task: Task) -> None:
    """Park an agent that failed several different tasks in a row which nobody else failed."""
    if any(attempt.agent != agent_id and attempt.end is End.FAILED for attempt in task.status.attempts):
        return
    failures = step.memory.agents[agent_id].live.failures
    failures = (*(name for name in failures if name != task.id), task.id)
    step.memory.set_live(agent_id, failures=failures)
    if len(failures) >= FAILURES_TO_PARK:
        step.park(agent_id, None, f"failed {len(failures)} different tasks in a row: {', '.join(failures)}")


def _blocked(step: Step, speech: _Speech, word: Blocked) -> None:
    if not speech.standing.counts:
        repeat = speech.attempt is not None and speech.attempt.end is End.BLOCKED_TIMEOUT
        if repeat and speech.standing is Standing.PAST:
            _drop(step, speech, word.task, word.generation, "the question was not answered in time")
        else:
            _refuse_update(step, speech, word.task, word.generation)
        return
    after = _take_up(step, speech, Event.BLOCKED, question=word.question)
    if after is None:
        _drop(step, speech, word.task, word.generation, "you own another task")
        return
    agent = step.memory.agents[speech.agent]
    if "updates" not in agent.features:
        step.free_slot(speech.agent, after.id)
    elif agent.live.slot in (None, after.id) and agent.live.state is not AgentState.BLOCKED:
        step.take_slot(speech.agent, after, AgentEvent.BLOCK)
    _ack(step, speech, word.task, "blocked")


def _released(step: Step, speech: _Speech, word: Released) -> None:
    live = step.memory.agents[speech.agent].live
    at_it = speech.standing is Standing.OWNER and speech.known.state in (State.ASSIGNED, State.WORKING)
    if at_it or (word.unfinished and speech.standing is Standing.OWNER):
        # Nothing of the attempt runs any more: whatever the hub believed, it is nobody's now.
        step.apply(
            Event.HANDED_BACK, speech.known, speech.by, agent=speech.agent, end=End.HANDED_BACK,
            reason="handed back", own_word=True,
        )  # fmt: skip
        _ack(step, speech, word.task, "rejected")
    elif word.unfinished and speech.attempt is not None and speech.attempt.end is End.HANDED_BACK:
        _ack(step, speech, word.task, "rejected")
    elif word.task in live.dying:
        step.memory.set_live(speech.agent, dying=live.dying - {word.task})
    elif live.slot == word.task and (live.state is AgentState.RELEASING or _blocked_by(speech)):
        if live.dying:
            following = min(live.dying)
            step.memory.set_live(speech.agent, slot=following, dying=live.dying - {following})
        else:
            step.free_slot(speech.agent, word.task)


def _blocked_by(speech: _Speech) -> bool:
    return speech.standing is Standing.OWNER and speech.known.state is State.BLOCKED


def _come_back(step: Step, speech: _Speech) -> Task | None:
    """Take a task up again after a gap; None when it is not this agent's any more."""
    if not speech.standing.counts:
        return None
    after = _take_up(step, speech, Event.RECOVERING)
    if after is not None:
        step.expect_progress(after)
    return after


def _recovering(step: Step, speech: _Speech, word: Recovering) -> None:
    waiting = word.last_status in ("accepted", "waking") and not step.memory.agents[speech.agent].features
    if waiting and speech.standing is Standing.OWNER:
        step.apply(
            Event.HANDED_BACK, speech.known, speech.by, agent=speech.agent, end=End.HANDED_BACK,
            reason=f"came back {word.last_status}, without work", own_word=True,
        )  # fmt: skip
        step.send(speech.agent, Reassign(word.task, speech.generation))
        return
    after = None if waiting else _come_back(step, speech)
    if after is None:
        step.send(speech.agent, Reassign(word.task, speech.generation))
    else:
        _go_on(step, speech.agent, after)


def _go_on(step: Step, agent_id: str, task: Task) -> None:
    """Let an agent go on; an answer that may have been lost with its last session is said again."""
    step.send(agent_id, Continue(task.id, task.status.generation))
    if task.state is State.WORKING:
        step.tell_answer(agent_id, task)


def _reported(step: Step, speech: _Speech, word: Reported) -> None:
    after = _come_back(step, speech)
    step.send(speech.agent, ReportAck(word.task, "abort" if after is None else "continue"))


def held(step: Step, agent_id: str, task_id: str, generation: int) -> bool:
    """Judge one (task, generation) that ``identify`` says the sidecar holds; return whether it goes on with it."""
    speech = _speech(step, agent_id, task_id, generation)
    after = _come_back(step, speech)
    if after is not None:
        _go_on(step, agent_id, after)
        return True
    step.send(agent_id, Cancelled(task_id, generation, "not yours any more"))
    return False


def _woken(step: Step, agent_id: str, word: Woken) -> None:
    record = step.memory.agents[agent_id].record
    if word.status != "success" or word.task is not None or record.parked_until != PARKED_FOR_GOOD:
        return
    wakes = step.memory.agents[agent_id].live.wakes
    step.memory.set_live(agent_id, wakes=wakes + 1)
    if wakes < WAKES_AT_ONCE:
        step.unpark(agent_id, agent_actor(agent_id), "passed a wake check")
    else:  # started again and again with the same fault: what it costs must not grow with how often
        pause = min(WAKE_PAUSE_MAX, WAKE_PAUSE * 2 ** min(wakes - WAKES_AT_ONCE, 10))
        step.memory.mono.set(("wake", agent_id), step.now.mono + pause)
