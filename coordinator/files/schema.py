"""What may stand in each kind of YAML file: one pydantic model per kind, and one way to report every mistake at once.

Models take guarded nodes (words are still text) and hold plain values. Unknown keys are errors with a suggestion; at
the top level keys that begin with ``x-`` are kept aside. This module knows neither ids from file names nor core values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from coordinator.core.agent import Role
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.task import End, Origin, Priority
from coordinator.files import convert, limits
from coordinator.files.convert import kind_of, suggest, wrong
from coordinator.files.guard import Map, Node, Scalar, Seq
from coordinator.files.problem import Problem

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


def _list(node: object) -> object:
    if not isinstance(node, Seq):
        hint = f"write [{convert.shown(node.value)}]" if isinstance(node, Scalar) else 'write "- " before each entry'
        raise wrong(f"expected a list, got {kind_of(node)}", hint)
    return node


def _mapping(node: object) -> Map:
    if not isinstance(node, Map):
        raise wrong(f"expected a mapping, got {kind_of(node)}", "write key: value lines, indented")
    return node


def _free_mapping(node: object) -> dict[str, Any]:
    return {key: convert.free(value) for key, value in _mapping(node).items()}


def _priority(node: object) -> Priority:
    return Priority[convert.choice(*(item.word for item in Priority))(node).upper()]


def _review(node: object) -> bool:
    value = convert.text(node)
    if value in ("required", "none"):
        return value == "required"
    raise wrong(f"expected required or none, got {convert.shown(value)}", "write review: required, or delete the line")


def _lane(node: object) -> Lane:
    spelled = convert.text(node).strip().lower().replace(" ", "_").replace("-", "_")
    return Lane(convert.choice(*Lane)(spelled))


def _enum(kind: Any) -> Callable[[object], Any]:
    read = convert.choice(*kind)
    return lambda node: kind(read(node))


def _sha256(node: object) -> str:
    value = convert.text(node)
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise wrong("expected a SHA-256 in 64 lower-case hex digits", "make the file with: agentcom agent add")
    return value


def _hex(node: object) -> str:
    value = convert.text(node)
    if set(value) - set("0123456789abcdef"):
        raise wrong("expected an object id in hex digits")
    return value


def _root(node: object) -> str:
    value = convert.word(node)
    parts = value.split("/")
    odd = "\\" in value or "  " in value or not value.isprintable()  # it must come back whole from a line of a commit
    if value != "." and (odd or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)):
        raise wrong(f"{convert.shown(value)} is no folder of the repository", "write a relative path such as .agentcom")
    return value


T = TypeVar("T")

Text = Annotated[str, BeforeValidator(convert.text)]
Word = Annotated[str, BeforeValidator(convert.word)]
Name = Annotated[str, BeforeValidator(convert.name)]
Title = Annotated[str, BeforeValidator(convert.title)]
Description = Annotated[str, BeforeValidator(convert.sized(limits.DESCRIPTION_BYTES))]
Id = Annotated[str, BeforeValidator(convert.identifier)]
Bool = Annotated[bool, BeforeValidator(convert.boolean)]
Time = Annotated[int, BeforeValidator(convert.time)]
Deadline = Annotated[int, BeforeValidator(convert.deadline)]
Duration = Annotated[float, BeforeValidator(convert.duration)]
Count = Annotated[int, BeforeValidator(convert.integer(0, 2**53))]
Retry = Annotated[int, BeforeValidator(convert.integer(0, limits.RETRIES))]
Rerun = Annotated[int, BeforeValidator(convert.integer(0, limits.RERUNS))]
Slots = Annotated[int, BeforeValidator(convert.integer(1, 1_000_000))]
PriorityWord = Annotated[Priority, BeforeValidator(_priority)]
Review = Annotated[bool, BeforeValidator(_review)]
Sha256 = Annotated[str, BeforeValidator(_sha256)]
Hex = Annotated[str, BeforeValidator(_hex)]
Many = Annotated[tuple[T, ...], BeforeValidator(_list)]
Named = Annotated[dict[str, T], BeforeValidator(_mapping)]
Free = Annotated[dict[str, Any], BeforeValidator(_free_mapping)]


class Model(BaseModel):
    """The base of every mapping in a file: no unknown keys; a key without a value counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _present(cls, node: object) -> object:
        return {key: value for key, value in _mapping(node).items() if not (isinstance(value, Scalar) and value.null)}


