"""The hub at one glance, as a dashboard shows it (PROTOCOL 2.1): pure, from what the routes show anyway."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coordinator.core.machine import OPEN, State
from coordinator.core.task import Task
from coordinator.web.present import counts_json

#: The window of the throughput, which slides.
HOUR_MS = 3_600_000
#: So many finished tasks are shown.
RECENT = 20


def state_json(
    tasks: Sequence[Task],
    agents: Sequence[Mapping[str, Any]],
    problems: Sequence[Mapping[str, Any]],
    read_only: str | None,
    started_at: int,
    now_ms: int,
) -> dict[str, Any]:
    """Return everything in one object; times in ms."""
    done = [task for task in tasks if task.state is State.DONE and not task.status.deleted]
    done.sort(key=lambda task: (task.status.completed_at or 0, task.id), reverse=True)
    return {
        "uptime_ms": max(0, now_ms - started_at),
        "timestamp": now_ms,
        "health": health_json(tasks, agents, problems, read_only),
        "agents": list(agents),
        "queue": counts_json(tasks),
        "recent_completions": [_completion(task) for task in done[:RECENT]],
        "throughput": _throughput([task for task in done if (task.status.completed_at or 0) > now_ms - HOUR_MS]),
    }


def health_json(
    tasks: Iterable[Task],
    agents: Iterable[Mapping[str, Any]],
    problems: Sequence[Mapping[str, Any]],
    read_only: str | None,
) -> dict[str, Any]:
    """Say how well it goes: ``critical`` when nothing can be written, ``warning`` when somebody should look."""
    warnings: list[str] = []
    work = sum(task.state in OPEN for task in tasks)
    if work and not any(agent["connected_at"] for agent in agents):
        warnings.append(f"{work} open tasks and no agent is connected")
    if parked := [agent["agent_id"] for agent in agents if "parked" in agent["flags"]]:
        warnings.append(f"parked: {', '.join(parked)}")
    if problems:
        warnings.append(f"{len(problems)} problems: GET /api/problems")
    critical = [f"the hub cannot write: {read_only}"] if read_only is not None else []
    status = "critical" if critical else "warning" if warnings else "ok"
    return {"status": status, "conditions": [*critical, *warnings]}


def _completion(task: Task) -> dict[str, Any]:
    status = task.status
    return {
        "task_id": task.id,
        "title": task.spec.title,
        "agent_id": status.last_owner,
        "completed_at": status.completed_at,
        "duration_ms": _duration(task),
        "tokens_used": _tokens(task),
    }


def _throughput(done: Sequence[Task]) -> dict[str, Any]:
    durations = [duration for task in done if (duration := _duration(task)) is not None]
    return {
        "completed_last_hour": len(done),
        "avg_completion_ms": round(sum(durations) / len(durations)) if durations else None,
        "total_tokens_hour": sum(_tokens(task) for task in done),
    }


def _duration(task: Task) -> int | None:
    """Return how long the attempt that finished a task took, from its start to its end."""
    status = task.status
    begun = status.started_at or status.assigned_at
    return None if begun is None or status.completed_at is None else max(0, status.completed_at - begun)


def _tokens(task: Task) -> int:
    used = (task.status.result or {}).get("tokens_used")
    return used if isinstance(used, int) and not isinstance(used, bool) else 0
