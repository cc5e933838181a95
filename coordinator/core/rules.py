"""The rules that the cells of the task table name: what one event makes of one task.

Each rule is a pure function from a task and a cause to the next task. Who may cause what, who is told and what happens
to the agent is the reconciler's business; whether the reached state is legal is checked against the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coordinator.core.machine import Event, State
from coordinator.core.policy import Retries
from coordinator.core.task import ATTEMPTS_KEPT, Answer, Attempt, Decision, End, Spec, Status, Task
from coordinator.core.timers import Now
from coordinator.core.values import evolve

#: A rescue, a restore or a first claim by a new hub raises every generation by this much (DESIGN 1).
RESCUE_STEP = 1_000

#: Ends by which the hub took the task away: the agent's late word still counts.
ENDED_BY_HUB = frozenset(
    {End.LEASE_ENDED, End.NOT_ACCEPTED, End.ATTEMPT_TIMEOUT, End.STUCK, End.BLOCKED_TIMEOUT, End.AGENT_DISABLED}
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Everything that a rule may look at besides the task."""

    event: Event
    now: Now
    retries: Retries
    end: End | None = None
    agent: str | None = None
    reason: str = ""
    output_tail: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    question: str = ""
    answer: Answer | None = None
    decision: Decision | None = None
    spec: Spec | None = None
    #: The agent ended the attempt by its own word, so a later word of its about it is stale.
    own_word: bool = False
    #: After this exclusion some fitting enabled agent is left.
    fitting_left: bool = True
    #: What a person's confirmation, or its lack, makes of ``Status.held``; None leaves it.
    held: bool | None = None
    #: The owner is connected, knows ``updates`` and still holds the slot.
    keeps_slot: bool = False
    #: The agent gave "busy" to a repeated assign and cannot say what it holds: it means "I hold it".
    holds_it: bool = False
    #: A person must approve the result before it counts.
    review: bool = False
    #: The commit that brought approved work into its base branch.
    merged: str | None = None


def backoff_ms(retries: Retries, retry_count: int) -> int:
    """Return the pause before attempt ``retry_count`` + 1, in ms: doubling from the first retry on, capped."""
    return int(1000 * min(retries.backoff_max, retries.backoff * 2 ** (retry_count - 1)))


def _attempts(status: Status, cause: Cause, *, spent: bool = False) -> tuple[Attempt, ...]:
    """Append how the current attempt ended; a late word replaces what the hub had noted of the same generation."""
    late = status.last_owner if status.status is State.QUEUED and cause.own_word else None
    owner = status.assigned_to or late
    if owner is None or cause.end is None:
        return status.attempts
    attempt = Attempt(status.generation, owner, cause.end, cause.reason, cause.output_tail, spent)
    kept = tuple(old for old in status.attempts if old.generation != status.generation)
    return (*kept, attempt)[-ATTEMPTS_KEPT:]


def _refunded(status: Status) -> int:
    """Return the retry count without what the hub charged for the attempt that is now spoken for again."""
    last = status.attempts[-1] if status.attempts else None
    charged = status.status is State.QUEUED and last is not None and last.generation == status.generation and last.spent
    return status.retry_count - 1 if charged else status.retry_count


def _queued(task: Task, cause: Cause, **changes: Any) -> Task:
    """Put a task back into the queue, or end it when the backlog does not want it any more."""
    status = task.status
    attempts = changes.pop("attempts", None) or _attempts(status, cause)
    if status.orphaned:
        return _finished(task, cause, State.CANCELLED, attempts=attempts)
    return evolve(
        task,
        status=evolve(
            status,
            status=State.QUEUED,
            assigned_to=None,
            last_owner=None if cause.own_word else (status.assigned_to or status.last_owner),
            assigned_at=None,
            started_at=None,
            question=None,
            reason=cause.reason,
            attempts=attempts,
            **changes,
        ),
    )


def _finished(task: Task, cause: Cause, state: State, **changes: Any) -> Task:
    status = task.status
    attempts = changes.pop("attempts", None) or _attempts(status, cause)
    return evolve(
        task,
        status=evolve(
            status,
            status=state,
            assigned_to=None,
            last_owner=status.assigned_to or status.last_owner,
            preferred=None,
            not_before=None,
            held=False,
            completed_at=cause.now.wall,
            reason=cause.reason,
            attempts=attempts,
            **changes,
        ),
    )


