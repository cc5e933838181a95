"""What may stand in each kind of YAML file: one pydantic model per kind, made of the kinds of words there are.

Models take guarded nodes (words are still text) and hold plain values. ``reader`` reads files with them and reports
what is wrong. This module knows neither ids from file names nor core values.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from coordinator.core.agent import Role
from coordinator.core.machine import State
from coordinator.core.policy import Lane, Reviews
from coordinator.core.task import RESERVED_IDS, End, Origin, Priority
from coordinator.files import convert, limits
from coordinator.files.convert import kind_of, wrong
from coordinator.files.guard import Map, Scalar, Seq
from coordinator.files.problem import shown

T = TypeVar("T")

#: A text that means the same between brackets; a comma is taken for one between two entries.
_IN_BRACKETS = re.compile(r"[\w][\w ,./@-]{0,50}\Z")


def _list(node: object) -> object:
    if not isinstance(node, Seq):
        short = isinstance(node, Scalar) and _IN_BRACKETS.match(node.value)
        hint = f"write [{shown(short[0])}]" if short else 'write "- " before each entry'
        raise wrong(f"expected a list, got {kind_of(node)}", hint)
    return node


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse entries that stand there already; the error tells which they are."""
    first: dict[T, int] = {}
    doubles = tuple(number for number, value in enumerate(values) if first.setdefault(value, number) != number)
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
    raise wrong(f"expected required or none, got {shown(value)}", "write review: required, or delete the line")


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
    odd = "\\" in value or "  " in value or not value.isprintable()  # it must come back whole from a line of a commit
    if value != "." and (odd or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)):
        raise wrong(f"{shown(value)} is no folder of the repository", "write a relative path such as .agentcom")
    return value


# --- kinds of words, for our reader and for editors -----------------------------------------------------------------


def _for_editors(*, hint: str = "", **schema: Any) -> WithJsonSchema:
    """Say in JSON Schema what a reader takes, as far as that can be said; ``hint`` is for a pattern that fails."""
    return WithJsonSchema({**schema, "patternErrorMessage": hint} if hint else schema)


def _any_text(**more: Any) -> WithJsonSchema:
    """Say so of a text: what YAML takes for a number or a truth value is a text here all the same."""
    return _for_editors(type=["string", "number", "boolean"], **more)


def _one_of(*words: str) -> WithJsonSchema:
    return _for_editors(enum=list(words))


def _number(low: int, high: int) -> Any:
    """Return the annotations of a whole number."""
    return BeforeValidator(convert.integer(low, high)), _for_editors(type="integer", minimum=low, maximum=high)


