"""Between the wire and the core: frames to words, messages to frames. A pure mapping; it decides nothing."""

import json
from collections.abc import Mapping
from typing import Any, assert_never

from coordinator.core import events as core
from coordinator.core.agent import Session
from coordinator.core.task import Attempt, Task
from coordinator.wire import frames, plain

#: A result is cut to this many bytes of JSON, a reason to so many characters (DESIGN 2, limits).
RESULT_BYTES = 1024 * 1024
REASON_CHARS = 8 * 1024
OUTPUT_TAIL_CHARS = 4 * 1024


def word_of(frame: frames.ToHub) -> core.Word | None:
    """Return what a frame says about a task, None for one that says nothing (PROTOCOL 1.4)."""
    match frame:
        case frames.TaskAccepted():
            return core.Accepted(frame.task_id, frame.generation)
        case frames.TaskRejected():
            return core.Rejected(frame.task_id, frame.generation, _reason(frame.reason) or "no reason given")
        case frames.TaskProgress():
            share = plain.plain(frame.progress)
            return core.Progress(frame.task_id, frame.generation, share, _reason(frame.note or ""), frame.tokens_used)
        case frames.TaskComplete():
            return core.Complete(frame.task_id, frame.generation, fit_result(frame.result), frame.tokens_used)
        case frames.TaskFailed():
            return core.Failed(
                frame.task_id,
                frame.generation,
                core.FailureClass(frame.failure_class),
                _reason(frame.error or frame.reason or ""),
                frame.retry_at,
                plain.without_tokens(frame.output_tail or "")[-OUTPUT_TAIL_CHARS:],
            )
        case frames.TaskBlocked():
            return core.Blocked(frame.task_id, frame.generation, _reason(frame.question))
        case frames.TaskReleased():
            return core.Released(frame.task_id, frame.generation, frame.unfinished)
        case frames.TaskRecovering():
            return core.Recovering(frame.task_id, frame.generation, frame.last_status or "")
        case frames.StateReport():
            return core.Reported(frame.task_id, frame.generation)
        case frames.WakeResult():
            return core.Woken(frame.task_id, frame.status, _reason(frame.error or ""))
        case frames.AgentRestarting():
            return core.Leaving()
        case _:
            return None


def _reason(text: str) -> str:
    return str(plain.without_tokens(text))[:REASON_CHARS]


def fit_result(result: dict[str, Any]) -> dict[str, Any]:
    """Return a plain result of at most ``RESULT_BYTES`` of JSON; a larger one loses its long parts and says so.

    No token of AgentCom is left in it.
    """
    result = plain.plain(result)
    said = json.dumps(result, ensure_ascii=False, default=str)
    if "ac_" in said:
        result = plain.without_tokens(result)
    if len(said.encode(errors="replace")) <= RESULT_BYTES:
        return result
    room = RESULT_BYTES // (2 * max(1, len(result)) * 4)
    cut: dict[str, Any] = {}
    for key, value in result.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        cut[key[:200]] = value if len(text) <= room else text[:room]
        if len(cut) == 200:
            break
    return {**cut, "truncated": True}


def session_of(frame: frames.Identify, session_id: str, now_ms: int) -> Session:
    """Return what an ``identify`` says of its session (PROTOCOL 1.1)."""
    holding = None if frame.holding is None else frozenset((held.task_id, held.generation) for held in frame.holding)
    return Session(
        session_id,
        tuple(frame.capabilities or ()),
        frozenset(frame.features) & frozenset(frames.FEATURES),
        holding,
        frame.instance_id,
        frame.name or "",
        now_ms,
    )


def is_old(frame: frames.Identify) -> bool:
    """Tell whether a client is of version 1, which says nothing of itself that came later."""
    return not frame.features and frame.instance_id is None and frame.holding is None


def frame_of(message: core.Message, now_ms: int, *, old: bool = False) -> frames.Frame:
    """Return the frame that says a message (PROTOCOL 1.3); ``old``: to a client of version 1."""
    match message:
        case core.Assign():
            return _assign(message, old)
        case core.Ack():
            return frames.TaskAck(task_id=message.task, status=message.status, generation=message.generation)
        case core.Continue():
            return frames.TaskContinue(task_id=message.task, generation=message.generation)
        case core.Reassign():
            return frames.TaskReassign(task_id=message.task, generation=message.generation)
        case core.Cancelled():
            return frames.TaskCancelled(
                task_id=message.task, generation=message.generation, reason=message.reason, timestamp=now_ms
            )
        case core.Updated():
            changed = {key: _plain(value) for key, value in message.changed.items()}
            return frames.TaskUpdated.model_validate(
                {**changed, "task_id": message.task, "generation": message.generation, "answer": message.answer}
            )
        case core.ReportAck():
            return frames.StateReportAck(task_id=message.task, action=message.action)
        case core.Drain():
            return frames.Drain(reason=message.reason)
        case core.Refused():
            return frames.Error(
                error=message.code, detail=message.detail, task_id=message.task, generation=message.generation
            )
        case _:
            assert_never(message)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return getattr(value, "word", value)


def _assign(message: core.Assign, old: bool) -> frames.TaskAssign:
    task = message.task
    spec, status = task.spec, task.status
    # A sidecar of version 1 hands its agent the description alone.
    title = [spec.title] if old and not spec.description.startswith(spec.title) else []
    return frames.TaskAssign(
        task_id=spec.id,
        title=spec.title,
        description="\n\n".join(text for text in (*title, spec.description) if text),
        priority=spec.priority.word,
        metadata=dict(spec.metadata),
        generation=status.generation,
        assigned_at=status.assigned_at or 0,
        ready_at=message.ready_at or None,
        needed_capabilities=list(spec.needed_capabilities),
        repo=message.repo,
        repo_url=None if message.target is None else message.target.url,
        base=spec.base or (None if message.target is None else message.target.base),
        kind=spec.kind,
        deadline=spec.deadline,
        timeout_s=spec.timeout_s,
        context=context_of(task),
    )


def context_of(task: Task) -> frames.Context:
    """Return what happened before: an attempt never starts blind (DESIGN 4)."""
    status = task.status
    return frames.Context(
        attempts=[_attempt(attempt) for attempt in status.attempts],
        answers=[{"generation": answer.generation, "text": answer.text} for answer in status.answers],
        review=[
            {"generation": review.generation, "approve": review.approve, "note": review.note}
            for review in status.reviews
        ],
        branch=_branch(status.result),
        acceptance=list(task.spec.acceptance),
    )


def _branch(result: Mapping[str, Any] | None) -> str | None:
    """Return the branch that an earlier result left its work on."""
    branch = (result or {}).get("branch")
    return branch if isinstance(branch, str) and branch else None


def _attempt(attempt: Attempt) -> dict[str, Any]:
    said = {
        "generation": attempt.generation,
        "agent": attempt.agent,
        "end": str(attempt.end),
        "reason": attempt.reason,
        "output_tail": attempt.output_tail,
    }
    return {key: value for key, value in said.items() if value != ""}