def assign(task: Task, cause: Cause) -> Task:
    return evolve(
        task,
        status=evolve(
            task.status,
            status=State.ASSIGNED,
            generation=task.status.generation + 1,
            assigned_to=cause.agent,
            last_owner=cause.agent,
            preferred=None,
            assigned_at=cause.now.wall,
            started_at=None,
            not_before=None,
            question=None,
            reason="",
            spec=task.spec.blob,
        ),
    )


def start(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(task.status, status=State.WORKING, started_at=cause.now.wall))


def _taken_back(task: Task) -> Status:
    """Undo what the hub did when it gave the attempt up: the agent speaks as if its lease had held."""
    status = task.status
    return evolve(
        status,
        assigned_to=status.last_owner,
        retry_count=_refunded(status),
        not_before=None,
        preferred=None,
        reason="",
        attempts=tuple(old for old in status.attempts if old.generation != status.generation),
    )


def start_late(task: Task, cause: Cause) -> Task:
    return evolve(
        task,
        status=evolve(_taken_back(task), status=State.WORKING, started_at=cause.now.wall, assigned_at=cause.now.wall),
    )


def block(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(task.status, status=State.BLOCKED, question=cause.question))


def block_late(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(_taken_back(task), status=State.BLOCKED, question=cause.question))


def same(task: Task, cause: Cause) -> Task:
    return task


def requeue(task: Task, cause: Cause) -> Task:
    return _queued(task, cause)


def busy(task: Task, cause: Cause) -> Task:
    return start(task, cause) if cause.holds_it else _queued(task, cause)


def retry(task: Task, cause: Cause) -> Task:
    """Charge one retry, or fail when none is left (S10)."""
    status = task.status
    count = _refunded(status)
    if status.orphaned:
        return _finished(task, cause, State.CANCELLED, retry_count=count)
    if count >= status.max_retries:
        return _finished(task, cause, State.FAILED, retry_count=count)
    attempts = _attempts(status, cause, spent=True)
    pause = backoff_ms(cause.retries, count + 1)
    return _queued(task, cause, attempts=attempts, retry_count=count + 1, not_before=cause.now.wall + pause)


def exclude(task: Task, cause: Cause) -> Task:
    excluded = tuple(sorted({*task.status.excluded, cause.agent or ""} - {""}))
    refunded = _refunded(task.status)
    if not cause.fitting_left and not task.status.orphaned:
        return _finished(task, cause, State.REJECTED, excluded=excluded, retry_count=refunded)
    return _queued(task, cause, excluded=excluded, retry_count=refunded, not_before=None)


def park_late(task: Task, cause: Cause) -> Task:
    """Take a late word that the fault is the agent's: what the hub charged for the attempt is given back."""
    return _queued(task, cause, retry_count=_refunded(task.status), not_before=None)


def finish(task: Task, cause: Cause) -> Task:
    """End an attempt with success: done, or waiting for a person's review."""
    refunded = _refunded(task.status)
    if not cause.review:
        return _finished(task, cause, State.DONE, result=cause.result, retry_count=refunded, question=None)
    status = task.status
    return evolve(
        task,
        status=evolve(
            status,
            status=State.IN_REVIEW,
            assigned_to=None,
            last_owner=status.assigned_to or status.last_owner,
            not_before=None,
            question=None,
            reason=cause.reason,
            result=cause.result,
            retry_count=refunded,
            attempts=_attempts(status, cause),
        ),
    )


def fail(task: Task, cause: Cause) -> Task:
    count = _refunded(task.status) if cause.own_word else task.status.retry_count
    return _finished(task, cause, State.CANCELLED if task.status.orphaned else State.FAILED, retry_count=count)


def cancel(task: Task, cause: Cause) -> Task:
    return _finished(task, cause, State.CANCELLED)


def done_by_hand(task: Task, cause: Cause) -> Task:
    return _finished(task, cause, State.DONE)


def delete(task: Task, cause: Cause) -> Task:
    return _finished(task, cause, State.CANCELLED, deleted=True)


def hide(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(task.status, deleted=True))


def record_answer(task: Task, cause: Cause) -> Task:
    if cause.answer is None or cause.answer in task.status.answers:
        return task
    return evolve(task, status=evolve(task.status, answers=(*task.status.answers, cause.answer)))


def answer_blocked(task: Task, cause: Cause) -> Task:
    answered = task
    if cause.answer is not None:  # also one in the same words as before: it is another question
        answered = evolve(task, status=evolve(task.status, answers=(*task.status.answers, cause.answer)))
    if cause.keeps_slot:
        return evolve(answered, status=evolve(answered.status, status=State.WORKING, question=None))
    return _queued(answered, cause, preferred=task.status.assigned_to)


