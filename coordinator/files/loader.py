"""Bytes of one file -> one value of the core, or every mistake in it.

A reader never raises for what stands in a file: it returns the value or a tuple of problems, and only problems
come as a tuple. This module knows no repository: paths only name files in messages.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from coordinator.core.agent import AgentRecord, AgentSpec, Token
from coordinator.core.backlog import BacklogMap, MapEntry, fold
from coordinator.core.policy import DEFAULT_LANES, Lane, Limits, Policy, RepoTarget, Retries, Timeouts
from coordinator.core.task import ID_PATTERN, Answer, Attempt, Decision, Origin, Spec, Status, is_id
from coordinator.files import guard, limits, reader, schema, secrets
from coordinator.files.convert import free
from coordinator.files.guard import Map, Node, Scalar, Seq, Unreadable
from coordinator.files.problem import Problem, shown

Problems = tuple[Problem, ...]


def refused(path: str, error: Unreadable) -> Problems:
    """Return what the guard said as a problem of ``path``."""
    return (Problem(path, error.line, error.column, "", error.what, error.hint),)


def load_task(path: str, data: bytes, blob: str, *, reserved: tuple[str, ...] = ()) -> Spec | Problems:
    """Read a person's ``tasks/<id>.yaml``; ``reserved`` names more words that are no ids (the source branch)."""
    return _task(path, data, blob, schema.TaskFile, reserved)


def load_hub_task(path: str, data: bytes, blob: str, *, where: str = "") -> Spec | Problems:
    """Read a specification that the hub made (open, or closed as ``<id>.spec.yaml``); ``where`` is shown for it."""
    result = _task(path, data, blob, schema.HubTaskFile, ())
    return result if isinstance(result, tuple) or not where else replace(result, where=where)


def _task(
    path: str, data: bytes, blob: str, model: type[schema.TaskFile], reserved: tuple[str, ...]
) -> Spec | Problems:
    hub = model is schema.HubTaskFile
    name, wrong_name = _id_of(path.removesuffix(".yaml").removesuffix(".spec") if hub else path, reserved)
    read = _read(model, path, data, guard.HUB if hub else guard.PEOPLE)
    if isinstance(read, tuple):
        return wrong_name + read
    if wrong_name:
        return wrong_name
    file, extra = read.file, read.extra
    return Spec(
        id=name,
        title=file.title,
        description=file.description,
        priority=file.priority,
        needed_capabilities=file.needed_capabilities,
        depends_on=file.depends_on,
        assignee=file.assignee,
        max_retries=file.max_retries,
        timeout_s=file.timeout,
        deadline=file.deadline,
        not_before=file.not_before,
        review=file.review,
        hold=file.hold,
        cancel=file.cancel,
        done=file.done if isinstance(file, schema.HubTaskFile) else False,
        rerun=file.rerun,
        answer=None if file.answer is None else Answer(file.answer.generation, file.answer.text),
        decision=None if file.review_decision is None else _decision(file.review_decision),
        repo=file.repo,
        base=file.base,
        kind=file.kind,
        labels=file.labels,
        metadata=file.metadata,
        extra=extra,
        acceptance=file.acceptance,
        origin=file.origin if isinstance(file, schema.HubTaskFile) else Origin.FILE,
        blob=blob,
        where=path,
    )


def load_agent(path: str, data: bytes, blob: str, *, reserved: tuple[str, ...] = ()) -> AgentSpec | Problems:
    """Read ``agents/<id>.yaml``."""
    name, wrong_name = _id_of(path, reserved)
    read = _read(schema.AgentFile, path, data)
    if isinstance(read, tuple):
        return wrong_name + read
    if wrong_name:
        return wrong_name
    file, extra = read.file, read.extra
    tokens = tuple(map(_token, file.tokens))
    return AgentSpec(name, file.name, file.capabilities, file.role, file.kind, tokens, file.disabled, extra, blob, path)


def load_machine(path: str, data: bytes) -> schema.MachineFile | Problems:
    """Read a machine config, which is in no repository and may hold a secret; an empty file says nothing."""
    try:
        read = reader.read(schema.MachineFile, guard.load(data) or Map(1, 1), path)
    except Unreadable as error:
        return refused(path, error)
    return read if isinstance(read, tuple) else read.file


