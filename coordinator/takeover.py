"""What an import from version 1 would write into a clone, and what of it is there already.

Reads the work tree and the state branch, writes nothing; the commit is made by the command. Whatever is there already
from an earlier import is left alone, also when a person has changed it since.

    Collision                   (of ``oldhub``) something else bears an id that is needed; nothing may be written
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from coordinator.core.agent import AgentSpec
from coordinator.desk import Desk
from coordinator.files import layout, loader, taskfile
from coordinator.files.agentfile import new_agent
from coordinator.files.problem import Problem
from coordinator.files.taskfile import WrongFile
from coordinator.oldhub import OLD_ID, Collision, OldAgent, OldTask


@dataclass(slots=True)
class Taking:
    """``files`` are to be committed (path -> content); ``wrong`` are tasks that the hub would not read, and why."""

    files: dict[str, bytes] = field(default_factory=dict)
    new_agents: list[OldAgent] = field(default_factory=list)
    known_agents: list[OldAgent] = field(default_factory=list)
    new_tasks: list[OldTask] = field(default_factory=list)
    known_tasks: list[OldTask] = field(default_factory=list)
    wrong: list[tuple[OldTask, tuple[Problem, ...]]] = field(default_factory=list)


def take(desk: Desk, agents: Iterable[OldAgent], tasks: Iterable[OldTask]) -> Taking:
    """Return what is to be written. Raises Collision, naming everything that is in the way; CannotCommit."""
    taking = Taking()
    trouble = [*_take_agents(desk, agents, taking), *_take_tasks(desk, tasks, taking)]
    if trouble:
        raise Collision("; ".join(trouble))
    return taking


def _take_agents(desk: Desk, agents: Iterable[OldAgent], taking: Taking) -> Iterable[str]:
    beside = (desk.top / desk.ground.path("agents/agent.schema.json")).is_file()
    for agent in agents:
        path = desk.ground.path(f"agents/{agent.id}.yaml")
        there = desk.read(path)
        if there is None and f"{layout.ENLISTED}/{agent.id}.yaml" in desk.fold.files:
            yield f"{agent.id} was registered with the hub already: rename {agent.old_id!r}, or remove that agent first"
        elif there is None:
            name = " ".join(agent.name.split()) or agent.old_id
            data = new_agent(name, (), agent.token, schema_beside=beside)
            read = loader.load_agent(path, data, "", reserved=desk.reserved)
            if isinstance(read, tuple):
                yield "; ".join(map(str, read))
                continue
            taking.files[path] = data
            taking.new_agents.append(agent)
        elif _has_token(path, there, agent, desk.reserved):
            taking.known_agents.append(agent)
        else:
            yield f"{path} is there already, without the token of {agent.old_id!r}: rename one of the two, or remove it"


def _take_tasks(desk: Desk, tasks: Iterable[OldTask], taking: Taking) -> Iterable[str]:
    tasks = tuple(tasks)
    used = desk.used() if tasks else frozenset()
    begin = desk.begin()
    for task in tasks:
        path = desk.path(task.spec.id)
        there = desk.read(path)
        if there is not None and not _is_of(path, there, task, desk.reserved):
            yield f"{path} is there already and is another task than {task.old_id!r}: rename or remove it"
        elif there is not None or task.spec.id in used:
            taking.known_tasks.append(task)
        else:
            data = taskfile.taken_over(task.spec, begin)
            try:
                taskfile.check(path, data, reserved=desk.reserved)
            except WrongFile as error:
                taking.wrong.append((task, error.problems))
                continue
            taking.files[path] = data
            taking.new_tasks.append(task)


def _has_token(path: str, data: bytes, agent: OldAgent, reserved: tuple[str, ...]) -> bool:
    read = loader.load_agent(path, data, "", reserved=reserved)
    return isinstance(read, AgentSpec) and agent.token.sha256 in {one.sha256.lower() for one in read.tokens}


def _is_of(path: str, data: bytes, task: OldTask, reserved: tuple[str, ...]) -> bool:
    read = loader.load_task(path, data, "", reserved=reserved)
    return not isinstance(read, tuple) and read.metadata.get(OLD_ID) == task.old_id
