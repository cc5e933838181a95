"""Where the hub's values stand in the tree (DECISIONS 6), and what one transition changes there.

The files of a task are a pure function of it; a change is the difference of two such sets, so that moving to closed,
coming back on a rerun and being taken over by a person's file need no rule of their own. This module writes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from coordinator.core.agent import AgentRecord, AgentSpec
from coordinator.core.backlog import BacklogMap
from coordinator.core.task import Origin, Spec, Status, Task
from coordinator.files import loader
from coordinator.files.convert import write_time
from coordinator.files.emitter import (
    algorithm_of,
    blob_id,
    emit_agent,
    emit_backlog_map,
    emit_mapping,
    emit_record,
    emit_result,
    emit_spec,
    emit_status,
    stands_alone,
)
from coordinator.files.problem import Problem
from coordinator.files.readings import Readings, nothing

OPEN = "status/open"
CLOSED = "status/closed"
AGENTS = "status/agents"
#: Agents that the hub made.
ENLISTED = "agents/api"
HUB = "status/hub.yaml"
BACKLOG_MAP = "status/backlog.json"
#: The folder of each kind of specification that the hub made.
SPEC_FOLDERS: Mapping[Origin, str] = {Origin.BACKLOG: "tasks/backlog", Origin.API: "tasks/api"}


def status_path(task: Task) -> str:
    """Return where the status of a task stands: open, or closed on the day (UTC) it was finished."""
    return f"{_folder(task)}/{task.id}.yaml"


def orphan_path(task: Task, generation: int) -> str:
    """Return where a result that counts no more is kept for people."""
    return f"{_folder(task)}/{task.id}.orphan-{generation}.json"


def _folder(task: Task) -> str:
    if not task.finished:
        return OPEN
    day = write_time(task.status.completed_at or task.status.created_at)[:10].replace("-", "/")
    return f"{CLOSED}/{day}"


def files_of(task: Task | None) -> dict[str, bytes]:
    """Return every file of one task: status, a hub-made specification, a result too large for the status."""
    return {path: write() for path, (_, write) in _unwritten(task).items()}


def changes(before: Task | None, after: Task) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return what a transition writes and what it deletes; ``before`` is None for a new task."""
    old, new = _unwritten(before), _unwritten(after)
    puts = {path: write() for path, (said, write) in new.items() if path not in old or old[path][0] != said}
    return puts, tuple(path for path in old if path not in new)


def _unwritten(task: Task | None) -> dict[str, tuple[object, Callable[[], bytes]]]:
    """Return, for every file of one task, the value that it says and how that is written: most are not."""
    if task is None:
        return {}
    spec, status, folder = task.spec, task.status, _folder(task)
    alone = stands_alone(status.result)
    result_file = f"{spec.id}.result.json" if alone else ""
    files: dict[str, tuple[object, Callable[[], bytes]]] = {
        f"{folder}/{spec.id}.yaml": (status, lambda: emit_status(status, result_file))
    }
    if alone and (result := status.result) is not None:
        files[f"{folder}/{result_file}"] = (result, lambda: emit_result(result))
    if spec.origin is not Origin.FILE:
        path = f"{folder}/{spec.id}.spec.yaml" if task.finished else f"{SPEC_FOLDERS[spec.origin]}/{spec.id}.yaml"
        files[path] = (spec, lambda: emit_spec(spec))
    return files


def record_path(name: str) -> str:
    """Return where the record of an agent stands."""
    return f"{AGENTS}/{name}.yaml"


def enlisted_path(name: str) -> str:
    """Return where an agent stands that the hub made."""
    return f"{ENLISTED}/{name}.yaml"


