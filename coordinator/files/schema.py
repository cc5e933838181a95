"""What may stand in each kind of YAML file: one pydantic model per kind, made of the kinds of words there are.

Models take guarded nodes (words are still text) and hold plain values. ``reader`` reads files with them and reports
what is wrong. This module knows neither ids from file names nor core values.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from coordinator.core.agent import Role
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.task import End, Origin, Priority
from coordinator.files import convert, limits
from coordinator.files.convert import kind_of, wrong
from coordinator.files.guard import Map, Scalar, Seq

T = TypeVar("T")

#: A text that means the same between brackets; a comma is taken for one between two entries.
_IN_BRACKETS = re.compile(r"[\w][\w ,./@-]{0,50}\Z")


def _list(node: object) -> object:
    if not isinstance(node, Seq):
        short = isinstance(node, Scalar) and _IN_BRACKETS.match(node.value)
        hint = f"write [{convert.shown(short[0])}]" if short else 'write "- " before each entry'
        raise wrong(f"expected a list, got {kind_of(node)}", hint)
    return node


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse entries that stand there already; the error tells which they are."""
    doubles = tuple(number for number, value in enumerate(values) if value in values[:number])
    if doubles:
        raise PydanticCustomError("doubles", "stands twice", {"doubles": doubles})
    return values


def _mapping(node: object, hint: str = "write key: value lines, indented") -> Map:
    if not isinstance(node, Map):
        raise wrong(f"expected a mapping, got {kind_of(node)}", hint)
    return node


def _free_mapping(node: object) -> dict[str, Any]:
    return {key: convert.free(value) for key, value in _mapping(node).items()}


def _priority(node: object) -> Priority:
    return Priority[convert.choice(*(item.word for item in Priority))(node).upper()]


def _review(node: object) -> bool:
    value = convert.text(node, "required or none")
    if value in ("required", "none"):
        return value == "required"
    raise wrong(f"expected required or none, got {convert.shown(value)}", "write review: required, or delete the line")


def _lane(node: object) -> Lane:
    spelled = convert.text(node, "a lane").strip().lower().replace(" ", "_").replace("-", "_")
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
    if value != "." and ("\\" in value or any(part in ("", ".", "..", ".git") for part in parts)):
        raise wrong(f"{convert.shown(value)} is no folder of the repository", "write a relative path such as .agentcom")
    return value


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
Count = Annotated[int, BeforeValidator(convert.integer(0, convert.LARGEST))]
Retry = Annotated[int, BeforeValidator(convert.integer(0, limits.RETRIES))]
Rerun = Annotated[int, BeforeValidator(convert.integer(0, limits.RERUNS))]
Slots = Annotated[int, BeforeValidator(convert.integer(1, 1_000_000))]
PriorityWord = Annotated[Priority, BeforeValidator(_priority)]
Review = Annotated[bool, BeforeValidator(_review)]
Sha256 = Annotated[str, BeforeValidator(_sha256)]
Hex = Annotated[str, BeforeValidator(_hex)]
Many = Annotated[tuple[T, ...], BeforeValidator(_list)]
Distinct = Annotated[tuple[T, ...], BeforeValidator(_list), AfterValidator(_distinct)]
Named = Annotated[dict[str, T], BeforeValidator(_mapping)]
Free = Annotated[dict[str, Any], BeforeValidator(_free_mapping)]


class Model(BaseModel):
    """The base of every mapping in a file: no unknown keys; a key without a value counts as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @classmethod
    def needed(cls) -> list[str]:
        """Return the keys that must be there."""
        return [key for key, field in cls.model_fields.items() if field.is_required()]

    @model_validator(mode="before")
    @classmethod
    def _present(cls, node: object) -> object:
        keys = cls.needed() or list(cls.model_fields)[:1]
        given = _mapping(node, f"write {{{', '.join(f'{key}: ...' for key in keys)}}}")
        return {key: value for key, value in given.items() if not (isinstance(value, Scalar) and value.null)}


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
    needed_capabilities: Distinct[Word] = ()
    depends_on: Distinct[Id] = ()
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
    labels: Distinct[Word] = ()
    acceptance: Many[Text] = ()
    metadata: Free = Field(default_factory=dict)


class HubTaskFile(TaskFile):
    """``tasks/backlog/<id>.yaml``, ``tasks/api/<id>.yaml`` and their closed twins: what the hub made.

    What it wrote once it must always be able to read, so words that stand twice pass here.
    """

    needed_capabilities: Many[Word] = ()
    depends_on: Many[Id] = ()
    labels: Many[Word] = ()
    origin: Annotated[Origin, BeforeValidator(_enum(Origin))]
    done: Bool = False


class TokenPart(Model):
    sha256: Sha256
    prefix: Word = ""
    not_after: Deadline | None = None


class AgentFile(Model):
    """``agents/<id>.yaml``."""

    name: Word = ""
    capabilities: Distinct[Word] = ()
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
