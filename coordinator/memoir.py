"""From the branch back to memory: what a fold of files means to the core.

Used by the hub at its start and by every command that reads a clone without a hub. It claims and writes nothing.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from coordinator.core.backlog import CANCELLED, DONE, BacklogMap
from coordinator.core.events import Actor, Observed
from coordinator.core.guards import Batch, Kind
from coordinator.core.machine import FINISHED
from coordinator.core.policy import Lane
from coordinator.core.reconciler import Core
from coordinator.core.state import Memory
from coordinator.core.task import Origin, Spec, Status, Task
from coordinator.files import layout, loader
from coordinator.files.emitter import algorithm_of
from coordinator.files.observe import Known, Observation, Observer
from coordinator.files.problem import Problem
from coordinator.files.readings import Readings
from coordinator.ports import Fold, SourceUnreadable

#: Finished tasks that a list reads back at most.
CLOSED_SHOWN = 1_000
#: Commits of one task's history that are shown.
HISTORY_SHOWN = 200
#: So many tasks that agents proposed are named in one line.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found besides the memory: the hub's own files, and the last observation looked at again."""

    folded: layout.Folded
    baseline: Observation | None


class Shelf(Protocol):
    """Where finished tasks are read back from: files of the hub's folders, many at once."""

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]: ...


class Blobs(Protocol):
    """Where the words of people's files are read back from, also of files that are gone: git blobs by id."""

    def blobs(self, oids: tuple[str, ...]) -> Mapping[str, bytes]: ...


def rebuild(
    core: Core,
    fold: Fold,
    observer: Observer,
    shelf: Shelf,
    source: Blobs,
    *,
    existing: str = "",
    readings: Readings | None = None,
) -> Rebuilt:
    """Fill an empty core from the branch: statuses and records, and people's specifications as last observed.

    ``existing`` is the blob of a BACKLOG.md that was there before init; what ``readings`` knows is not parsed again.
    Blocks on git.
    """
    folded = layout.fold(fold.files, algorithm_of(fold.tip or ""), readings)
    for enlisted in folded.enlisted.values():
        core.restore_enlisted(enlisted)
    for record in folded.records.values():
        core.restore_record(record)
    core.restore_closed(frozenset(fold.closed))
    baseline: Observation | None = None
    if fold.source is not None:
        known = replace(_known_at_start(core.memory, folded), existing=existing)
        baseline = observer.look(fold.source, fold.source, known)
        core.memory.policy = baseline.policy
        for agent in baseline.agents.values():
            core.memory.put_spec(agent)
    specs = {**folded.specs, **(baseline.specs if baseline else {})}
    held = _held(folded.hub.get("held"))
    specs |= _no_longer_there(folded.statuses, specs, source)
    gone = {entry.id: (entry.lane, 0) for entry in folded.backlog.gone}
    places = {**gone, **(baseline.places if baseline else {})}
    for task_id, status in sorted(folded.statuses.items()):
        spec = specs.get(task_id) or Spec(task_id, task_id, where=f"tasks/{task_id}.yaml")
        task = Task(spec, status)
        if task_id in places:
            task = replace(task, lane=places[task_id][0], position=places[task_id][1])
        core.restore(task)
    for task in read_back(core.memory.closed & wanted_finished(specs.values()), fold.closed, shelf, source):
        core.restore(task)
    core.restore_wanted(frozenset(name for name, spec in specs.items() if spec.origin is not Origin.API))
    core.restore_held(held)
    return Rebuilt(folded, baseline)


def held_text(batches: Iterable[Batch]) -> list[dict[str, Any]]:
    """Return what is held as ``status/hub.yaml`` keeps it: however many ids, each batch is three words to a reader."""
    return [{"commit": batch.commit, "kind": str(batch.kind), "ids": " ".join(batch.ids)} for batch in batches]


def drafts_json(seen: Observation | None, memory: Memory) -> list[dict[str, Any]]:
    """Return the lines of the backlog that are no tasks and may become some, in their order."""
    if seen is None:
        return []
    return [
        {"id": entry.id, "title": item.title, "lane": str(entry.lane), "line": item.line}
        for entry in seen.backlog.entries
        if entry.lane in (Lane.DRAFT, Lane.DEFERRED)
        and entry.check not in (DONE, CANCELLED)
        and entry.id not in memory.tasks
        and entry.id not in memory.closed
        and (item := seen.items.get(entry.id)) is not None
    ]


