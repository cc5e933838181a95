"""What the hub writes to coordinators: which changes of a task need a person, and what is said of them. Pure."""

from typing import Any

from coordinator.core.events import Record
from coordinator.core.machine import State

#: States in which a task does not go on by itself (PROTOCOL 1.5).
WAITING_FOR_PEOPLE = (State.IN_REVIEW, State.BLOCKED, State.FAILED, State.REJECTED)


def notice_of(record: Record) -> tuple[str, dict[str, Any]] | None:
    """Return type and payload of the message about a change of a task, None when coordinators need not hear of it.

    An agent that asks another question while its task is blocked is worth a message too.
    """
    before, after = record.before, record.after
    if after is None or after.state not in WAITING_FOR_PEOPLE:
        return None
    if before is not None and before.state is after.state and before.status.question == after.status.question:
        return None
    status = after.status
    said = {
        "task_id": after.id,
        "title": after.spec.title,
        "status": str(after.state),
        "from_status": None if before is None else str(before.state),
        "generation": status.generation,
        "agent": record.agent or status.assigned_to or status.last_owner,
        "reason": status.reason or None,
        "question": status.question if after.state is State.BLOCKED else None,
    }
    return "task_status", {key: value for key, value in said.items() if value is not None}
