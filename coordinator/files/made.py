"""What is wanted of a task as a request says it -> a specification that the hub may write, or every mistake in it.

It goes the way of a file: written as a person's ``tasks/<id>.yaml`` it must be read back as what was meant. So a
request has the limits of a file, and a person may take the task over at any time. This module knows no repository.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pydantic_core import PydanticCustomError

from coordinator.core.task import Origin, Priority, Spec
from coordinator.files import convert, limits, loader
from coordinator.files.emitter import blob_id, emit_spec, emit_task
from coordinator.files.problem import Problem
from coordinator.files.taskfile import NotMeant

#: The extra key that keeps which request made a task.
REQUEST = "x-request"
#: Where what the hub was asked for stands, relative to root.
FOLDER = "tasks/api"
#: Keys of a request that stand in a specification under another name.
_FIELDS = {"timeout": "timeout_s"}
_EMPTY = Spec("t-0", "")
#: What a specification does not say of itself.
_MADE_BY_READING = frozenset({"origin", "blob", "where"})


def changed(before: Spec, values: Mapping[str, Any], algorithm: str = "sha1") -> Spec:
    """Return a specification with keys set, or taken away (None); it is one that was made here from now on.

    ``algorithm`` is the repository's object format. Raises NotMeant.
    """
    meant: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in values.items():
        name = _FIELDS.get(key, key)
        try:
            meant[name] = getattr(_EMPTY, name) if value is None else _value(key, value)
        except PydanticCustomError as error:
            hint = str((error.context or {}).get("hint", ""))
            problems.append(Problem("", field=key, what=error.message(), hint=hint))
    if problems:
        raise NotMeant(tuple(problems))
    return _written(replace(before, **meant), algorithm)


def title_of(description: str) -> str:
    """Return what a description begins with as a title: its first line, cut at a word."""
    line = next((" ".join(line.split()) for line in description.splitlines() if line.strip()), "")
    if len(line) <= limits.TITLE_CHARS:
        return line
    cut = line[: limits.TITLE_CHARS - 3]
    return (cut.rpartition(" ")[0] or cut) + "..."


def _value(key: str, value: Any) -> Any:
    match key, value:
        case "priority", int():
            return Priority(_level(value))
        case "priority", str():
            return Priority[convert.choice(*(one.word for one in Priority))(value.lower()).upper()]
        case "deadline", str():
            return convert.parse_time(value, end_of_day=True)
        case "not_before", str():
            return convert.parse_time(value)
        case "timeout", str():
            return convert.parse_duration(value)
        case "timeout", int() | float():
            return float(value)
        case "review", str():
            return convert.choice("required", "none")(value) == "required"
        case _, list():
            return tuple(value)
    return value


def _level(value: int) -> int:
    if value not in list(Priority):
        raise convert.wrong(f"{value} is no priority", "write urgent, high, normal, low, or 0 to 3")
    return value


def _written(spec: Spec, algorithm: str) -> Spec:
    """Return a specification as it is read back. Raises NotMeant."""
    path = f"{FOLDER}/{spec.id}.yaml"
    read = loader.load_task(path, emit_task(spec), "")
    if isinstance(read, tuple):
        raise NotMeant(read)
    lost = [
        Problem(path, field=one.name, what="would be read back as something else", hint="write it more plainly")
        for one in fields(Spec)
        if one.name not in _MADE_BY_READING and _lost(getattr(spec, one.name), getattr(read, one.name))
    ]
    if lost:
        raise NotMeant(tuple(lost))
    made = replace(read, origin=Origin.API)
    data = emit_spec(made)
    made = replace(made, blob=blob_id(data, algorithm))
    if loader.load_hub_task(path, data, made.blob) != made:
        raise NotMeant((Problem(path, what="would be read back as something else", hint="write it more plainly"),))
    return made


def _lost(meant: Any, read: Any) -> bool:
    """Tell whether more than outer blanks was lost."""
    if isinstance(meant, tuple):
        return len(meant) != len(read) or any(map(_lost, meant, read))
    return bool(meant.strip() != read.strip() if isinstance(meant, str) and isinstance(read, str) else meant != read)