# --- people's files -------------------------------------------------------------------------------------------------


class AnswerPart(Model):
    generation: Count
    text: Text


class DecisionPart(Model):
    generation: Count
    approve: Bool
    note: Text = ""


class TaskFile(Model):
    """``tasks/<id>.yaml``."""

    title: Title
    description: Description = ""
    priority: PriorityWord = Priority.NORMAL
    needed_capabilities: Many[Word] = ()
    depends_on: Many[Id] = ()
    assignee: Id | None = None
    max_retries: Retry | None = None
    timeout: Duration | None = None
    deadline: Deadline | None = None
    not_before: Time | None = None
    review: Review = False
    hold: Bool = False
    cancel: Bool = False
    rerun: Rerun = 0
    answer: AnswerPart | None = None
    review_decision: DecisionPart | None = None
    repo: Name | None = None
    base: Name | None = None
    kind: Annotated[str, BeforeValidator(convert.choice("code", "note"))] | None = None
    labels: Many[Word] = ()
    acceptance: Many[Text] = ()
    metadata: Free = Field(default_factory=dict)


class HubTaskFile(TaskFile):
    """``tasks/backlog/<id>.yaml``, ``tasks/api/<id>.yaml`` and their closed twins: what the hub made."""

    origin: Annotated[Origin, BeforeValidator(_enum(Origin))]
    done: Bool = False


class TokenPart(Model):
    sha256: Sha256
    prefix: Word = ""
    not_after: Deadline | None = None


class AgentFile(Model):
    """``agents/<id>.yaml``."""

    name: Word = ""
    capabilities: Many[Word] = ()
    role: Annotated[Role, BeforeValidator(_enum(Role))] = Role.AGENT
    kind: Annotated[str, BeforeValidator(convert.choice("agent", "person"))] = "agent"
    tokens: Many[TokenPart] = ()
    disabled: Bool = False


class TimeoutsPart(Model):
    lost_after: Duration | None = None
    start_grace: Duration | None = None
    accept: Duration | None = None
    attempt: Duration | None = None
    stuck: Duration | None = None
    stuck_fail: Duration | None = None
    blocked: Duration | None = None
    release: Duration | None = None


class RetriesPart(Model):
    max: Retry | None = None
    backoff: Duration | None = None
    backoff_max: Duration | None = None


class RepoPart(Model):
    url: Word
    base: Name | None = None


class LimitsPart(Model):
    total: Slots | None = None
    repo: Named[Slots] = Field(default_factory=dict)


class PolicyFile(Model):
    """``agentcom.yaml``."""

    root: Annotated[str, BeforeValidator(_root)] = "."
    timeouts: TimeoutsPart | None = None
    retries: RetriesPart | None = None
    lanes: Named[Annotated[Lane, BeforeValidator(_lane)]] = Field(default_factory=dict)
    default_lane: Annotated[Lane, BeforeValidator(_lane)] = Lane.DRAFT
    repos: Named[RepoPart] = Field(default_factory=dict)
    default_repo: Name | None = None
    limits: LimitsPart | None = None
    suspend: Bool = False
    proposals: Annotated[str, BeforeValidator(convert.choice("hold", "queue", "refuse"))] = "hold"


# --- the hub's own files --------------------------------------------------------------------------------------------


class AttemptPart(Model):
    generation: Count
    agent: Text = ""
    end: Annotated[End, BeforeValidator(_enum(End))]
    reason: Text = ""
    output_tail: Text = ""
    spent: Bool = False


class StatusFile(Model):
    """``status/open/<id>.yaml`` and its closed twin."""

    status: Annotated[State, BeforeValidator(_enum(State))]
    assigned_to: Text | None = None
    last_owner: Text | None = None
    preferred: Text | None = None
    generation: Count = 0
    created_at: Time = 0
    created_by: Text = ""
    assigned_at: Time | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    retry_count: Count = 0
    max_retries: Count = 2
    excluded: Many[Text] = ()
    not_before: Time | None = None
    reason: Text = ""
    question: Text | None = None
    answers: Many[AnswerPart] = ()
    reviews: Many[DecisionPart] = ()
    orphaned: Bool = False
    held: Bool = False
    deleted: Bool = False
    rerun: Count = 0
    spec: Hex = ""
    attempts: Many[AttemptPart] = ()
    orphans: Many[Count] = ()
    result: Free | None = None
    result_file: Text = ""