def held_problems(batches: Iterable[Batch]) -> tuple[Problem, ...]:
    """Return one line for each batch that waits for a person, and one for all that agents proposed."""
    words = {
        Kind.ADDED: "new ready items came at once and are held",
        Kind.EXISTING: "items stood here before `agentcom init` and are held",
        Kind.REMOVED: "open tasks would disappear at once; their removal is held and they stay",
    }
    hint = "look with `agentcom confirm --show`, then `agentcom confirm`"
    batches = tuple(batches)
    proposed = [name for batch in batches if batch.kind is Kind.PROPOSED for name in batch.ids]
    named = ", ".join(proposed[:NAMED]) + (" and more" if len(proposed) > NAMED else "")
    what = f"{len(proposed)} proposed by agents {'is' if len(proposed) == 1 else 'are'} held: {named}"
    return tuple(
        Problem(f"source commit {batch.commit[:10]}", what=f"{len(batch.ids)} {words[batch.kind]}", hint=hint)
        for batch in batches
        if batch.kind is not Kind.PROPOSED
    ) + ((Problem("tasks/api", what=what, hint=hint),) if proposed else ())


def _held(said: object) -> tuple[Batch, ...]:
    """Read what is held back from ``status/hub.yaml``."""
    rows = said if isinstance(said, list) else []
    return tuple(Batch(str(row["commit"]), Kind(row["kind"]), tuple(str(row["ids"]).split())) for row in rows)


def _no_longer_there(statuses: Mapping[str, Status], specs: Mapping[str, Spec], source: Blobs) -> dict[str, Spec]:
    """Return the specifications of open tasks whose file is gone from the source: their removal may be held."""
    missing = {name: status.spec for name, status in statuses.items() if name not in specs and status.spec}
    words = source.blobs(tuple(dict.fromkeys(missing.values()))) if missing else {}
    return {name: _words_of(name, blob, words) for name, blob in missing.items() if blob in words}


def _known_at_start(memory: Memory, folded: layout.Folded) -> Known:
    return _known(memory, folded.statuses, folded.specs, folded.backlog, str(folded.hub.get("policy", "")))


def known_now(memory: Memory, backlog: BacklogMap, policy_blob: str, existing: str = "") -> Known:
    """Return a running hub's memory as the observer needs it, as values that stay as they are."""
    tasks = list(memory.tasks.values())
    statuses = {task.id: task.status for task in tasks}
    specs = {task.id: task.spec for task in tasks if task.open}
    return replace(_known(memory, statuses, specs, backlog, policy_blob), existing=existing)


def known_ids(fold: Fold) -> Known:
    """Return what a fold says of ids alone: which tasks there are, and which of them are finished."""
    prefix = f"{layout.OPEN}/"
    names = (path.removeprefix(prefix).removesuffix(".yaml") for path in fold.files if path.startswith(prefix))
    return Known(finished=frozenset(fold.closed), used=frozenset(fold.closed) | frozenset(names))


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


def observed_of(seen: Observation) -> Observed:
    """Return an observation as the core hears it."""
    by = Actor("person", seen.author.name, seen.author.email)
    people = {name: Actor("person", who.name, who.email) for name, who in seen.authors.items()}
    return Observed(
        seen.commit,
        seen.specs,
        seen.places,
        seen.agents,
        seen.policy,
        by,
        people,
        seen.undecided,
        seen.undecided_agents,
        seen.existing,
        seen.confirms,
        seen.confirmed,
    )


def wanted_finished(specs: Iterable[Spec]) -> frozenset[str]:
    """Return the ids that matter even when finished: dependencies, and tasks that somebody may want to run again."""
    names: set[str] = set()
    for spec in specs:
        names.update(spec.depends_on)
        if spec.rerun:
            names.add(spec.id)
    return frozenset(names)


def read_back(names: Iterable[str], closed: Mapping[str, str], shelf: Shelf, source: Blobs) -> tuple[Task, ...]:
    """Return finished tasks by id; one that is not finished, or not readable, is left out.

    ``closed`` maps ids to status paths. Blocks on git: two processes, however many tasks.
    """
    wanted = [name for name in sorted(names) if name in closed]
    files = shelf.read_all([path for name in wanted for path in layout.closed_paths(closed[name])])
    found = {name: layout.read_closed(closed[name], files.get) for name in wanted}
    ended = {name: one for name, one in found.items() if isinstance(one, layout.Closed)}
    blobs = tuple(dict.fromkeys(one.status.spec for one in ended.values() if one.spec is None and one.status.spec))
    words: Mapping[str, bytes] = {}
    if blobs:
        with contextlib.suppress(SourceUnreadable):  # then they are known by their ids alone
            words = source.blobs(blobs)
    return tuple(Task(one.spec or _words_of(name, one.status.spec, words), one.status) for name, one in ended.items())


def _words_of(name: str, blob: str, words: Mapping[str, bytes]) -> Spec:
    """Return what a person's file said when its task ended, its id alone when that cannot be read any more."""
    path = f"tasks/{name}.yaml"
    read = loader.load_task(path, words[blob], blob) if blob in words else ()
    return Spec(name, name, where=path) if isinstance(read, tuple) else read
