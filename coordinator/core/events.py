"""What the core is told and what it decides: events in, effects out, messages to agents.

Values only. Words of agents are already parsed and authenticated; whether they count is the reconciler's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from coordinator.core.agent import AgentRecord, AgentSpec, Session, Token
from coordinator.core.guards import Batch
from coordinator.core.machine import Event
from coordinator.core.policy import Lane, Policy, RepoTarget
from coordinator.core.task import Spec, Task


@dataclass(frozen=True, slots=True)
class Actor:
    """Who caused something: the hub itself, an agent (``name`` is its id) or a person (as git names them)."""

    kind: Literal["hub", "agent", "person"]
    name: str = ""
    email: str = ""


HUB = Actor("hub")


def agent_actor(agent_id: str) -> Actor:
    """Return the actor for an agent."""
    return Actor("agent", agent_id)


# --- words of agents (PROTOCOL 1.4) ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    task: str
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """``reason`` equal to ``busy`` gives the task back; any other excludes the agent from it."""

    task: str
    generation: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    task: str
    generation: int | None = None
    progress: float | None = None
    note: str = ""
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    task: str
    generation: int | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    tokens: int | None = None


class FailureClass(StrEnum):
    """Why an attempt failed, as far as the agent's sidecar can tell."""

    ERROR = "error"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    ENVIRONMENT = "environment"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Failed:
    """``retry_at`` is wall time in ms, meant for ``rate_limited``."""

    task: str
    generation: int | None = None
    kind: FailureClass = FailureClass.ERROR
    reason: str = ""
    retry_at: int | None = None
    output_tail: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    task: str
    generation: int | None = None
    question: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    task: str
    generation: int = 0
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Recovering:
    task: str
    generation: int | None = None
    last_status: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """A ``state_report``."""

    task: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Woken:
    """A ``wake_result``; success without a task is a passed wake check."""

    task: str | None = None
    status: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The agent's sidecar is about to stop: no new work in this session (``agent_restarting``)."""

    task: None = None


Word = Accepted | Rejected | Progress | Complete | Failed | Blocked | Released | Recovering | Reported | Woken | Leaving


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The hub has loaded its memory from the branch.

    ``anew`` says in words why no result of an earlier assignment may count as current: a hub id that never claimed this
    branch before, a branch that was restored. Empty when the hub just goes on.
    """

    anew: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What people want now, all of it: the core finds out what changed.

    ``specs`` are all specifications in force, ``places`` lane and position of backlog items, ``people`` who changed
    which task last (``by`` for everything else). ``undecided`` (and ``undecided_agents``) are ids of which the
    source says nothing readable: they stay as they are. ``existing`` are backlog items that stood there before anybody
    equipped this repository. ``confirms`` names source commits whose held changes a person has looked at;
    ``confirmed`` tells that this very observation is among them.
    """

    commit: str
    specs: Mapping[str, Spec]
    places: Mapping[str, tuple[Lane, int]]
    agents: Mapping[str, AgentSpec]
    policy: Policy
    by: Actor
    people: Mapping[str, Actor] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()
    undecided_agents: frozenset[str] = frozenset()
    existing: frozenset[str] = frozenset()
    confirms: tuple[str, ...] = ()
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Connected:
    agent: str
    session: Session


@dataclass(frozen=True, slots=True)
class Disconnected:
    agent: str
    session: str


@dataclass(frozen=True, slots=True)
class Said:
    """A word of an agent, spoken in one of its sessions."""

    agent: str
    session: str
    word: Word


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks of one task directly (not through a file): one row of the table by name.

    ``text`` is the answer, the reviewer's note or the reason; with a ``generation`` it is meant for that attempt alone.
    ``merged`` is the commit that brought approved work into its base branch.
    """

    event: Event
    task: str
    by: Actor
    text: str = ""
    generation: int | None = None
    merged: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """Somebody wants a new task, without a file. A ``proposal`` is treated as the policy says."""

    spec: Spec
    by: Actor
    proposal: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """Somebody changes the specification of a task that has no file; ``revision`` is the blob that they had seen.

    ``released``: one that waits for a person's confirmation goes on.
    """

    spec: Spec
    by: Actor
    revision: str
    released: bool = False


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word of an agent outside of any session; it names its generation."""

    agent: str
    word: Accepted | Progress | Complete | Failed | Blocked


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A person has looked at what is held: at the batches of these names, or without a name at all of them."""

    by: Actor
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """Something asked for by somebody who waits for its outcome, under a ``ticket`` of the shell's."""

    ticket: str
    what: "Asked | Made | Edited | Spoken | Confirmed"