class RecordFile(Model):
    """``status/agents/<id>.yaml``."""

    parked_until: Time | None = None
    parked_reason: Text = ""
    draining: Bool = False
    tokens: Many[TokenPart] = ()
    revoked: Many[Sha256] = ()
    accepted: Hex = ""


# --- reading with all mistakes at once ------------------------------------------------------------------------------

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Read(Generic[M]):
    """One file as read: the model, the ``x-`` keys, and the place (line, column) of each value at the top level."""

    file: M
    extra: dict[str, Any]
    marks: dict[str, tuple[int, int]]


def read(model: type[M], root: Node | None, path: str) -> Read[M] | tuple[Problem, ...]:
    """Return one file as read, or every mistake in it, in the order of the file."""
    if root is None:
        return (Problem(path, what="the file is empty", hint=_start(model)),)
    if not isinstance(root, Map):
        what = f"expected key: value lines, got {kind_of(root)}"
        return (Problem(path, root.line, root.column, "", what, _start(model)),)
    extra = {key: convert.free(value) for key, value in root.items() if key.startswith("x-")}
    body: Map = root
    if extra:
        body = Map(root.line, root.column)
        body.update((key, value) for key, value in root.items() if key not in extra)
        body.marks = root.marks
    try:
        file = model.model_validate(body)
    except ValidationError as error:
        found = (_problem(model, body, path, one) for one in error.errors(include_url=False, include_input=False))
        return tuple(sorted(dict.fromkeys(found)))
    return Read(file, extra, {key: (node.line, node.column) for key, node in root.items()})


def _start(model: type[Model]) -> str:
    required = [key for key, field in model.model_fields.items() if field.is_required()]
    return f"begin with {required[0]}: ..." if required else "delete it or write key: value lines"


def _problem(model: type[Model], root: Map, path: str, error: ErrorDetails) -> Problem:
    """Turn one pydantic error into a problem with its place in the file."""
    place, line, column = _locate(root, error["loc"], key_only=error["type"] == "extra_forbidden")
    name = str(error["loc"][-1]) if error["loc"] else ""
    match error["type"]:
        case "wrong":
            context = error["ctx"]
            return Problem(path, line, column, place, str(context["what"]), str(context["hint"]))
        case "extra_forbidden":
            known = _keys(model, error["loc"][:-1])
            close = SYNONYMS.get(name.lower().replace("-", "_"), "")
            hint = f"did you mean {close}?" if close in known else suggest(name, known)
            if not hint:
                hint = f"write x-{name} to keep it" if len(error["loc"]) == 1 else "delete it"
            return Problem(path, line, column, convert.shown(place), "unknown key", hint)
        case "missing":
            return Problem(path, line, column, place, "is missing", f"add {name}: ...")
        case _:  # pragma: no cover - every reader above raises ``wrong``
            return Problem(path, line, column, place, error["msg"])


def _locate(root: Map, loc: tuple[int | str, ...], *, key_only: bool) -> tuple[str, int, int]:
    """Follow a pydantic location through the nodes, as far as it goes: field as people write it, line, column."""
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
            return field, line, column
        if key_only and depth == len(loc) - 1:
            line, column = node.marks[step]
        else:
            node = node[step]
            line, column = node.line, node.column
    return field, line, column


def _keys(model: type[Model], loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the keys that a mapping inside a file knows, by following the annotations."""
    kind: Any = model
    for step in loc:
        if isinstance(step, str) and isinstance(kind, type) and issubclass(kind, Model) and step in kind.model_fields:
            kind = _part(kind.model_fields[step].annotation) or kind
    return tuple(kind.model_fields)


def _part(annotation: Any) -> type[Model] | None:
    """Find the model inside ``X | None``, ``tuple[X, ...]`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _part(part)) is not None), None)
