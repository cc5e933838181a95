"""WebSocket frames of PROTOCOL 1.1 to 1.5, in both directions.

Unknown fields are ignored (a newer peer may send more); a wrong type is a ``ValidationError``.
Wire times are integers, milliseconds since the epoch. Optional fields are absent, never null, when sent; only what is
pushed on from one agent to another names all of its fields.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, field_validator

PROTOCOL_VERSION = 1
#: Features that the hub knows (PROTOCOL 1.1).
FEATURES = ("progress", "release", "updates")
#: WebSocket close codes (PROTOCOL 1.1).
CLOSE_UNAUTHORIZED = 4401
CLOSE_IDENTIFY_TIMEOUT = 4408
CLOSE_REPLACED = 4409
CLOSE_VIOLATIONS = 1008
CLOSE_TOO_BIG = 1009
#: Largest frame that is read at all, and the largest one that is not a result, in bytes.
MAX_FRAME = 16 * 1024 * 1024
MAX_PLAIN_FRAME = 1024 * 1024
#: The longest list in an ``identify``; reading one ends at the first mistake, for anybody may send it.
MAX_LIST = 1_000


class Frame(BaseModel):
    """The base of every frame: immutable, tolerant of unknown fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str

    def encode(self) -> str:
        """Return the frame as JSON text; fields that are ``None`` are left out."""
        return self.model_dump_json(exclude_none=True)


# --- session (1.1) and liveness (1.2) -------------------------------------------------------------------------------


class Held(BaseModel):
    """One (task, generation) that a sidecar still holds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    task_id: str
    generation: int


def names_of(value: Any) -> Any:
    """Accept capabilities as strings or as objects with ``name`` (PROTOCOL 1.1)."""
    if isinstance(value, list | tuple) and len(value) <= MAX_LIST:
        return tuple(item["name"] if isinstance(item, dict) and "name" in item else item for item in value)
    return value


class Identify(Frame):
    type: Literal["identify"] = "identify"
    agent_id: str
    token: str | None = None
    name: str | None = None
    status: str | None = None
    capabilities: Annotated[tuple[str, ...], Field(max_length=MAX_LIST, fail_fast=True)] | None = None
    client_type: str | None = None
    protocol_version: int | None = None
    instance_id: str | None = None
    features: Annotated[tuple[str, ...], Field(max_length=MAX_LIST, fail_fast=True)] = ()
    holding: Annotated[tuple[Held, ...], Field(max_length=MAX_LIST, fail_fast=True)] | None = None

    @field_validator("capabilities", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return names_of(value)


class Identified(Frame):
    type: Literal["identified"] = "identified"
    agent_id: str
    session_id: str
    server_time: int
    #: Why this agent gets no work now, for its log; absent when it may get some.
    parked: str | None = None


class Error(Frame):
    type: Literal["error"] = "error"
    error: str
    detail: str = ""
    task_id: str | None = None
    #: Which attempt is meant; our hub always says so, so that a sidecar never forgets the wrong result.
    generation: int | None = None
    errors: list[dict[str, str]] | None = None
    retry_after_ms: int | None = None


class Ping(Frame):
    type: Literal["ping"] = "ping"


class Pong(Frame):
    type: Literal["pong"] = "pong"
    timestamp: int


# --- tasks, hub to sidecar (1.3) ------------------------------------------------------------------------------------


class Context(BaseModel):
    """What happened before this attempt, so that it never starts blind."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    attempts: list[dict[str, Any]] = Field(default_factory=list)
    answers: list[dict[str, Any]] = Field(default_factory=list)
    review: list[dict[str, Any]] = Field(default_factory=list)
    branch: str | None = None
    acceptance: list[str] = Field(default_factory=list)


class TaskAssign(Frame):
    """``ready_at`` is when the task was runnable and its agent free; ``received_at`` is stamped by the receiver.

    ``repo_url`` is where ``repo`` is cloned from, when the policy says so.
    """

    type: Literal["task_assign"] = "task_assign"
    task_id: str
    title: str
    description: str = ""
    priority: str = "normal"
    metadata: dict[str, Any] = Field(default_factory=dict)
    generation: int
    assigned_at: int
    ready_at: int | None = None
    received_at: int | None = None
    needed_capabilities: list[str] = Field(default_factory=list)
    repo: str | None = None
    repo_url: str | None = None
    base: str | None = None
    kind: str | None = None
    deadline: int | None = None
    timeout_s: float | None = None
    context: Context = Field(default_factory=Context)


