"""What a Node sidecar left in queue.json: ``{"active": task | null, "recovering": task | null}``.

It decides which of that a woken agent may be at work on. Pure; it knows nothing of files.
"""

from typing import Any

from sidecar.values import TASK_ID, Inherited

#: How far the Node sidecar had come when the agent may be at work: its wake command was run, or is running.
_WOKEN = frozenset({"waking", "waking_confirmation", "working"})


def is_nodes(raw: Any) -> bool:
    """Tell whether a decoded queue.json is that of a Node sidecar."""
    return (
        isinstance(raw, dict)
        and raw.keys() == {"active", "recovering"}
        and all(task is None or isinstance(task, dict) for task in raw.values())
    )


def inherited(raw: dict[str, Any]) -> Inherited | None:
    """Return what an agent may be at work on; None when there is nothing, or nobody was woken for it."""
    task = raw["active"] or raw["recovering"] or {}
    task_id, status = task.get("task_id"), task.get("status")
    if not isinstance(task_id, str) or not TASK_ID.match(task_id) or status not in _WOKEN:
        return None
    description, metadata = task.get("description"), task.get("metadata")
    return Inherited(
        task_id,
        description if isinstance(description, str) else "",
        metadata if isinstance(metadata, dict) else {},
        status,
    )
