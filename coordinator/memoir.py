"""From the branch back to memory: what a fold of files means to the core.

Used by the hub at its start and by every command that reads a clone without a hub. It claims and writes nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from coordinator.core.backlog import BacklogMap
from coordinator.core.machine import FINISHED
from coordinator.core.reconciler import Core
from coordinator.core.state import Memory
from coordinator.core.task import Origin, Spec, Status, Task
from coordinator.files import layout
from coordinator.files.emitter import algorithm_of
from coordinator.files.observe import Known, Observation, Observer
from coordinator.git.history import Record
from coordinator.ports import Fold
from coordinator.web.present import rfc3339

#: Finished tasks that a list reads back at most.
CLOSED_SHOWN = 1_000
#: Commits of one task's history that are shown.
HISTORY_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found besides the memory: the hub's own files, and the last observation looked at again."""

    folded: layout.Folded
    baseline: Observation | None


def rebuild(core: Core, fold: Fold, observer: Observer, read: Callable[[str], bytes | None]) -> Rebuilt:
    """Fill an empty core from the branch: statuses and records, and people's specifications as last observed.

    ``read`` gives one file of the hub's folders. Blocks on git.
    """
    folded = layout.fold(fold.files, algorithm_of(fold.tip or ""))
    for record in folded.records.values():
        core.restore_record(record)
    core.restore_closed(frozenset(fold.closed))
    baseline: Observation | None = None
    if fold.source is not None:
        baseline = observer.look(fold.source, fold.source, _known_at_start(core.memory, folded))
        core.memory.policy = baseline.policy
        for agent in baseline.agents.values():
            core.memory.put_spec(agent)
    specs = {**folded.specs, **(baseline.specs if baseline else {})}
    places = baseline.places if baseline else {}
    for task_id, status in sorted(folded.statuses.items()):
        spec = specs.get(task_id) or Spec(task_id, task_id, where=f"tasks/{task_id}.yaml")
        task = Task(spec, status)
        if task_id in places:
            task = replace(task, lane=places[task_id][0], position=places[task_id][1])
        core.restore(task)
    for task in read_back(core.memory.closed & wanted_finished(specs.values()), fold.closed, read):
        core.restore(task)
    core.restore_wanted(frozenset(specs))
    return Rebuilt(folded, baseline)


def _known_at_start(memory: Memory, folded: layout.Folded) -> Known:
    return _known(memory, folded.statuses, folded.specs, folded.backlog, str(folded.hub.get("policy", "")))


def known_now(memory: Memory, backlog: BacklogMap, policy_blob: str) -> Known:
    """Return a running hub's memory as the observer needs it, as values that stay as they are."""
    tasks = list(memory.tasks.values())
    statuses = {task.id: task.status for task in tasks}
    return _known(memory, statuses, {task.id: task.spec for task in tasks if task.open}, backlog, policy_blob)


def _known(
    memory: Memory, statuses: Mapping[str, Status], specs: Mapping[str, Spec], backlog: BacklogMap, policy_blob: str
) -> Known:
    hub_made = {task_id for task_id, spec in specs.items() if spec.origin is not Origin.FILE}
    finished = {task_id for task_id, status in statuses.items() if status.status in FINISHED}
    return Known(
        finished=frozenset(finished | memory.closed),
        used=frozenset(statuses) | memory.closed | memory.tasks.keys(),
        backlog=backlog,
        specs=dict(specs),
        accepted_tasks={task_id: status.spec for task_id, status in statuses.items() if task_id not in hub_made},
        accepted_agents={agent.id: agent.record.accepted for agent in memory.agents.values()},
        accepted_policy=policy_blob,
    )


def wanted_finished(specs: Iterable[Spec]) -> frozenset[str]:
    """Return the ids that matter even when finished: dependencies, and tasks that somebody may want to run again."""
    names: set[str] = set()
    for spec in specs:
        names.update(spec.depends_on)
        if spec.rerun:
            names.add(spec.id)
    return frozenset(names)


def read_back(names: Iterable[str], closed: Mapping[str, str], read: Callable[[str], bytes | None]) -> tuple[Task, ...]:
    """Return finished tasks by id; one that is not finished, or not readable, is left out.

    ``closed`` maps ids to status paths. Blocks on git.
    """
    back: list[Task] = []
    for name in sorted(names):
        found = layout.read_closed(closed[name], read) if name in closed else None
        if isinstance(found, layout.Closed):
            back.append(Task(found.spec or Spec(name, name, where=f"tasks/{name}.yaml"), found.status))
    return tuple(back)


def record_json(record: Record) -> dict[str, Any]:
    """Return one commit of the audit trail as JSON."""
    return {
        "commit": record.commit,
        "time": rfc3339(record.time_ms),
        "time_ms": record.time_ms,
        "author": record.author,
        "subject": record.subject,
        "event": record.event,
        "task": record.task,
        "agent": record.agent,
        "generation": record.generation,
    }