@dataclass(frozen=True, slots=True)
class AgentAsked:
    """What a person asks of one agent; ``disable`` and ``enable`` only of one that the hub made."""

    what: Literal["resume", "drain", "undrain", "disable", "enable"]
    agent: str
    by: Actor


@dataclass(frozen=True, slots=True)
class TokenIssued:
    """An agent gets a new token; of those that the hub issued before, the newest goes on for ``grace`` ms.

    ``spec`` is the agent as the hub makes it when nobody else did. ``invite`` is the stored form of one of its invites,
    which is used up; without such an invite nothing happens. ``first``: nothing happens when it has a token already.
    ``task`` is created with it, for this agent alone.
    """

    spec: AgentSpec
    token: Token
    by: Actor
    grace: int = 0
    invite: str | None = None
    first: bool = False
    task: Spec | None = None


@dataclass(frozen=True, slots=True)
class Invited:
    """Whoever shows this invite gets a token of the agent, once."""

    agent: str
    invite: Token
    by: Actor


@dataclass(frozen=True, slots=True)
class TokensRevoked:
    """All tokens and invites of an agent open nothing from now on, wherever they stand.

    ``discharge``: the agent is no more, if it is one that the hub made.
    """

    agent: str
    by: Actor
    discharge: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: act on what is due."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The hub stood still for ``stood`` seconds (loop stopped, store read-only).

    Timers stood still with it, and leases start anew before anybody is judged.
    """

    stood: float = 0.0


Credential = TokenIssued | Invited | TokensRevoked
Happening = (
    Started | Observed | Connected | Disconnected | Said | Asked | Request | AgentAsked | Credential | Tick | Resumed
)


# --- messages to agents (PROTOCOL 1.3); ``generation`` is the attempt spoken of, where it is known -------------------


@dataclass(frozen=True, slots=True)
class Assign:
    """``ready_at`` (ms) is when the task was runnable and its agent free, whichever came later.

    ``repo`` is the name of the repository that the work is for, ``target`` where it is, as far as the policy says.
    """

    task: Task
    ready_at: int = 0
    repo: str | None = None
    target: RepoTarget | None = None


AckStatus = Literal["accepted", "complete", "failed", "retried", "dead_letter", "rejected", "blocked"]


@dataclass(frozen=True, slots=True)
class Ack:
    task: str
    status: AckStatus
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    task: str
    generation: int


@dataclass(frozen=True, slots=True)
class Reassign:
    task: str
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    task: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Updated:
    """``changed`` maps changed fields of the specification to their new values."""

    task: str
    generation: int
    changed: Mapping[str, Any] = field(default_factory=dict)
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class ReportAck:
    task: str
    action: Literal["continue", "abort"]


@dataclass(frozen=True, slots=True)
class Drain:
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An error frame: ``code`` as PROTOCOL 1.1 spells it."""

    code: str
    detail: str
    task: str | None = None
    generation: int | None = None


Message = Assign | Ack | Continue | Reassign | Cancelled | Updated | ReportAck | Drain | Refused


# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Orphan:
    """A stale result that an attempt really produced, kept for people."""

    generation: int
    agent: str
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one task or of one agent's record: one commit.

    ``what`` is the event in the commit's trailer (DECISIONS 7). Exactly one of ``after`` and ``record`` is set. With a
    record, ``enlisted`` is the agent as the hub makes it now, and ``discharged`` tells that one it made is no more.
    """

    what: str
    by: Actor
    before: Task | None = None
    after: Task | None = None
    record: AgentRecord | None = None
    agent: str | None = None
    note: str = ""
    orphan: Orphan | None = None
    enlisted: AgentSpec | None = None
    discharged: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Say something to an agent in the session in which it was decided; dropped when that session is gone."""

    agent: str
    session: str
    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """End a session with an error code of PROTOCOL 1.1."""

    agent: str
    session: str
    code: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request: ``refused`` is a code, empty when it was done, and ``text`` says why.

    ``task`` is the task as it stands now. ``ack`` answers an agent's word, ``confirmed`` is what was let go on.
    """

    refused: str = ""
    text: str = ""
    task: Task | None = None
    ack: AckStatus | None = None
    confirmed: tuple[Batch, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """Tell whoever asked what came of it."""

    ticket: str
    outcome: Outcome


Effect = Record | Send | Close | Reply
