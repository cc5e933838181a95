"""What the HTTP API shows: values of the core as JSON objects (PROTOCOL 2).

Pure. Times are RFC 3339 strings with ``_ms`` twins for clients that read numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coordinator.core.agent import PARKED_FOR_GOOD, Agent
from coordinator.core.guards import Batch
from coordinator.core.machine import State
from coordinator.core.scheduler import Why
from coordinator.core.task import Priority, Task
from coordinator.core.timers import rfc3339

DEAD_LETTER = "dead_letter"
#: How version 1 named the states (DECISIONS 21).
LEGACY_STATUS: Mapping[State, str] = {
    State.QUEUED: "queued",
    State.ASSIGNED: "assigned",
    State.WORKING: "assigned",
    State.BLOCKED: "assigned",
    State.IN_REVIEW: "assigned",
    State.DONE: "completed",
    State.FAILED: DEAD_LETTER,
    State.REJECTED: DEAD_LETTER,
    State.CANCELLED: DEAD_LETTER,
}
_STATE = ("agent_id", "name", "fsm_state", "current_task_id", "capabilities", "flags", "connected_at",
          "done_session", "tokens_session")  # fmt: skip
_TIMES = ("created_at", "assigned_at", "started_at", "completed_at", "not_before")


def task_json(task: Task, why: Why | None) -> dict[str, Any]:
    """Return the task JSON of PROTOCOL 2; fields without a value are null."""
    spec, status = task.spec, task.status
    shown: dict[str, Any] = {
        "id": spec.id,
        "task_id": spec.id,
        "title": spec.title,
        "description": spec.description,
        "status": str(status.status),
        "legacy_status": LEGACY_STATUS[status.status],
        "priority": spec.priority.word,
        "priority_level": int(spec.priority),
        "needed_capabilities": list(spec.needed_capabilities),
        "depends_on": list(spec.depends_on),
        "assignee": spec.assignee,
        "labels": list(spec.labels),
        "repo": spec.repo,
        "base": spec.base,
        "kind": spec.kind,
        "review": spec.review,
        "acceptance": list(spec.acceptance),
        "metadata": dict(spec.metadata),
        "lane": str(task.lane),
        "origin": str(spec.origin),
        "where": spec.where,
        "assigned_to": status.assigned_to,
        "last_owner": status.last_owner,
        "generation": status.generation,
        "attempt": len(status.attempts) + (1 if task.owned else 0),
        "created_by": status.created_by,
        "retry_count": status.retry_count,
        "max_retries": status.max_retries,
        "rerun": status.rerun,
        "preferred": status.preferred,
        "excluded": list(status.excluded),
        "hold": spec.hold,
        "held": status.held,
        "reason": status.reason,
        "question": status.question,
        "merged": status.merged,
        "orphaned": status.orphaned,
        "spec": status.spec,
        "revision": spec.blob,
        "answers": [{"generation": one.generation, "text": one.text} for one in status.answers],
        "reviews": [{"generation": one.generation, "approve": one.approve, "note": one.note} for one in status.reviews],
        "orphans": list(status.orphans),
        "result": None if status.result is None else dict(status.result),
        "attempts": [
            {"generation": a.generation, "agent": a.agent, "end": str(a.end), "reason": a.reason}
            for a in status.attempts
        ],
        "why": why_json(why),
    }
    for name in _TIMES:
        value = getattr(status, name)
        shown[name] = None if value is None else rfc3339(value)
        shown[f"{name}_ms"] = value
    shown["deadline"] = None if spec.deadline is None else rfc3339(spec.deadline)
    shown["deadline_ms"] = spec.deadline
    shown["timeout_s"] = spec.timeout_s
    return shown


def batch_json(batch: Batch) -> dict[str, Any]:
    """Return tasks that are held together."""
    return {"commit": batch.commit, "kind": str(batch.kind), "ids": list(batch.ids)}


def why_json(why: Why | None) -> dict[str, Any] | None:
    """Return a reason for waiting as DECISIONS 11 shapes it."""
    return None if why is None else {"code": why.code, "text": why.text, "refs": list(why.refs)}


def agent_json(agent: Agent) -> dict[str, Any]:
    """Return one agent: who it is and what it does right now."""
    live, session = agent.live, agent.live.session
    flags = {
        "unresponsive": live.unresponsive,
        "stuck": live.stuck,
        "parked": agent.record.parked,
        "draining": agent.record.draining,
        "disabled": not agent.enabled,
    }
    until = agent.record.parked_until
    return {
        "agent_id": agent.id,
        "name": agent.spec.name or (session.name if session else "") or agent.id,
        "status": "online" if session else "offline",
        "fsm_state": str(live.state),
        "capabilities": sorted(agent.capabilities),
        "role": str(agent.spec.role),
        "where": agent.spec.where,
        "current_task_id": live.slot,
        "flags": [name for name, is_set in flags.items() if is_set],
        "parked_reason": agent.record.parked_reason or None,
        "parked_until": None if until in (None, PARKED_FOR_GOOD) else rfc3339(until or 0),
        "connected_at": session.connected_at if session else None,
        "done_session": live.done_session,
        "tokens_session": live.tokens_session,
        "progress": live.progress,
        "note": live.note or None,
    }


def agents_json(agents: Mapping[str, Agent]) -> list[dict[str, Any]]:
    """Return all agents that some file names, by id."""
    return [agent_json(agents[name]) for name in sorted(agents) if agents[name].known]


def state_json(agent: Agent) -> dict[str, Any]:
    """Return what an agent is at, as PROTOCOL 2.1 shapes it."""
    seen = agent_json(agent)
    return {name: seen[name] for name in _STATE}


def matches(task: Task, wanted: Mapping[str, str]) -> bool:
    """Tell whether a task passes the filters of ``GET /api/tasks``; an absent filter passes everything."""
    spec, status = task.spec, task.status
    tests: dict[str, Callable[[str], bool]] = {
        "status": lambda value: value in (status.status, LEGACY_STATUS[status.status]),
        "assignee": lambda value: value in (status.assigned_to, spec.assignee),
        "assigned_to": lambda value: value == status.assigned_to,
        "priority": lambda value: value in (spec.priority.word, str(int(spec.priority))),
        "label": lambda value: value in spec.labels,
        "q": lambda value: value.casefold() in f"{spec.id}\n{spec.title}\n{spec.description}".casefold(),
    }
    return not status.deleted and all(test(wanted[name]) for name, test in tests.items() if name in wanted)


#: What a list is ordered by; the id is last, so that no two tasks are alike.
Place = tuple[int, int, int, int, str]


def place_of(task: Task) -> Place:
    """Return where a task stands in a list: by the order of the queue, the open ones first."""
    return int(task.finished), int(task.spec.priority), task.status.created_at, task.position, task.id


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """Return tasks as people expect a list."""
    return sorted(tasks, key=place_of)


def counts_json(tasks: Iterable[Task]) -> dict[str, Any]:
    """Return how many tasks there are: by state, the queued ones by priority, and those that ended without success."""
    by_status = dict.fromkeys((str(state) for state in State), 0)
    by_priority = {str(int(priority)): 0 for priority in Priority}
    dead = 0
    for task in tasks:
        if task.status.deleted:
            continue
        by_status[str(task.state)] += 1
        by_priority[str(int(task.spec.priority))] += task.state is State.QUEUED
        dead += LEGACY_STATUS[task.state] == DEAD_LETTER
    return {"by_status": by_status, "by_priority": by_priority, "dead_letter": dead}
