"""The hub's memory: tasks, agents, policy, and the indexes that keep every question cheap.

The memory is the fold of the state branch plus what lives only while the hub runs (sessions, timers). This module keeps
indexes in step with values; it decides nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from coordinator.core.agent import Agent, AgentRecord, AgentSpec, Live
from coordinator.core.guards import Batch, Kind
from coordinator.core.machine import AgentState, State
from coordinator.core.policy import Policy
from coordinator.core.queue import ReadyQueue
from coordinator.core.task import Origin, Spec, Task
from coordinator.core.timers import Timers
from coordinator.core.values import evolve


class Memory:
    """Mutable containers of frozen values.

    ``tasks`` holds every open task and those finished ones that somebody asked for; ``closed`` the ids of all finished
    tasks that are not in ``tasks``, ``wanted`` the ids that the last observation named, ``later`` the newest words for
    finished tasks, which are in force once such a task runs again, ``held`` what waits for a person's confirmation,
    ``finished_in_mind`` how many of ``tasks`` are finished.
    ``mono`` and ``wall`` are the timers of the two clocks (seconds and ms);
    ``enlisted`` are the agents that the hub made on somebody's word and that no person's file has taken over.
    ``attempt_left`` holds the seconds left to a blocked attempt, whose clock stands, ``ready_since`` the monotonic
    instant at which each task of the ready queue became runnable.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.closed: set[str] = set()
        self.agents: dict[str, Agent] = {}
        self.enlisted: dict[str, AgentSpec] = {}
        #: Raised whenever an agent's tokens or invites changed.
        self.token_changes = 0
        self.policy = Policy()
        self.wanted: frozenset[str] = frozenset()
        self.later: dict[str, Spec] = {}
        self.held: tuple[Batch, ...] = ()
        self.finished_in_mind = 0
        self.cycles: dict[str, tuple[str, ...]] = {}
        self.ready = ReadyQueue()
        self.ready_since: dict[str, float] = {}
        self.idle: dict[str, None] = {}
        self._idle_like: dict[frozenset[str], dict[str, None]] = {}
        self._likeness: dict[str, frozenset[str]] = {}
        self._able: dict[frozenset[str], tuple[Agent, ...]] = {}
        self.mono = Timers()
        self.wall = Timers()
        self.in_hand: dict[str | None, int] = {}
        self.attempt_left: dict[str, float] = {}
        self._owned: dict[str, dict[str, None]] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    # --- tasks

    def put(self, task: Task) -> None:
        """Store the next value of a task and keep the indexes in step."""
        before = self.tasks.get(task.id)
        self.tasks[task.id] = task
        self.finished_in_mind += task.finished - (before is not None and before.finished)
        self.closed.discard(task.id)
        if task.open:
            self.later.pop(task.id, None)
        self._index_owner(before, task)
        if before is None or before.spec.depends_on != task.spec.depends_on:
            for dependency in before.spec.depends_on if before else ():
                self._dependents.get(dependency, {}).pop(task.id, None)
            for dependency in task.spec.depends_on:
                self._dependents.setdefault(dependency, {})[task.id] = None

    def forget(self, task_id: str) -> None:
        """Let go of a finished task; only its id stays."""
        task = self.tasks.pop(task_id)
        for dependency in task.spec.depends_on:
            self._dependents.get(dependency, {}).pop(task_id, None)
        self.later.pop(task_id, None)
        self.closed.add(task_id)
        self.finished_in_mind -= 1

    def _index_owner(self, before: Task | None, after: Task) -> None:
        old = (before.status.assigned_to, before.spec.repo) if before else (None, None)
        new = (after.status.assigned_to, after.spec.repo)
        if old == new:
            return
        if old[0] is not None:
            self.in_hand[old[1]] -= 1
        if new[0] is not None:
            self.in_hand[new[1]] = self.in_hand.get(new[1], 0) + 1
        if old[0] != new[0]:
            if old[0] is not None:
                self._owned[old[0]].pop(after.id, None)
            if new[0] is not None:
                self._owned.setdefault(new[0], {})[after.id] = None

    def owned_by(self, agent_id: str) -> tuple[Task, ...]:
        """Return the tasks that an agent owns, in the order in which it got them."""
        return tuple(self.tasks[task_id] for task_id in self._owned.get(agent_id, {}))

    def owners(self) -> tuple[str, ...]:
        """Return the ids of all agents that own something, sorted."""
        return tuple(sorted(agent_id for agent_id, tasks in self._owned.items() if tasks))

    def dependents(self, task_id: str) -> tuple[str, ...]:
        """Return the ids of tasks that name ``task_id`` as a dependency."""
        return tuple(self._dependents.get(task_id, {}))

    def open_tasks(self) -> Iterable[Task]:
        return (task for task in self.tasks.values() if task.open)

    def waiting(self) -> tuple[Batch, ...]:
        """Return all that waits for a person's confirmation: what is held, and what agents proposed."""
        proposed = (task for task in self.open_tasks() if task.status.held and task.spec.origin is Origin.API)
        batches = (Batch(task.spec.blob, Kind.PROPOSED, (task.id,)) for task in proposed)
        return (*self.held, *sorted(batches, key=lambda batch: batch.ids))

    @property
    def in_hand_total(self) -> int:
        return sum(self.in_hand.values())

    def is_done(self, task_id: str) -> bool:
        """Tell whether a dependency is met; only ``done`` meets it."""
        task = self.tasks.get(task_id)
        return task is not None and task.state is State.DONE

    # --- agents

    def put_spec(self, spec: AgentSpec) -> None:
        """Take over what an agent's file says."""
        agent = self.agents.get(spec.id)
        self.token_changes += agent is None or agent.spec.tokens != spec.tokens
        self._put_agent(evolve(agent, spec=spec) if agent else Agent(spec, AgentRecord(spec.id)))

    def put_record(self, record: AgentRecord) -> None:
        """Take over what the hub recorded of an agent; an agent without a file stands disabled."""
        agent = self.agents.get(record.id)
        held = (agent.record.tokens, agent.record.invites) if agent else ((), ())
        self.token_changes += held != (record.tokens, record.invites)
        self._put_agent(evolve(agent, record=record) if agent else Agent(AgentSpec(record.id, disabled=True), record))

    def set_live(self, agent_id: str, **changes: Any) -> Agent:
        """Change what is known of an agent's presence; return its new value."""
        agent = self.agents[agent_id]
        return self._put_agent(evolve(agent, live=evolve(agent.live, **changes)))

    def forget_session(self, agent_id: str) -> Agent:
        """Put an agent offline, keeping only what outlives a session."""
        live = self.agents[agent_id].live
        return self._put_agent(
            evolve(
                self.agents[agent_id],
                live=Live(
                    slot=live.slot,
                    failures=live.failures,
                    busy_count=live.busy_count,
                    wakes=live.wakes,
                    changed_at=live.changed_at,
                ),
            )
        )

    def _put_agent(self, agent: Agent) -> Agent:
        self.agents[agent.id] = agent
        self._able.clear()
        if _may_take_work(agent):
            self.idle.setdefault(agent.id, None)
            self._put_among_like(agent.id, agent.capabilities)
        else:
            self.idle.pop(agent.id, None)
            self._put_among_like(agent.id, None)
        return agent

    def _put_among_like(self, agent_id: str, can: frozenset[str] | None) -> None:
        before = self._likeness.get(agent_id)
        if before == can:
            return
        if before is not None:
            del self._likeness[agent_id]
            like = self._idle_like[before]
            del like[agent_id]
            if not like:
                del self._idle_like[before]
        if can is not None:
            self._likeness[agent_id] = can
            self._idle_like.setdefault(can, {})[agent_id] = None

    def idle_with(self, needs: frozenset[str]) -> Iterator[Agent]:
        """Yield the idle agents that have what is needed; those that are alike are judged once."""
        for can, names in self._idle_like.items():
            if needs <= can:
                yield from (self.agents[name] for name in names)

    def able(self, needs: frozenset[str]) -> tuple[Agent, ...]:
        """Return the enabled agents that may have what is needed, idle or not; kept until an agent changes."""
        found = self._able.get(needs)
        if found is None:
            found = tuple(agent for agent in self.agents.values() if agent.enabled and agent.may_have(needs))
            self._able[needs] = found
        return found


def _may_take_work(agent: Agent) -> bool:
    live = agent.live
    return (
        live.state is AgentState.IDLE
        and live.settled
        and not live.unresponsive
        and not live.busy
        and not live.leaving
        and agent.enabled
        and not agent.record.parked
        and not agent.record.draining
    )
