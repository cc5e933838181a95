"""Answers of the HTTP API (PROTOCOL 2.1): what a client may rely on.

More fields may come, in every answer; what is named here is always there. The hub's views are held to these models by
tests that ask a real hub, and they are what ``/openapi.json`` shows.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)


class Mistake(Answer):
    """One wrong field of a body."""

    field: str
    error: str
    detail: str


class Problem(Answer):
    """Why a request was not done: ``error`` for programs, ``hint`` for people."""

    error: str
    hint: str | None = None
    errors: list[Mistake] | None = None


class Unavailable(Problem):
    """Try again after ``Retry-After`` seconds; ``id`` names what may still come to be."""

    id: str | None = None


# --- messages and channels --------------------------------------------------------------------------------------------


class Message(Answer):
    """A message as everybody sees it; ``timestamp`` in ms."""

    id: str = Field(pattern="^[0-9a-f]{16}$")
    sender: str = Field(alias="from")
    to: str | None
    type: str
    payload: Any
    reply_to: str | None
    timestamp: int


class KeptMessage(Message):
    """A message in a mailbox."""

    seq: int


class MessageSent(Answer):
    status: Literal["sent"]
    id: str


class Mailbox(Answer):
    agent_id: str
    messages: list[KeptMessage]
    last_seq: int
    count: int


class Acked(Answer):
    status: Literal["acked"]
    up_to: int


class Messages(Answer):
    messages: list[KeptMessage]
    cursor: int | None
    count: int


class Thread(Answer):
    root: str
    messages: list[Message]
    count: int


class Replies(Answer):
    parent: str
    replies: list[Message]
    count: int


class Root(Answer):
    message_id: str
    root: str


class Retention(Answer):
    """How long a mailbox keeps a message, in ms."""

    mailbox_ttl_ms: int
    status: Literal["updated"] | None = None


class ChannelSummary(Answer):
    name: str
    description: str
    subscriber_count: int
    created_at: int


class Channel(ChannelSummary):
    subscribers: list[str]
    created_by: str


class Channels(Answer):
    channels: list[ChannelSummary]


class ChannelCreated(Answer):
    status: Literal["created"]
    channel: str


class Subscribed(Answer):
    status: Literal["subscribed", "already_subscribed"]
    channel: str


class Unsubscribed(Answer):
    status: Literal["unsubscribed"]
    channel: str


class Published(Answer):
    status: Literal["published"]
    seq: int


class HistoryEntry(Answer):
    seq: int
    message: Message
    stored_at: int


class ChannelHistory(Answer):
    channel: str
    messages: list[HistoryEntry]
    count: int


class Subscriptions(Answer):
    agent_id: str
    channels: list[str]


# --- numbers ----------------------------------------------------------------------------------------------------------


class AnalyticsSummary(Answer):
    total_agents: int
    agents_connected: int
    agents_active: int
    agents_idle: int
    agents_offline: int
    total_messages_24h: int
    timestamp: int


class AgentNumbers(Answer):
    agent_id: str
    connected: bool
    idle_ms: int | None
    status: str
    messages_sent_24h: int
    messages_received_24h: int
    last_active: int | None
    total_connections: int


class Hour(Answer):
    hour: str = Field(pattern="^[0-9]{2}:[0-9]{2}$")
    sent: int
    received: int


class Hourly(Answer):
    agent_id: str
    hourly: list[Hour]


# --- the hub ----------------------------------------------------------------------------------------------------------


class Health(Answer):
    status: Literal["ok", "unavailable"]
    service: Literal["agent_com"]
    agents_connected: int
    version: str


class Versioned(Answer):
    schema_version: int


class Problems(Versioned):
    problems: list[dict[str, Any]]


class HubStatus(Versioned):
    """The state of the whole: what ``agentcom status --json`` shows."""

    hub_id: str
    epoch: int
    version: str
    source: str
    observed_commit: str | None
    state_commit: str | None
    read_only: str | None
    by_status: dict[str, int]
    agents: list[dict[str, Any]]
    problems: list[dict[str, Any]]


class Standing(Answer):
    """How the whole stands: the one sentence, and each condition as code, level, text and hint."""

    status: Literal["ok", "warning", "critical"]
    sentence: str
    conditions: list[dict[str, Any]]


class Throughput(Answer):
    """The last 60 minutes; times in ms."""

    completed_last_hour: int
    avg_completion_ms: int | None
    total_tokens_hour: int


class DashboardState(Versioned):
    """The first page of the dashboard; ``timestamp`` in ms, ``uptime_ms`` null where a clone answers without a hub."""

    uptime_ms: int | None
    timestamp: int
    health: Standing
    agents: list[dict[str, Any]]
    queue: "TaskCounts"
    recent_completions: list[dict[str, Any]]
    throughput: Throughput


class Reconciled(Versioned):
    source: str
    observed_commit: str | None
    state_commit: str | None
    not_observed: list[dict[str, Any]]
    remote: dict[str, Any] | None


class Schemas(Versioned):
    protocol_version: int
    frames: dict[str, Any]
    bodies: dict[str, Any]
    answers: dict[str, Any]


# --- tasks and agents -------------------------------------------------------------------------------------------------


class Why(Answer):
    """Why a task waits."""

    code: str
    text: str
    refs: list[str]


class Task(Answer):
    """A task; times are RFC 3339 with ``_ms`` twins."""

    id: str
    task_id: str
    title: str
    description: str
    status: str
    legacy_status: Literal["queued", "assigned", "completed", "dead_letter"]
    priority: Literal["urgent", "high", "normal", "low"]
    priority_level: int
    generation: int
    assigned_to: str | None
    created_at: str
    created_at_ms: int
    result: dict[str, Any] | None
    why: Why | None


class TaskShown(Versioned, Task):
    history: list[dict[str, Any]]


class TaskList(Versioned):
    """A page of tasks: ``count`` is how many there are in all, ``cursor`` gives the next page, if there is one."""

    tasks: list[Task]
    count: int
    cursor: str | None


class TaskMade(Answer):
    """A new task; ``created_at`` in ms, ``held``: it waits until a person has looked."""

    id: str
    task_id: str
    status: Literal["queued"]
    priority: Literal["urgent", "high", "normal", "low"]
    created_at: int
    held: bool


class TaskChanged(Versioned, Task):
    """A task after a word or an edit; ``ack`` is what a frame with the same word would have been answered."""

    revision: str
    ack: str | None = None


class TaskProblem(Problem):
    """Why a task was not changed: how it stands, and in ``where`` the file or line that says what is wanted of it."""

    task_id: str | None = None
    status: str | None = None
    generation: int | None = None
    revision: str | None = None
    where: str | None = None


class TaskWord(Answer):
    """What a word made of a task."""

    status: Literal["requeued", "cancelled", "answered", "approved", "rejected", "deleted"]
    task_id: str
    priority: str | None = None


class ConfirmedHeld(Versioned):
    """What goes on now: batches of task ids by the commit that brought them, or the revision of what was proposed."""

    confirmed: list[dict[str, Any]]


class DefaultRepo(Answer):
    """Where tasks without a ``repo`` of their own are worked on."""

    default_repo: str | None
    configured: bool


class TaskCounts(Answer):
    """How many tasks there are; ``by_priority`` counts the queued ones, from 0 (urgent) to 3."""

    by_status: dict[str, int]
    by_priority: dict[str, int]
    dead_letter: int


class Agent(Answer):
    agent_id: str
    name: str
    status: str
    fsm_state: str
    capabilities: list[str]
    connected_at: int | None
    flags: list[str]


class AgentList(Versioned):
    agents: list[Agent]


class AgentState(Answer):
    """What an agent is at; ``connected_at`` in ms."""

    agent_id: str
    name: str
    fsm_state: str
    current_task_id: str | None
    capabilities: list[str]
    flags: list[str]
    connected_at: int | None


class AgentStates(Versioned):
    agents: list[AgentState]


class AgentStateShown(Versioned, AgentState):
    """``last_state_change`` in ms, null before the first one since the hub started."""

    last_state_change: int | None


class AgentAnswered(Answer):
    status: Literal["resumed", "draining", "undrained", "disabled", "enabled", "removed"]
    agent_id: str


# --- tokens -----------------------------------------------------------------------------------------------------------


class TokenIssued(Answer):
    """A new token, shown this once; ``where`` is the file that names the agent."""

    agent_id: str
    token: str = Field(pattern="^ac_[A-Za-z0-9_-]{43}$")
    where: str


class Registered(TokenIssued):
    """``task_id`` is a first task for this agent alone, null for one that gets no tasks."""

    hub_ws_url: str
    hub_api_url: str
    default_repo: str | None
    url: str | None
    task_id: str | None


class TokenShown(Answer):
    """A token that opens the door now. ``where``: the file that holds its hash; ``not_after`` in ms."""

    agent_id: str
    token_prefix: str
    where: str
    not_after: int | None


class Tokens(Answer):
    tokens: list[TokenShown]


class TokensRevoked(Answer):
    status: Literal["revoked"]
    agent_id: str


class Invited(Answer):
    """An invite, shown this once; ``expires`` in ms."""

    agent_id: str
    invite: str = Field(pattern="^ai_[A-Za-z0-9_-]{43}$")
    expires: int