AckStatus = Literal["accepted", "complete", "failed", "retried", "dead_letter", "rejected", "blocked"]


class TaskAck(Frame):
    type: Literal["task_ack"] = "task_ack"
    task_id: str
    status: AckStatus
    #: Which attempt is meant; absent from hubs that do not say so.
    generation: int | None = None


class TaskContinue(Frame):
    type: Literal["task_continue"] = "task_continue"
    task_id: str
    generation: int


class TaskReassign(Frame):
    type: Literal["task_reassign"] = "task_reassign"
    task_id: str
    #: Which attempt to drop; absent from hubs that do not say so (then whichever is in hand).
    generation: int | None = None


class TaskCancelled(Frame):
    type: Literal["task_cancelled"] = "task_cancelled"
    task_id: str
    generation: int
    reason: str = ""
    timestamp: int


class TaskUpdated(Frame):
    """Changed fields of a task in hand; only for clients with the feature ``updates``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["task_updated"] = "task_updated"
    task_id: str
    generation: int
    answer: str | None = None


class StateReportAck(Frame):
    type: Literal["state_report_ack"] = "state_report_ack"
    task_id: str
    action: Literal["continue", "abort"]


class Drain(Frame):
    type: Literal["drain"] = "drain"
    reason: str = ""


# --- tasks, sidecar to hub (1.4) ------------------------------------------------------------------------------------


class TaskAccepted(Frame):
    type: Literal["task_accepted"] = "task_accepted"
    task_id: str
    generation: int | None = None


class TaskRejected(Frame):
    type: Literal["task_rejected"] = "task_rejected"
    task_id: str
    reason: str = ""
    generation: int | None = None


class TaskProgress(Frame):
    type: Literal["task_progress"] = "task_progress"
    task_id: str
    generation: int | None = None
    progress: float | None = None
    note: str | None = None
    tokens_used: int | None = None


class TaskComplete(Frame):
    type: Literal["task_complete"] = "task_complete"
    task_id: str
    generation: int | None = None
    result: dict[str, Any] = Field(default_factory=dict)
    tokens_used: int | None = None


FailureClass = Literal["error", "timeout", "rate_limited", "environment", "budget"]


class TaskFailed(Frame):
    type: Literal["task_failed"] = "task_failed"
    task_id: str
    generation: int | None = None
    error: str | None = None
    reason: str | None = None
    failure_class: FailureClass = Field(
        default="error", validation_alias=AliasChoices("class", "failure_class"), serialization_alias="class"
    )
    retry_at: int | None = None
    output_tail: str | None = None

    def encode(self) -> str:
        return self.model_dump_json(exclude_none=True, by_alias=True)


class TaskBlocked(Frame):
    type: Literal["task_blocked"] = "task_blocked"
    task_id: str
    generation: int | None = None
    question: str = ""


class TaskReleased(Frame):
    type: Literal["task_released"] = "task_released"
    task_id: str
    generation: int
    unfinished: bool = False


class TaskRecovering(Frame):
    type: Literal["task_recovering"] = "task_recovering"
    task_id: str
    generation: int | None = None
    last_status: str | None = None


class StateReport(Frame):
    type: Literal["state_report"] = "state_report"
    task_id: str
    generation: int
    status: str = ""


class WakeResult(Frame):
    type: Literal["wake_result"] = "wake_result"
    task_id: str | None = None
    status: str
    attempt: int | None = None
    error: str | None = None


class ResourceReport(Frame):
    type: Literal["resource_report"] = "resource_report"


class AgentRestarting(Frame):
    type: Literal["agent_restarting"] = "agent_restarting"


class OllamaReport(Frame):
    type: Literal["ollama_report"] = "ollama_report"


# --- messages, channels, presence, to the hub (1.5) -----------------------------------------------------------------

#: The longest word in a message that is not its payload (an id, a type, a name), in characters.
WORD_CHARS = 200
Word = Annotated[str, Field(max_length=WORD_CHARS)]


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError("a payload must not be null")
    return value


Payload = Annotated[Any, AfterValidator(_not_null)]


class Message(Frame):
    type: Literal["message"] = "message"
    to: Word | None = None
    message_type: Word = "chat"
    payload: Payload
    reply_to: Word | None = None


class Status(Frame):
    type: Literal["status"] = "status"
    status: Word


class ListAgents(Frame):
    type: Literal["list_agents"] = "list_agents"


class ListChannels(Frame):
    type: Literal["list_channels"] = "list_channels"


class ChannelSubscribe(Frame):
    type: Literal["channel_subscribe"] = "channel_subscribe"
    channel: Word


class ChannelUnsubscribe(Frame):
    type: Literal["channel_unsubscribe"] = "channel_unsubscribe"
    channel: Word


class ChannelPublish(Frame):
    type: Literal["channel_publish"] = "channel_publish"
    channel: Word
    payload: Payload
    message_type: Word = "chat"
    reply_to: Word | None = None


class ChannelHistory(Frame):
    type: Literal["channel_history"] = "channel_history"
    channel: Word
    limit: int = 50
    since: int = 0


#: The frames of 1.5: what agents say to one another through the hub.
Chat = (
    Message
    | Status
    | ListAgents
    | ListChannels
    | ChannelSubscribe
    | ChannelUnsubscribe
    | ChannelPublish
    | ChannelHistory
)

# --- messages, channels, presence, from the hub (1.5) ---------------------------------------------------------------


class MessageSent(Frame):
    type: Literal["message_sent"] = "message_sent"
    id: str


class StatusUpdated(Frame):
    type: Literal["status_updated"] = "status_updated"


class Agents(Frame):
    type: Literal["agents"] = "agents"
    agents: list[dict[str, Any]]


class Channels(Frame):
    type: Literal["channels"] = "channels"
    channels: list[dict[str, Any]]


class ChannelSubscribed(Frame):
    type: Literal["channel_subscribed"] = "channel_subscribed"
    channel: str
    note: Literal["already_subscribed"] | None = None


class ChannelUnsubscribed(Frame):
    type: Literal["channel_unsubscribed"] = "channel_unsubscribed"
    channel: str


class ChannelPublished(Frame):
    type: Literal["channel_published"] = "channel_published"
    channel: str
    seq: int
    id: str


class ChannelPosts(Frame):
    type: Literal["channel_history"] = "channel_history"
    channel: str
    messages: list[dict[str, Any]]


class Pushed(Frame):
    """The base of what one agent said and another one hears: clients read every field, also one that is null."""

    id: str
    sender: str = Field(alias="from")
    message_type: str
    payload: Any
    reply_to: str | None
    timestamp: int

    def encode(self) -> str:
        return self.model_dump_json(by_alias=True)


class MessagePushed(Pushed):
    type: Literal["message"] = "message"


class ChannelMessage(Pushed):
    type: Literal["channel_message"] = "channel_message"
    channel: str


class AgentJoined(Frame):
    type: Literal["agent_joined"] = "agent_joined"
    agent: dict[str, Any]


class AgentLeft(Frame):
    type: Literal["agent_left"] = "agent_left"
    agent_id: str


class StatusChanged(Frame):
    type: Literal["status_changed"] = "status_changed"
    agent: dict[str, Any]


class ChannelAgentJoined(Frame):
    type: Literal["channel_agent_joined"] = "channel_agent_joined"
    channel: str
    agent_id: str


#: What the hub reads.
ToHub = Annotated[
    Identify
    | Ping
    | TaskAccepted
    | TaskRejected
    | TaskProgress
    | TaskComplete
    | TaskFailed
    | TaskBlocked
    | TaskReleased
    | TaskRecovering
    | StateReport
    | WakeResult
    | ResourceReport
    | AgentRestarting
    | OllamaReport
    | Chat,
    Field(discriminator="type"),
]

#: What a sidecar reads.
ToSidecar = Annotated[
    Identified
    | Error
    | Pong
    | TaskAssign
    | TaskAck
    | TaskContinue
    | TaskReassign
    | TaskCancelled
    | TaskUpdated
    | StateReportAck
    | Drain,
    Field(discriminator="type"),
]

to_hub: TypeAdapter[ToHub] = TypeAdapter(ToHub)
to_sidecar: TypeAdapter[ToSidecar] = TypeAdapter(ToSidecar)
