"""A guarded mapping -> one model of ``schema``, or every mistake in it, each with its place, its field and what to do.

Unknown keys are errors with a suggestion; at the top level keys that begin with ``x-`` are kept aside. This module
knows no kind of file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from coordinator.files import convert, secrets
from coordinator.files.convert import kind_of, suggest
from coordinator.files.guard import Map, Node, Scalar, Seq
from coordinator.files.problem import Problem, shown
from coordinator.files.schema import Model

#: What people write instead -> the key that is meant, where spelling alone would not find it.
SYNONYMS = {
    "agent": "assignee",
    "assigned_to": "assignee",
    "assign_to": "assignee",
    "body": "description",
    "capabilities_needed": "needed_capabilities",
    "needs": "needed_capabilities",
    "requires": "needed_capabilities",
    "depends": "depends_on",
    "after": "depends_on",
    "dependencies": "depends_on",
    "due": "deadline",
    "complete_by": "deadline",
    "retries": "max_retries",
    "tags": "labels",
    "approve": "review_decision",
    "skills": "capabilities",
    "token": "tokens",
    "branch": "base",
}
#: ``key:value``, which YAML takes for one word.
_GLUED = re.compile(r"([A-Za-z_-]{1,60}):\S")

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Read(Generic[M]):
    """One file as read: the model and the ``x-`` keys."""

    file: M
    extra: dict[str, Any]


def read(model: type[M], root: Node | None, path: str) -> Read[M] | tuple[Problem, ...]:
    """Return one file as read, or every mistake in it, in the order of the file."""
    if root is None:
        return (Problem(path, what="the file is empty", hint=_start(model)),)
    if not isinstance(root, Map):
        glued = _GLUED.match(root.value) if isinstance(root, Scalar) else None
        hint = f"write a blank after the colon: {shown(glued[1])}: ..." if glued else _start(model)
        return (Problem(path, root.line, root.column, "", f"expected key: value lines, got {kind_of(root)}", hint),)
    extra = {key: convert.free(value) for key, value in root.items() if key.startswith("x-")}
    body: Map = root
    if extra:
        body = Map(root.line, root.column)
        body.update((key, value) for key, value in root.items() if key not in extra)
        body.marks = root.marks
    try:
        return Read(model.model_validate(body), extra)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)
        found = [problem for mistake in mistakes for problem in _problems(model, body, path, mistake)]
        return tuple(sorted(dict.fromkeys(found)))


def _start(model: type[Model]) -> str:
    needed = model.needed()
    return f"begin with {needed[0]}: ..." if needed else "delete it or write key: value lines"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an error stands: the field as people write it, line, column, and the node there, if any."""

    field: str
    line: int
    column: int
    node: Node | None

    def says(self, path: str, what: str, hint: str) -> Problem:
        return Problem(path, self.line, self.column, shown(self.field), what, hint)


def _problems(model: type[Model], root: Map, path: str, error: ErrorDetails) -> Iterator[Problem]:
    """Turn one pydantic error into problems with their places in the file."""
    loc = error["loc"]
    context: Mapping[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "wrong":
            place = _locate(root, loc)
            what, hint = context["what"], context["hint"]
            if loc and isinstance(loc[-1], int) and isinstance(place.node, Seq):
                hint = hint if "mapping" in what else convert.as_entries(place.node)
            yield place.says(path, what, hint)
        case "doubles":
            for number in context["doubles"]:
                place = _locate(root, (*loc, number))
                yield place.says(path, f"{_word(place.node)} stands twice", "delete one")
        case "extra_forbidden":
            yield _locate(root, loc, at_key=True).says(path, "unknown key", _meant(model, loc))
        case "missing":
            place = _locate(root, loc)
            hint = f"add {loc[-1]}: ..."
            if place.node is None:
                yield place.says(path, "is missing", hint)
            else:
                yield place.says(path, "has no value", "write one after the colon, in quotes if it begins with #")
        case _:  # pragma: no cover - every reader of schema raises one of the above
            yield _locate(root, loc).says(path, error["msg"], "")


def _word(node: Node | None) -> str:
    return shown(node.value) if isinstance(node, Scalar) else "it"


def _meant(model: type[Model], loc: tuple[int | str, ...]) -> str:
    """Say what to do about an unknown key: the key that was meant, or the place where it belongs."""
    name = str(loc[-1])
    here = _model_at(model, loc[:-1])
    close = SYNONYMS.get(name.lower().replace("-", "_"), "")
    if close in here.model_fields:
        return f"did you mean {close}?"
    if hint := suggest(name, tuple(here.model_fields)):
        return hint
    if here is not model and name in model.model_fields:
        return "indent it less: it belongs to the top level"
    for key, field in here.model_fields.items():
        below = _part(field.annotation)
        if below is not None and name in below.model_fields:
            return f"write it below {key}:, indented"
    if len(loc) > 1 or secrets.find(name):
        return "delete it"
    return f"write x-{shown(re.sub(r'^x[-_]', '', name.lower()))} to keep it"


def _locate(root: Map, loc: tuple[int | str, ...], *, at_key: bool = False) -> _Place:
    """Follow a pydantic location through the nodes, as far as it goes; ``at_key`` ends at the last key itself."""
    node: Any = root
    field = ""
    line, column = root.line, root.column
    for depth, step in enumerate(loc):
        if isinstance(step, int):
            field += f"[{step}]"
            inside = isinstance(node, Seq) and step < len(node)
        else:
            field += f".{step}" if field else step
            inside = isinstance(node, Map) and step in node
        if not inside:
            return _Place(field, line, column, None)
        if at_key and depth == len(loc) - 1:
            line, column = node.marks[step]
        else:
            node = node[step]
            line, column = node.line, node.column
    return _Place(field, line, column, node)


def _model_at(model: type[Model], loc: tuple[int | str, ...]) -> type[Model]:
    """Return the model of a mapping inside a file, by following the annotations."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            model = _part(model.model_fields[step].annotation) or model
    return model


def _part(annotation: Any) -> type[Model] | None:
    """Find the model inside ``X | None``, ``tuple[X, ...]`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _part(part)) is not None), None)
