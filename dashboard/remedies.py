"""What a person may do about a task: the commands to copy, what each means, and which of them ends its waiting. Pure.

It decides by the reason that the scheduler gave and by what other tasks are in; it runs nothing and knows no clone. A
command whose words a person must fill in has them in capitals.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.core.agent import Agent
from coordinator.core.machine import State
from coordinator.core.scheduler import Why
from coordinator.core.task import Task
from dashboard.snapshot import ways

#: Of a reason that names more tasks or agents, so many are helped with a command.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Remedy:
    """One command, and what it does in a few words."""

    meaning: str
    command: str


#: For what is held until a person has looked; no single task of it can be released.
CONFIRM = (
    Remedy("look at everything that is held", "agentcom confirm --show"),
    Remedy("let all of that go on", "agentcom confirm"),
)

START = Remedy("start its sidecar, on its machine", "agentcom-sidecar run --config FILE")


def of_task(task: Task) -> list[Remedy]:
    """Return what a person may do with a task as it is now."""
    name = task.id
    found: list[Remedy] = []
    match task.state:
        case State.QUEUED if task.spec.hold:
            found = [_release(name)]
        case State.QUEUED if task.status.held:
            found = list(CONFIRM)
        case State.QUEUED:
            found = [
                Remedy("why it waits, in the terminal", f"agentcom task why {name}"),
                Remedy("hold it", f"agentcom task hold {name}"),
            ]
        case State.BLOCKED | State.IN_REVIEW | State.DONE | State.FAILED | State.REJECTED | State.CANCELLED:
            found = _verdict(task)
        case State.ASSIGNED | State.WORKING:
            pass
    if task.open:
        found += [
            Remedy("change it", f"agentcom task edit {name}"),
            Remedy("give it up", f"agentcom task cancel {name}"),
        ]
    return [*found, Remedy("its history in the terminal", f"agentcom log {name}")]


def _verdict(task: Task) -> list[Remedy]:
    """Return what a task asks for that waits for a person, or what brings a finished one back."""
    if task.state in (State.BLOCKED, State.IN_REVIEW):
        return [Remedy(meaning, command) for meaning, command in ways(task)]
    return [Remedy("run it again", f"agentcom task rerun {task.id}")]


def _release(name: str) -> Remedy:
    return Remedy("let it go on", f"agentcom task release {name}")


def against(why: Why, task: Task, known: Mapping[str, Task], agents: Mapping[str, Agent]) -> list[Remedy]:
    """Return the commands that end the waiting of a task; none where it ends by itself or by an edit of a file."""
    elsewhere = Remedy("give it to another one", f"agentcom task edit {task.id}")
    match why.code:
        case "held" if task.spec.hold:
            return [_release(task.id)]
        case "held":
            return list(CONFIRM)
        case "dependency":
            return [remedy for name in why.refs[:NAMED] for remedy in _of_dependency(name, task, known)]
        case "cycle":
            return [Remedy("take one of them out of depends_on", f"agentcom task edit {task.id}")]
        case "no_agent":
            return [_agent_for(task)]
        case "agents_offline":
            return [START, _agent_for(task)] if task.spec.needed_capabilities else [START]
        case "agents_parked":
            return [_resume(name) for name in why.refs[:NAMED]]
        case "pinned":
            return [*_of_agent(agents.get(task.spec.assignee or "")), elsewhere]
        case "excluded":
            return [elsewhere]
        case "orphaned":
            return [Remedy("give it up, or put its line back", f"agentcom task cancel {task.id}")]
        case _:
            return []


def _resume(name: str) -> Remedy:
    return Remedy(f"once that is mended, let {name} have work again", f"agentcom agent resume {name}")


def _of_agent(agent: Agent | None) -> list[Remedy]:
    """Return what brings one agent to work."""
    if agent is None or not agent.enabled:
        return []
    if agent.record.parked:
        return [_resume(agent.id)]
    return [START] if agent.live.session is None else []


def _agent_for(task: Task) -> Remedy:
    needs = ",".join(task.spec.needed_capabilities)
    return Remedy("add an agent that can", f"agentcom agent add NAME{f' --capabilities {needs}' if needs else ''}")


def _of_dependency(name: str, task: Task, known: Mapping[str, Task]) -> list[Remedy]:
    """Return what helps with one task that another one waits for."""
    other = known.get(name)
    if other is None:
        return [Remedy(f"there may be no {name}: wait for another task", f"agentcom task edit {task.id}")]
    match other.state:
        case State.QUEUED:
            return [Remedy(f"why {name} waits", f"agentcom task why {name}")]
        case State.ASSIGNED | State.WORKING:
            return []
        case _:
            return [Remedy(f"{name}: {one.meaning}", one.command) for one in _verdict(other)]
