"""What the pages ask of whoever knows: a running hub, or a clone without one. Values and one protocol, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.core.scheduler import Why
from coordinator.core.task import Task
from dashboard.snapshot import Seen

#: Events of the audit trail on one page.
EVENTS = 50


@dataclass(frozen=True, slots=True)
class Event:
    """One commit of the audit trail; ``time`` is ms since the epoch."""

    commit: str
    time: int
    author: str
    subject: str
    event: str | None = None
    task: str | None = None
    agent: str | None = None
    generation: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Edition:
    """What was wanted of a task as of one commit: ``path`` is the file that said so."""

    commit: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """One task with its history, newest first, and every edition of its specification, oldest first."""

    task: Task
    why: Why | None
    events: tuple[Event, ...] = ()
    editions: tuple[Edition, ...] = ()
    orphans: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Which events are asked for; None is no condition. ``before`` is a commit: only what came before it."""

    task: str | None = None
    agent: str | None = None
    event: str | None = None
    since: int | None = None
    until: int | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the backlog: the task that its line is, and the lane that it stands in."""

    id: str
    lane: str


@dataclass(frozen=True, slots=True)
class Document:
    """BACKLOG.md as last observed: its text, and what stands at which line (from 1). No text: there is no such file."""

    path: str
    commit: str | None
    text: str | None
    items: Mapping[int, Item] = field(default_factory=dict)


class View(Protocol):
    """What is known; every call is made on the view's own loop."""

    def mark(self, topic: str) -> object:
        """Return a value that is another one whenever what can be shown of a topic has changed.

        A topic is ``all``, ``task:ID`` or ``agent:ID``.
        """
        ...

    async def seen(self, behind: float = 0.0) -> Seen:
        """Return everything; it may be so many seconds behind what is known, where looking anew takes long."""
        ...

    async def story(self, task_id: str) -> Story | None: ...

    async def events(self, asked: Asked, limit: int) -> tuple[Event, ...]: ...

    async def backlog(self) -> Document: ...