#: Regular expressions of JSON Schema: they are searched in the text, and only in texts.
_LINE = "[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]"
_IS_WORD = rf"^\s*(?=\S){_LINE}+\s*$"
_IS_NAME = r"^\s*[^\s-]\S*\s*$"
_IS_TITLE = r"^\s*\S[^\n\r]*\s*$"
_IS_ID = rf"^(?!(?:{'|'.join(sorted(RESERVED_IDS))})$)[a-z0-9][a-z0-9-]{{0,63}}$"
_IS_DURATION = r"^(?!0+(?:\.0+)?[smhd]$)[0-9]{1,12}(?:\.[0-9]{1,40})?[smhd]$"
_IS_TIME = (
    "^(?:19[7-9][0-9]|[2-9][0-9]{3})-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    "(?:[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?"
    "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]))?$"
)
_IS_SHA256 = "^[0-9a-f]{64}$"
_IS_FOLDER = r"^(?:\.|(?!(?:.*/)?(?:\.{0,2}|\.git)(?:/|$))[^\\]+)$"

Text = Annotated[str, BeforeValidator(convert.text), _any_text()]
Word = Annotated[
    str, BeforeValidator(convert.word), _any_text(pattern=_IS_WORD, minLength=1, maxLength=limits.WORD_CHARS)
]
Name = Annotated[str, BeforeValidator(convert.name), _any_text(pattern=_IS_NAME, maxLength=limits.WORD_CHARS)]
Title = Annotated[str, BeforeValidator(convert.title), _any_text(pattern=_IS_TITLE, maxLength=limits.TITLE_CHARS)]
Description = Annotated[
    str, BeforeValidator(convert.sized(limits.DESCRIPTION_BYTES)), _any_text(maxLength=limits.DESCRIPTION_BYTES)
]
Id = Annotated[
    str,
    BeforeValidator(convert.identifier),
    _for_editors(
        hint="write lower-case letters, digits and -, at most 64, and no reserved word",
        type=["string", "integer"],
        pattern=_IS_ID,
        minimum=0,
    ),
]
Bool = Annotated[bool, BeforeValidator(convert.boolean), _for_editors(type="boolean")]
_MOMENT = _for_editors(hint="write 2026-12-01 or 2026-12-01T12:00:00Z", type="string", pattern=_IS_TIME)
Time = Annotated[int, BeforeValidator(convert.time), _MOMENT]
Deadline = Annotated[int, BeforeValidator(convert.deadline), _MOMENT]
Duration = Annotated[
    float,
    BeforeValidator(convert.duration),
    _for_editors(hint="write a number and s, m, h or d: 30m", type="string", pattern=_IS_DURATION),
]
Count = Annotated[int, *_number(0, convert.LARGEST)]
Retry = Annotated[int, *_number(0, limits.RETRIES)]
Rerun = Annotated[int, *_number(0, limits.RERUNS)]
Slots = Annotated[int, *_number(1, 1_000_000)]
PriorityWord = Annotated[Priority, BeforeValidator(_priority), _one_of(*(item.word for item in Priority))]
Review = Annotated[bool, BeforeValidator(_review), _one_of("required", "none")]
TaskKind = Annotated[str, BeforeValidator(convert.choice("code", "note")), _one_of("code", "note")]
AgentRole = Annotated[Role, BeforeValidator(_enum(Role)), _one_of(*Role)]
AgentKind = Annotated[str, BeforeValidator(convert.choice("agent", "person")), _one_of("agent", "person")]
LaneWord = Annotated[Lane, BeforeValidator(_lane), _one_of(*Lane)]
Proposals = Annotated[
    str, BeforeValidator(convert.choice("hold", "queue", "refuse")), _one_of("hold", "queue", "refuse")
]
ReviewsWord = Annotated[Reviews, BeforeValidator(_enum(Reviews)), _one_of(*Reviews)]
Root = Annotated[str, BeforeValidator(_root), _any_text(pattern=_IS_FOLDER, maxLength=limits.WORD_CHARS)]
Sha256 = Annotated[
    str,
    BeforeValidator(_sha256),
    _for_editors(hint="make the file with: agentcom agent add", type="string", pattern=_IS_SHA256),
]
Hex = Annotated[str, BeforeValidator(_hex)]
Many = Annotated[tuple[T, ...], BeforeValidator(_list)]
Distinct = Annotated[
    tuple[T, ...], BeforeValidator(_list), AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})
]
Named = Annotated[dict[str, T], BeforeValidator(_mapping)]
Free = Annotated[dict[str, Any], BeforeValidator(_free_mapping)]


def _key(says: str, default: Any = ...) -> Any:
    """Return one key of a file: what it means, as editors show it, and its value when it is absent, if it may be."""
    return Field(default, description=says)


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
    generation: Count = _key("Which attempt asked: its generation.")
    text: Text = _key("The answer, as the agent gets it.")


class DecisionPart(Model):
    generation: Count = _key("Which attempt's result is meant: its generation.")
    approve: Bool = _key("true: the task is done. false: it goes back with the note.")
    note: Text = _key("What the agent should know.", "")


class TaskFile(Model):
    """``tasks/<id>.yaml``."""

    title: Title = _key("What is to be done, in one line.")
    description: Description = _key("As much text as the agent needs.", "")
    priority: PriorityWord = _key("Urgent tasks run first; without the key: normal.", Priority.NORMAL)
    needed_capabilities: Distinct[Word] = _key("Only agents that have all of these get the task.", ())
    depends_on: Distinct[Id] = _key("Ids of tasks that must be done first.", ())
    assignee: Id | None = _key("Id of the only agent that may get the task.", None)
    max_retries: Retry | None = _key("How often it is tried again after a failure.", None)
    timeout: Duration | None = _key("How long one attempt may take: a number and s, m, h or d.", None)
    deadline: Deadline | None = _key("When it must be done; a bare date ends that day, UTC.", None)
    not_before: Time | None = _key("It waits until then; a bare date begins that day, UTC.", None)
    review: Review | None = _key("required: a person approves the result before it counts; none: nobody does.", None)
    hold: Bool = _key("true: it waits until the line is deleted.", False)
    cancel: Bool = _key("true: it is given up.", False)
    rerun: Rerun = _key("Raise the number to run a finished task again.", 0)
    answer: AnswerPart | None = _key("Your answer to the question of an attempt.", None)
    review_decision: DecisionPart | None = _key("Your decision about the result of an attempt.", None)
    repo: Name | None = _key("A name under repos in agentcom.yaml.", None)
    base: Name | None = _key("The branch that work begins from.", None)
    kind: TaskKind | None = _key("code or note.", None)
    labels: Distinct[Word] = _key("Words to find it by.", ())
    acceptance: Many[Text] = _key("What must be true when it is done.", ())
    metadata: Free = Field(default_factory=dict, description="Handed to the agent as it is. No place for secrets.")


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
    sha256: Sha256 = _key("The SHA-256 of the token; `agentcom agent add` writes it.")
    prefix: Word = _key("How the token begins, so that people can tell which one it is.", "")
    not_after: Deadline | None = _key("It opens no session after this; a bare date ends that day, UTC.", None)


