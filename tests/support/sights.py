"""What a dashboard may be shown: seen things made by hand, and a view that gives them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from coordinator.core.agent import Agent, AgentRecord, AgentSpec, Live, Session
from coordinator.core.machine import AgentState, State
from coordinator.core.scheduler import Why
from coordinator.core.task import Attempt, End, Priority, Spec, Status, Task
from coordinator.core.timers import Now
from coordinator.web.app import Bridge
from dashboard.snapshot import HOUR_MS, Facts, Origin, Seen
from dashboard.view import Asked, Document, Event, Story

NOW = 1_800_000_000_000
#: Titles that want to be more than text.
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\u202ecod.exe is turned round",
    "x" * 300,
    "🧨 emoji 👩‍👩‍👧‍👦 and ümlauts",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt;",
    "\"><svg onload=alert(1)>' onmouseover='alert(1)",
)


def a_task(task_id: str = "t-1", state: State = State.QUEUED, /, **more: Any) -> Task:
    """Return a task; what is no field of its status is one of its specification."""
    status_fields = {name: more.pop(name) for name in tuple(more) if name in Status.__dataclass_fields__}
    spec = Spec(task_id, more.pop("title", f"Do {task_id}"), where=f"tasks/{task_id}.yaml", **more)
    usual: dict[str, Any] = {"status": state, "created_at": NOW - HOUR_MS}
    if state in (State.ASSIGNED, State.WORKING, State.BLOCKED):
        usual |= {"assigned_to": "loash", "assigned_at": NOW - 60_000, "started_at": NOW - 59_000, "generation": 1}
    if state in (State.DONE, State.FAILED, State.REJECTED, State.IN_REVIEW):
        usual |= {"started_at": NOW - 120_000, "generation": 1}
        usual |= {"completed_at": None if state is State.IN_REVIEW else NOW - 60_000}
        usual |= {
            "attempts": (Attempt(1, "loash", End.DONE if state is State.DONE else End.FAILED, "broke", "the end"),)
        }
    if state is State.CANCELLED:
        usual |= {"completed_at": NOW - 60_000}
    return Task(spec, Status(**(usual | status_fields)))


def an_agent(name: str = "loash", *, online: bool = True, **live: Any) -> Agent:
    session = Session("s1", connected_at=NOW - HOUR_MS) if online else None
    state = AgentState.IDLE if online else AgentState.OFFLINE
    return Agent(
        AgentSpec(name, where=f"agents/{name}.yaml"),
        AgentRecord(name),
        Live(**({"state": state} | live), session=session),
    )


def a_sight(*tasks: Task, agents: tuple[Agent, ...] = (), **more: Any) -> Seen:
    whys = {
        task.id: Why("agents_busy", "fitting agents are busy: loash", ("loash",))
        for task in tasks
        if task.state is State.QUEUED
    }
    facts = Facts("main", "0.1.0", "a" * 40, "b" * 40, "h-7c2qk9wd", 3, NOW - HOUR_MS, None, 4.2, 10)
    return replace(Seen(NOW, Origin(True, "hub running", NOW), facts, tasks, whys, agents), **more)


def hostile_sight() -> Seen:
    """Return one in which everything that people and agents write tries to be more than text."""
    states = list(State)
    tasks = [
        a_task(
            f"t-{at}",
            states[at % len(states)],
            title=title,
            description=title + "\n\n" + "[x](javascript:alert(1)) <b>" * 3,
            priority=Priority(at % 4),
            labels=(title[:50],),
            reason=title,
            question=title,
            created_by=title,
            result={"summary": title, "output_tail": title, "pr_url": f"javascript:{title}", title[:40]: [title]},
        )
        for at, title in enumerate(HOSTILE * 2)
    ]
    agents = tuple(replace(an_agent(f"a-{at}"), live=Live(note=title)) for at, title in enumerate(HOSTILE))
    return a_sight(*tasks, agents=agents)


@dataclass
class FakeView:
    """A view that gives what it was given; ``version`` is what changes when it does."""

    sight: Seen = field(default_factory=a_sight)
    trail: tuple[Event, ...] = ()
    document: Document = field(default_factory=lambda: Document("BACKLOG.md", "a" * 40, "# Backlog\n"))
    version: int = 0
    looks: int = 0
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Asked] = field(default_factory=list)

    def now(self) -> Now:
        return Now(0.0, NOW)

    def show(self, sight: Seen) -> None:
        self.sight, self.version = sight, self.version + 1

    def mark(self, topic: str) -> object:
        return self.version

    async def seen(self, behind: float = 0.0) -> Seen:
        self.looks += 1
        self.looked.set()
        return self.sight

    async def story(self, task_id: str) -> Story | None:
        task = next((task for task in self.sight.tasks if task.id == task_id), None)
        return None if task is None else Story(task, self.sight.whys.get(task_id), self.trail)

    async def events(self, asked: Asked, limit: int) -> tuple[Event, ...]:
        self.asked.append(asked)
        return self.trail[:limit]

    async def backlog(self) -> Document:
        return self.document


@contextmanager
def a_bridge() -> Iterator[Bridge]:
    """Give a bridge to a loop of its own."""
    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever)
    running.start()
    try:
        yield Bridge(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        loop.close()