def record_change(
    record: AgentRecord, enlisted: AgentSpec | None = None, *, discharged: bool = False
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return what a change of an agent's record writes and deletes, with an agent that the hub makes or ends."""
    puts = {record_path(record.id): emit_record(record)}
    if enlisted is not None:
        puts[enlisted_path(record.id)] = emit_agent(enlisted)
    return puts, (enlisted_path(record.id),) if discharged else ()


def hub_change(values: Mapping[str, Any]) -> dict[str, bytes]:
    """Return what a change of ``status/hub.yaml`` writes."""
    return {HUB: emit_mapping(values)}


def backlog_change(known: BacklogMap) -> dict[str, bytes]:
    """Return what a change of the identity map writes."""
    return {BACKLOG_MAP: emit_backlog_map(known)}


# --- back into memory -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Folded:
    """What the hub's folders say, except closed tasks: by id; ``hub`` is ``status/hub.yaml`` as a mapping.

    ``specs`` and ``enlisted`` hold the specifications and agents that the hub made; people's stand on the source.
    ``problems`` name files that the hub cannot have written so: a person's slip, or a branch of a newer version.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    specs: Mapping[str, Spec] = field(default_factory=dict)
    records: Mapping[str, AgentRecord] = field(default_factory=dict)
    enlisted: Mapping[str, AgentSpec] = field(default_factory=dict)
    backlog: BacklogMap = field(default_factory=BacklogMap)
    hub: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def fold(files: Mapping[str, bytes], algorithm: str = "sha1", readings: Readings | None = None) -> Folded:
    """Return the values of all files of the hub's folders (paths relative to root); unknown names are passed over.

    What ``readings`` knows is not parsed again.
    """
    known = readings or nothing()
    statuses: dict[str, Status] = {}
    specs: dict[str, Spec] = {}
    records: dict[str, AgentRecord] = {}
    enlisted: dict[str, AgentSpec] = {}
    problems: list[Problem] = []
    backlog: BacklogMap | loader.Problems = BacklogMap()
    hub: dict[str, Any] | loader.Problems = {}
    if (data := files.get(BACKLOG_MAP)) is not None:
        backlog = loader.load_backlog_map(BACKLOG_MAP, data)
    if (data := files.get(HUB)) is not None:
        hub = loader.load_mapping(HUB, data)
    if isinstance(backlog, tuple):
        problems.extend(backlog)
        backlog = BacklogMap()
    if isinstance(hub, tuple):
        problems.extend(hub)
        hub = {}
    lines = {entry.id: f"BACKLOG.md:{entry.line}" for entry in backlog.entries}
    origins = {folder: origin for origin, folder in SPEC_FOLDERS.items()}
    for path, data in files.items():
        folder, _, file = path.rpartition("/")
        name = file.removesuffix(".yaml")
        if name == file:
            continue
        if folder == OPEN:
            status = _status(known, path, data, files.get(f"{OPEN}/{name}.result.json"), algorithm)
            _keep(statuses, name, status, problems)
        elif folder in origins:
            line = lines.get(name, "") if origins[folder] is Origin.BACKLOG else ""
            _keep(specs, name, _made(known, path, data, line, algorithm), problems)
        elif folder == AGENTS:
            _keep(records, name, loader.load_record(path, data), problems)
        elif folder == ENLISTED:
            _keep(enlisted, name, loader.load_agent(path, data, ""), problems)
    return Folded(statuses, specs, records, enlisted, backlog, hub, tuple(problems))


def _status(known: Readings, path: str, data: bytes, result: bytes | None, algorithm: str) -> Status | loader.Problems:
    """Return one status; with a result of its own it is made of two files, and read each time."""
    if result is not None:
        return loader.load_status(path, data, result)
    return known.statuses.read(blob_id(data, algorithm), partial(loader.load_status, path, data))


def _made(known: Readings, path: str, data: bytes, where: str, algorithm: str) -> Spec | loader.Problems:
    """Return one specification that the hub made; ``where`` is shown for it."""
    blob = blob_id(data, algorithm)
    read = known.made.read(f"{path} {blob}", partial(loader.load_hub_task, path, data, blob))
    return read if isinstance(read, tuple) or not where else replace(read, where=where)


def _keep(into: dict[str, Any], name: str, result: object, problems: list[Problem]) -> None:
    if isinstance(result, tuple):
        problems.extend(result)
    else:
        into[name] = result


@dataclass(frozen=True, slots=True)
class Closed:
    """A finished task as it was put away; ``spec`` is None when a person's file asked for it."""

    status: Status
    spec: Spec | None


def closed_paths(path: str) -> tuple[str, str, str]:
    """Return where a finished task's status, large result and hub-made specification stand, by its status path."""
    stem = path.removesuffix(".yaml")
    return path, f"{stem}.result.json", f"{stem}.spec.yaml"


def read_closed(path: str, read: Callable[[str], bytes | None]) -> Closed | loader.Problems | None:
    """Return a finished task by its status path, problems when it is not readable, None when there is none.

    ``read`` gives one file by path or None.
    """
    data = read(path)
    if data is None:
        return None
    _, result_path, spec_path = closed_paths(path)
    status = loader.load_status(path, data, read(result_path))
    if isinstance(status, tuple):
        return status
    written = read(spec_path)
    if written is None:
        return Closed(status, None)
    spec = loader.load_hub_task(spec_path, written, blob_id(written, algorithm_of(status.spec)))
    return spec if isinstance(spec, tuple) else Closed(status, spec)