class AgentFile(Model):
    """``agents/<id>.yaml``."""

    name: Word = _key("How people call it.", "")
    capabilities: Distinct[Word] = _key("What it can do, nothing beyond; without the key, what it says of itself.", ())
    role: AgentRole = _key("reader, agent or coordinator; a reader gets no tasks.", Role.AGENT)
    kind: AgentKind = _key("agent or person; a person gets no tasks.", "agent")
    tokens: Many[TokenPart] = _key("The tokens that it may show to the hub, as hashes.", ())
    disabled: Bool = _key("true: its session is closed and its task goes back.", False)


class TimeoutsPart(Model):
    lost_after: Duration | None = _key("An agent that vanished keeps its task so long.", None)
    start_grace: Duration | None = _key("The same after a start of the hub.", None)
    accept: Duration | None = _key("Time to accept an assignment.", None)
    attempt: Duration | None = _key("Time for one attempt, unless the task says otherwise.", None)
    stuck: Duration | None = _key("Without progress so long: flagged.", None)
    stuck_fail: Duration | None = _key("Without progress so long: ended.", None)
    blocked: Duration | None = _key("A question waits so long.", None)
    release: Duration | None = _key("Time to say that cancelled work is dead.", None)


class RetriesPart(Model):
    max: Retry | None = _key("How often a task is tried again, unless it says otherwise.", None)
    backoff: Duration | None = _key("The pause before the first retry; it doubles each time.", None)
    backoff_max: Duration | None = _key("The longest pause.", None)


class RepoPart(Model):
    url: Word = _key("Where it is cloned from. No place for a password.")
    base: Name | None = _key("The branch that work begins from.", None)


class LimitsPart(Model):
    total: Slots | None = _key("So many tasks at once in all.", None)
    repo: Named[Slots] = Field(default_factory=dict, description="So many at once by name of the repository.")


class PolicyFile(Model):
    """``agentcom.yaml``."""

    root: Root = _key("The folder that holds BACKLOG.md, tasks/, agents/ and the hub's folders.", ".")
    timeouts: TimeoutsPart | None = _key("How long what may take: a number and s, m, h or d.", None)
    retries: RetriesPart | None = _key("What happens after a failure.", None)
    lanes: Named[LaneWord] = Field(default_factory=dict, description="Headings of BACKLOG.md besides the usual ones.")
    default_lane: LaneWord = _key("The lane of a BACKLOG.md without any heading.", Lane.DRAFT)
    repos: Named[RepoPart] = Field(
        default_factory=dict, description="Repositories by name: where the work of tasks goes."
    )
    default_repo: Name | None = _key("The name of the repository of a task that names none.", None)
    limits: LimitsPart | None = _key("How many tasks run at once.", None)
    suspend: Bool = _key("true: nothing new starts.", False)
    proposals: Proposals = _key("What becomes of tasks that agents propose: held for a person, run, refused.", "hold")
    review: ReviewsWord = _key("Whose results a person approves, where the task does not say.", Reviews.WITH_REPO)


# --- the machine's file, in no repository ---------------------------------------------------------------------------


class TlsPart(Model):
    cert: Word = _key("The certificate and its chain, in PEM.")
    key: Word = _key("Its key, in PEM, without a pass phrase.")


class MachineFile(Model):
    """``hub.yaml``: how the hub of this machine runs."""

    repo: Word | None = _key("A directory inside the repository.", None)
    remote: Word | None = _key("URL or name of the remote, or none.", None)
    source: Name | None = _key("The branch that people write on.", None)
    listen: Word | None = _key("HOST:PORT.", None)
    tls: TlsPart | None = _key("Certificate and key.", None)
    behind_proxy: Bool = _key("true: a proxy ends TLS and says whom it speaks for.", False)
    plain: Bool = _key("true: listen without TLS where others may read.", False)
    public_url: Word | None = _key("The address by which others reach the hub.", None)
    data_dir: Word | None = _key("Where messages are kept.", None)
    hook_secret: Word | None = _key("What forges sign push hooks with.", None)


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
    merged: Hex | None = None
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
    invites: Many[TokenPart] = ()
