"""What a task is: the specification that people wrote, the status that the hub keeps, and both together.

Values are frozen; ``dataclasses.replace`` gives the next one. Wall times are integers, milliseconds since the epoch;
durations are seconds. This module decides nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from coordinator.core.machine import FINISHED, OPEN, OWNED, State
from coordinator.core.policy import Lane

#: Ids are file names: matched whole (DESIGN 2).
ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
RESERVED_IDS = frozenset(
    "main master head agentcom agents refs tags status hub admin broadcast all con nul aux prn".split()
)
#: How many past attempts a status keeps.
ATTEMPTS_KEPT = 10


def is_id(text: str, *more_reserved: str) -> bool:
    """Tell whether ``text`` may be the id of a task or an agent; ``more_reserved`` names e.g. the source branch."""
    return bool(ID_PATTERN.match(text)) and text not in RESERVED_IDS and text not in more_reserved


class Priority(IntEnum):
    """Order of tasks: a smaller number runs first."""

    URGENT = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @property
    def word(self) -> str:
        """The name as people write it: ``urgent``, ``high``, ``normal``, ``low``."""
        return self.name.lower()


class Origin(StrEnum):
    """Where a specification comes from."""

    FILE = "file"
    BACKLOG = "backlog"
    API = "api"


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer to the question of one attempt."""

    generation: int
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's verdict on the result of one attempt."""

    generation: int
    approve: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Spec:
    """What people want: one ``tasks/<id>.yaml``, one backlog item or one API call.

    ``blob`` is the git blob id of the text it was read from and serves as its revision; ``where`` names that text for
    people (``tasks/t-1.yaml``, ``BACKLOG.md:12``). ``review`` None leaves it to the policy. ``done`` and ``cancel`` are
    words of people: ``[x]`` and ``[-]``.
    """

    id: str
    title: str
    description: str = ""
    priority: Priority = Priority.NORMAL
    needed_capabilities: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    assignee: str | None = None
    max_retries: int | None = None
    timeout_s: float | None = None
    deadline: int | None = None
    not_before: int | None = None
    review: bool | None = None
    hold: bool = False
    cancel: bool = False
    done: bool = False
    rerun: int = 0
    answer: Answer | None = None
    decision: Decision | None = None
    repo: str | None = None
    base: str | None = None
    kind: str | None = None
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    acceptance: tuple[str, ...] = ()
    origin: Origin = Origin.FILE
    blob: str = ""
    where: str = ""


class End(StrEnum):
    """How an attempt ended (DECISIONS 11)."""

    HANDED_BACK = "handed_back"
    DONE = "done"
    FAILED = "failed"
    RATE_LIMITED = "rate_limited"
    ENVIRONMENT = "environment"
    BUDGET = "budget"
    REJECTED = "rejected"
    BUSY = "busy"
    LEASE_ENDED = "lease_ended"
    NOT_ACCEPTED = "not_accepted"
    ATTEMPT_TIMEOUT = "attempt_timeout"
    STUCK = "stuck"
    DEADLINE = "deadline"
    BLOCKED_TIMEOUT = "blocked_timeout"
    CANCELLED = "cancelled"
    DONE_BY_HAND = "done_by_hand"
    AGENT_DISABLED = "agent_disabled"
    CHANGES_ASKED = "changes_asked"
    RESCUED = "rescued"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One past attempt: which agent, how it ended and why; ``output_tail`` helps the next one.

    ``spent`` tells that its end cost a retry, which a late word of the same agent gives back.
    """

    generation: int
    agent: str
    end: End
    reason: str = ""
    output_tail: str = ""
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What is: one ``status/open/<id>.yaml``, written only by the hub.

    ``last_owner`` on a queued task is the agent that the hub took it from and whose late word still counts (DESIGN 4);
    an attempt that its agent ended itself clears it. ``merged`` is the commit by which the work came into its base
    branch, once the hub has seen that. ``orphans`` are the generations whose stale result was kept.
    ``spec`` is the blob that the current attempt was given or, while queued, the one in force.
    """

    status: State = State.QUEUED
    generation: int = 0
    assigned_to: str | None = None
    last_owner: str | None = None
    preferred: str | None = None
    created_at: int = 0
    created_by: str = ""
    assigned_at: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    retry_count: int = 0
    max_retries: int = 2
    excluded: tuple[str, ...] = ()
    not_before: int | None = None
    reason: str = ""
    question: str | None = None
    answers: tuple[Answer, ...] = ()
    reviews: tuple[Decision, ...] = ()
    merged: str | None = None
    orphaned: bool = False
    held: bool = False
    deleted: bool = False
    rerun: int = 0
    spec: str = ""
    attempts: tuple[Attempt, ...] = ()
    orphans: tuple[int, ...] = ()
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Specification and status of one task, with its place in the observed backlog.

    ``lane`` and ``position`` are derived from the backlog at every observation and never stored with the task.
    """

    spec: Spec
    status: Status
    lane: Lane = Lane.READY
    position: int = 0

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def state(self) -> State:
        return self.status.status

    @property
    def owned(self) -> bool:
        """An agent owns it: assigned, working or blocked."""
        return self.state in OWNED

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def open(self) -> bool:
        return self.state in OPEN