def load_policy(path: str, data: bytes, blob: str) -> Policy | Problems:
    """Read ``agentcom.yaml``; an empty file means the defaults. Lanes add to the default headings or change them."""
    read = _read(schema.PolicyFile, path, data, empty=Map(1, 1))
    if isinstance(read, tuple):
        return read
    file = read.file
    bounds = file.limits or schema.LimitsPart.model_construct()
    return Policy(
        root=file.root,
        timeouts=Timeouts(**_given(file.timeouts)),
        retries=Retries(**_given(file.retries)),
        lanes={**DEFAULT_LANES, **{fold(heading): lane for heading, lane in file.lanes.items()}},
        default_lane=file.default_lane,
        repos={name: RepoTarget(part.url, part.base) for name, part in file.repos.items()},
        default_repo=file.default_repo,
        limits=Limits(bounds.total, bounds.repo),
        suspend=file.suspend,
        proposals=file.proposals,
        review=file.review,
        blob=blob,
    )


def load_status(path: str, data: bytes, result: bytes | None = None) -> Status | Problems:
    """Read a status that the hub wrote; ``result`` is the content of its result file, when it has one."""
    read = _read(schema.StatusFile, path, data, guard.HUB)
    if isinstance(read, tuple):
        return read
    file = read.file
    outcome: Mapping[str, Any] | None = file.result
    if file.result_file and result is not None:
        try:
            outcome = json.loads(result)
        except (ValueError, RecursionError) as error:
            beside = f"{path.rpartition('/')[0]}/{file.result_file}"
            return (Problem(beside, what=f"not readable as JSON: {error}", hint="restore it from git"),)
    return Status(
        status=file.status,
        generation=file.generation,
        assigned_to=file.assigned_to,
        last_owner=file.last_owner,
        preferred=file.preferred,
        created_at=file.created_at,
        created_by=file.created_by,
        assigned_at=file.assigned_at,
        started_at=file.started_at,
        completed_at=file.completed_at,
        retry_count=file.retry_count,
        max_retries=file.max_retries,
        excluded=file.excluded,
        not_before=file.not_before,
        reason=file.reason,
        question=file.question,
        answers=tuple(Answer(part.generation, part.text) for part in file.answers),
        reviews=tuple(map(_decision, file.reviews)),
        merged=file.merged,
        orphaned=file.orphaned,
        held=file.held,
        deleted=file.deleted,
        rerun=file.rerun,
        spec=file.spec,
        attempts=tuple(Attempt(a.generation, a.agent, a.end, a.reason, a.output_tail, a.spent) for a in file.attempts),
        orphans=file.orphans,
        result=outcome,
    )


def load_record(path: str, data: bytes) -> AgentRecord | Problems:
    """Read ``status/agents/<id>.yaml``; an empty file is an empty record."""
    name = path.rpartition("/")[2].removesuffix(".yaml")
    try:
        root = guard.load(data, guard.HUB)
    except Unreadable as error:
        return refused(path, error)
    if root is None:
        return AgentRecord(name)
    read = reader.read(schema.RecordFile, root, path)
    if isinstance(read, tuple):
        return read
    file = read.file
    return AgentRecord(
        name,
        file.parked_until,
        file.parked_reason,
        file.draining,
        tuple(map(_token, file.tokens)),
        file.revoked,
        file.accepted,
        tuple(map(_token, file.invites)),
    )


def load_mapping(path: str, data: bytes) -> dict[str, Any] | Problems:
    """Read a mapping without a schema (``status/hub.yaml``)."""
    try:
        root = guard.load(data, guard.HUB)
    except Unreadable as error:
        return refused(path, error)
    if root is None:
        return {}
    if not isinstance(root, Map):
        return (Problem(path, what="expected key: value lines", hint="restore it from git"),)
    result: dict[str, Any] = free(root)
    return result


