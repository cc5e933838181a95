"""What a sidecar holds: the attempt in hand, results on their way, and the outcome of a run.

Values are frozen. This module decides nothing and knows neither files nor sockets.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from coordinator.wire.frames import FailureClass, TaskAssign, TaskBlocked, TaskComplete, TaskFailed, TaskReleased

#: A task's id becomes a folder's name here, so nothing else is ever accepted from a hub.
TASK_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")


class Key(NamedTuple):
    """One attempt: a task and the generation it was given with."""

    task_id: str
    generation: int

    def __str__(self) -> str:
        return f"{self.task_id}.{self.generation}"


def key_of(frame: TaskAssign) -> Key:
    """Return the attempt that an assignment starts."""
    return Key(frame.task_id, frame.generation)


class Stage(StrEnum):
    """How far the attempt in hand has come on disk."""

    #: Durable, announced or about to be; nothing was started.
    ACCEPTED = "accepted"
    #: A child may have been started; after a crash it is never started a second time.
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt that holds the slot, with the assignment as it came."""

    stage: Stage
    assignment: TaskAssign

    @property
    def key(self) -> Key:
        return key_of(self.assignment)


#: What is sent until the hub answers: a result, a question that ended the run, or a task handed back.
Fate = TaskComplete | TaskFailed | TaskBlocked | TaskReleased


@dataclass(frozen=True, slots=True)
class Parcel:
    """One fate frame that the hub has not answered yet."""

    key: Key
    frame: Fate

    @property
    def is_result(self) -> bool:
        """Whether the attempt has ended with it, as done or as failed."""
        return isinstance(self.frame, TaskComplete | TaskFailed)

    @property
    def is_question(self) -> bool:
        """Whether the attempt waits with it for an answer; nothing of it runs any more."""
        return isinstance(self.frame, TaskBlocked)


@dataclass(frozen=True, slots=True)
class Inherited:
    """Work that a Node sidecar had in hand here. It kept no generation that counts: only the hub knows whose it is."""

    task_id: str
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    last_status: str = ""

    def assignment(self, generation: int) -> TaskAssign:
        """Return the assignment as far as it is known here, for the generation that the hub names."""
        title = self.description.strip().partition("\n")[0] or self.task_id
        return TaskAssign(
            task_id=self.task_id,
            title=title,
            description=self.description,
            metadata=dict(self.metadata),
            generation=generation,
            assigned_at=0,
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """Everything in queue.json.

    ``ended`` holds the newest finished generation of each task worked on lately, oldest first, so that a late or
    repeated assignment never runs again. ``inherited`` is there only until the hub has said what becomes of it.
    """

    attempt: Attempt | None = None
    parcels: tuple[Parcel, ...] = ()
    ended: tuple[Key, ...] = ()
    inherited: Inherited | None = None


@dataclass(frozen=True, slots=True)
class Success:
    """The agent's own word that the work is done; ``result`` is what the hub gets."""

    result: Mapping[str, Any] = field(default_factory=dict)
    tokens_used: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not succeed; ``retry_at`` is in ms since the epoch."""

    error: str
    failure_class: FailureClass = "error"
    retry_at: int | None = None
    output_tail: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The run has ended because it cannot go on without an answer."""

    question: str


Outcome = Success | Failure | Blocked