def orphan(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(task.status, orphaned=True, reason=cause.reason))


def want_again(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(task.status, orphaned=False, reason="")) if task.status.orphaned else task


def edit(task: Task, cause: Cause) -> Task:
    """Take a new specification over; its retries count from now on, and those spent stay spent (S10)."""
    if cause.held is not None:
        task = evolve(task, status=evolve(task.status, held=cause.held))
    if cause.spec is None:
        return task
    most = cause.retries.max if cause.spec.max_retries is None else cause.spec.max_retries
    status = evolve(task.status, spec=cause.spec.blob, max_retries=max(most, task.status.retry_count))
    return evolve(task, spec=cause.spec, status=status)


def record_rerun(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(task.status, rerun=task.spec.rerun))


def rerun(task: Task, cause: Cause) -> Task:
    """Open a finished task again: retries 0, exclusions and last owner cleared; its attempts stay on record."""
    task = edit(evolve(task, status=evolve(task.status, retry_count=0)), cause)
    return evolve(
        task,
        status=evolve(
            task.status,
            status=State.QUEUED,
            assigned_to=None,
            last_owner=None,
            assigned_at=None,
            started_at=None,
            completed_at=None,
            excluded=(),
            not_before=None,
            orphaned=False,
            reason=cause.reason,
            result=None,
            merged=None,
            rerun=task.spec.rerun,
        ),
    )


def approve(task: Task, cause: Cause) -> Task:
    reviews = task.status.reviews if cause.decision is None else (*task.status.reviews, cause.decision)
    return _finished(task, cause, State.DONE, reviews=reviews, merged=cause.merged)


def ask_changes(task: Task, cause: Cause) -> Task:
    status = task.status
    last = status.attempts[-1] if status.attempts else None
    attempts = status.attempts
    if last is not None and last.generation == status.generation:
        attempts = (*attempts[:-1], evolve(last, end=End.CHANGES_ASKED, reason=cause.reason))
    reviews = status.reviews if cause.decision is None else (*status.reviews, cause.decision)
    back = evolve(
        status,
        status=State.QUEUED,
        preferred=status.last_owner,
        last_owner=None,
        assigned_at=None,
        started_at=None,
        reason=cause.reason,
        reviews=reviews,
        attempts=attempts,
    )
    if status.orphaned:
        back = evolve(back, status=State.CANCELLED, completed_at=cause.now.wall, preferred=None)
    return evolve(task, status=back)


def raise_generation(task: Task, cause: Cause) -> Task:
    return evolve(task, status=evolve(task.status, generation=task.status.generation + RESCUE_STEP))


def requeue_for_new_hub(task: Task, cause: Cause) -> Task:
    owned = evolve(cause, own_word=True)
    back = _queued(task, owned) if task.owned else evolve(task, status=evolve(task.status, last_owner=None))
    return raise_generation(back, cause)


#: Rule name -> function, as the cells of ``machine.TASK`` spell them.
RULES: Mapping[str, Callable[[Task, Cause], Task]] = {
    "assign": assign,
    "start": start,
    "start_late": start_late,
    "recover": start,
    "recover_late": start_late,
    "ack_again": same,
    "ack_again_if_done": same,
    "complete_again": same,
    "failed_again": same,
    "stay": same,
    "refresh": same,
    "keep": same,
    "grace": same,
    "park": same,
    "park_late": park_late,
    "flag_stuck": same,
    "busy": busy,
    "not_accepted": requeue,
    "requeue": requeue,
    "park_and_requeue": requeue,
    "retry": retry,
    "exclude": exclude,
    "finish": finish,
    "fail": fail,
    "cancel": cancel,
    "delete": delete,
    "hide": hide,
    "done_by_hand": done_by_hand,
    "block": block,
    "ask_again": block,
    "block_late": block_late,
    "record_answer": record_answer,
    "answer_working": record_answer,
    "answer_blocked": answer_blocked,
    "orphan": orphan,
    "want_again": want_again,
    "hold": edit,
    "edit": edit,
    "edit_owned": edit,
    "record_rerun": record_rerun,
    "rerun": rerun,
    "approve": approve,
    "ask_changes": ask_changes,
    "raise_generation": raise_generation,
    "requeue_for_new_hub": requeue_for_new_hub,
}