def load_backlog_map(path: str, data: bytes) -> BacklogMap | Problems:
    """Read ``status/backlog.json``."""
    try:
        raw = json.loads(data)
        entries, gone = tuple(map(_map_entry, raw["items"])), tuple(map(_map_entry, raw.get("gone", ())))
        finished = {(str(title), str(heading)): int(count) for title, heading, count in raw["finished"]}
        if not all(ID_PATTERN.match(entry.id) for entry in (*entries, *gone)):
            raise ValueError("an id that is none")
        return BacklogMap(entries, gone, finished, str(raw["blob"]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return (Problem(path, what=f"not readable: {type(error).__name__}: {error}", hint="restore it from git"),)


def _map_entry(one: Mapping[str, Any]) -> MapEntry:
    return MapEntry(
        id=str(one["id"]),
        title=str(one["title"]),
        heading=str(one["heading"]),
        lane=Lane(one["lane"]),
        line=int(one["line"]),
        check=str(one.get("check", "")),
        digest=str(one["digest"]),
        started=bool(one.get("started", False)),
        born=(str(one["born"][0]), str(one["born"][1])) if "born" in one else None,
    )


def marks(data: bytes) -> dict[str, tuple[int, int]]:
    """Return line and column of each value of a YAML file, as ``tls.cert``; nothing when it cannot be read."""
    try:
        return dict(_marks(guard.load(data), ""))
    except Unreadable:
        return {}


def _marks(node: Node | None, at: str) -> Iterator[tuple[str, tuple[int, int]]]:
    for key, value in node.items() if isinstance(node, Map) else ():
        yield f"{at}{key}", (value.line, value.column)
        yield from _marks(value, f"{at}{key}.")


def _read(
    model: type[reader.M], path: str, data: bytes, bounds: guard.Bounds = guard.PEOPLE, *, empty: Node | None = None
) -> reader.Read[reader.M] | Problems:
    """Read one file; ``empty`` is what a file that says nothing counts as, a mistake when it is None."""
    root = empty
    read: reader.Read[reader.M] | Problems
    try:
        loaded = guard.load(data, bounds)
        root = empty if loaded is None else loaded
        read = reader.read(model, root, path)
    except Unreadable as error:
        read = refused(path, error)
    disclosed = () if bounds is guard.HUB else _disclosed(path, data, root)
    if not disclosed:
        return read
    return tuple(sorted((*disclosed, *(read if isinstance(read, tuple) else ()))))


def _disclosed(path: str, data: bytes, root: Node | None) -> Problems:
    """Return what a person's file gives away: by its looks wherever it stands, by its key where keys are free."""
    try:
        text = guard.decode(data, limits.YAML_BYTES)
    except Unreadable:
        return ()  # it is refused as a whole, and never shown
    found: dict[tuple[int, int], Problem] = {}
    secret = secrets.find(text)
    for one, (line, column) in zip(secret, guard.places(text, [one.start for one in secret]), strict=True):
        what = f"looks like {one.what} ({secrets.beginning(text[one.start : one.end])})"
        found[line, column] = Problem(path, line, column, "", what, secrets.advice(one.what))
    if isinstance(root, Map):
        for key, node in root.items():
            if key == "metadata" or key.startswith("x-"):
                for field, value in _named_secrets(key, key.removeprefix("x-"), node):
                    hint = f"{secrets.advice('')}; ${{NAME}} may name a variable"
                    problem = Problem(path, value.line, value.column, field, "is a secret by its name", hint)
                    found.setdefault((value.line, value.column), problem)
    return tuple(found.values())


def _named_secrets(field: str, key: str, node: Node) -> Iterator[tuple[str, Scalar]]:
    """Yield each word whose key says that it is a secret, with its field."""
    match node:
        case Map():
            for inner, value in node.items():
                yield from _named_secrets(f"{field}.{inner}", inner, value)
        case Seq():
            for number, value in enumerate(node):
                yield from _named_secrets(f"{field}[{number}]", "", value)
        case _:
            if secrets.names_a_secret(key, node.value):
                yield shown(field), node


def _id_of(path: str, reserved: tuple[str, ...]) -> tuple[str, Problems]:
    """Return the id that a file name says, and what is wrong with it."""
    name = path.rpartition("/")[2].removesuffix(".yaml")
    if is_id(name, *reserved):
        return name, ()
    if ID_PATTERN.match(name):
        return name, (Problem(path, what=f"the id {name} is reserved", hint="rename the file"),)
    hint = "rename it: lower-case letters, digits and -, at most 64 characters"
    return name, (Problem(path, what="the file name is no id", hint=hint),)


def _decision(part: schema.DecisionPart) -> Decision:
    return Decision(part.generation, part.approve, part.note)


def _token(part: schema.TokenPart) -> Token:
    return Token(part.sha256, part.prefix, part.not_after)


def _given(part: schema.TimeoutsPart | schema.RetriesPart | None) -> dict[str, Any]:
    """Return what people set; the rest keeps the core's defaults."""
    return {} if part is None else {key: value for key, value in part if value is not None}
