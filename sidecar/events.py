"""What can happen to a sidecar (events) and what it then wants done (effects). Frozen values, nothing else."""

from dataclasses import dataclass
from typing import Literal

from coordinator.wire.frames import (
    AgentRestarting,
    Held,
    TaskAccepted,
    TaskAssign,
    TaskBlocked,
    TaskComplete,
    TaskFailed,
    TaskProgress,
    TaskRecovering,
    TaskRejected,
    TaskReleased,
    TaskUpdated,
    ToSidecar,
    WakeResult,
)
from sidecar.values import Key, Outcome, Queue

# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restored:
    """The process has started; ``outcome`` is what a run that a crash cut off had left behind, if anything.

    ``goes_on``: it is no child of ours and may still be at work, or what it left has still to be submitted.
    """

    outcome: Outcome | None = None
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A socket to the hub is open and nothing was said on it yet."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The socket is gone."""


@dataclass(frozen=True, slots=True)
class Received:
    """One frame from the hub; ``refusal`` is why this agent's runtime will not take the assignment in it."""

    frame: ToSidecar
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt's process group is dead; ``outcome`` is None when it was killed before it left a result."""

    key: Key
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Reported:
    """The agent at work has said how far it is; what it left out is None and stays as it was."""

    key: Key
    progress: float | None = None
    note: str | None = None
    tokens_used: int | None = None


@dataclass(frozen=True, slots=True)
class Questioned:
    """The agent at work has asked something and may wait for the answer; None: it waits for none any more."""

    key: Key
    question: str | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody asked this sidecar to end; the second time means at once."""


Event = Restored | Opened | Closed | Received | Ended | Reported | Questioned | Tick | Stop

# --- effects --------------------------------------------------------------------------------------------------------

ToHub = (
    TaskAccepted
    | TaskRejected
    | TaskProgress
    | TaskComplete
    | TaskFailed
    | TaskBlocked
    | TaskReleased
    | TaskRecovering
    | WakeResult
    | AgentRestarting
)


@dataclass(frozen=True, slots=True)
class Hello:
    """Identify on the open socket, naming what is held."""

    holding: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Persist:
    """Make the queue durable; no later effect may happen before it is."""

    queue: Queue


@dataclass(frozen=True, slots=True)
class Send:
    """Say this to the hub if the socket is still there; what must not be lost is in the queue."""

    frame: ToHub


@dataclass(frozen=True, slots=True)
class Start:
    """Run this assignment; the answer is ``Ended``."""

    assignment: TaskAssign


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with what an earlier process has begun for this assignment; the answer is ``Ended``."""

    assignment: TaskAssign


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill this attempt's process group; the answer is ``Ended``.

    ``ours``: the hub has not taken the task back, so that what was finished before may still be submitted.
    """

    key: Key
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Keep a change of the task, or an answer, beside its packet."""

    key: Key
    frame: TaskUpdated


@dataclass(frozen=True, slots=True)
class RemoveFiles:
    """The hub has answered for this attempt: its files may go when newer ones need the room."""

    key: Key


@dataclass(frozen=True, slots=True)
class Say:
    """One line for people."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process."""

    code: int


Effect = Hello | Persist | Send | Start | Resume | Kill | Update | RemoveFiles | Say | Exit
