"""Which task goes to which agent, and why a task waits.

``hindrance`` is the one function that says whether a task may run; the ready queue holds exactly the tasks for which it
says nothing, and ``why`` is the same function continued with the agents. Nothing here changes a task.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.core.agent import PARKED_FOR_GOOD, Agent
from coordinator.core.graph import SPELT, circles, spell
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.queue import Bucket
from coordinator.core.state import Memory
from coordinator.core.task import End, Task
from coordinator.core.timers import Now, spell_instant

#: Ends after which another agent is preferred for the next attempt.
_TRY_ANOTHER = frozenset(
    {End.FAILED, End.LEASE_ENDED, End.ATTEMPT_TIMEOUT, End.STUCK, End.BLOCKED_TIMEOUT, End.NOT_ACCEPTED, End.BUSY}
)


@dataclass(frozen=True, slots=True)
class Why:
    """A reason for waiting: ``code`` of DECISIONS 11, words for people, ids of tasks or agents it speaks of."""

    code: str
    text: str
    refs: tuple[str, ...] = ()


def hindrance(memory: Memory, task: Task, now: Now) -> Why | None:
    """Return why a queued task may not run whoever is idle, None when it may."""
    lane, status = task.lane, task.status
    if lane is Lane.DRAFT or lane is Lane.IN_PROGRESS:
        return Why("draft", "its backlog item stands in a draft lane; move it under a ready heading")
    if lane is Lane.DEFERRED:
        return Why("deferred", "its backlog item stands in a deferred lane; move it under a ready heading")
    if task.spec.hold or status.held:
        return Why("held", _held(task))
    if status.orphaned:
        return Why("orphaned", "its backlog line is gone")
    if task.id in memory.cycles:
        ring = memory.cycles[task.id]
        return Why("cycle", f"its dependencies form a cycle: {spell(ring)}", ring[:SPELT])
    unmet = tuple(dep for dep in task.spec.depends_on if not memory.is_done(dep))
    if unmet:
        return Why("dependency", "waits for " + ", ".join(_dependency(memory, dep) for dep in unmet), unmet)
    if task.spec.not_before is not None and task.spec.not_before > now.wall:
        return Why("not_before", f"waits until {spell_instant(task.spec.not_before)} (not_before)")
    if memory.mono.get(("backoff", task.id)) is not None:
        return Why("backoff", f"backs off after: {status.reason or 'a failure without a reason'}")
    if memory.policy.suspend:
        return Why("suspend", "agentcom.yaml says suspend: true; nothing new starts")
    return None


def _held(task: Task) -> str:
    if task.spec.hold:
        return f"held; `agentcom task release {task.id}` lets it go on"
    return "held until a person has looked: `agentcom confirm --show`, then `agentcom confirm`"


def _dependency(memory: Memory, task_id: str) -> str:
    task = memory.tasks.get(task_id)
    if task is not None:
        return f"{task_id} ({task.state})"
    return f"{task_id} (finished without success)" if task_id in memory.closed else f"{task_id} (no such task)"


def refresh(memory: Memory, task: Task, now: Now) -> None:
    """Put a task into the ready queue or take it out, whichever is right now."""
    if task.state is State.QUEUED and hindrance(memory, task, now) is None:
        memory.ready.put(task)
        memory.ready_since.setdefault(task.id, now.mono)
    else:
        memory.ready.discard(task.id)
        memory.ready_since.pop(task.id, None)


def why(memory: Memory, task: Task, now: Now) -> Why | None:
    """Return why a queued task is not being worked on; None for a task in any other state."""
    if task.state is not State.QUEUED:
        return None
    return hindrance(memory, task, now) or _nobody(memory, task)


def whys(memory: Memory, tasks: Iterable[Task], now: Now) -> dict[str, Why]:
    """Return why each queued one of these tasks waits, by id; what looks alike to every agent is judged once."""
    found: dict[str, Why] = {}
    alike: dict[tuple[object, ...], Why] = {}
    for task in tasks:
        if task.status.status is not State.QUEUED:
            continue
        spec = task.spec
        reason = None if spec.id in memory.ready else hindrance(memory, task, now)
        if reason is None:
            asked = (spec.needed_capabilities, spec.assignee, task.status.excluded, spec.repo)
            reason = alike.get(asked)
            if reason is None:
                reason = alike[asked] = _nobody(memory, task)
        found[spec.id] = reason
    return found


def _nobody(memory: Memory, task: Task) -> Why:
    """Return why no agent takes a task that may run: of the task only its bucket matters."""
    full = _limit(memory, task.spec.repo)
    if full is not None:
        return full
    pin = task.spec.assignee
    able = list(memory.able(frozenset(task.spec.needed_capabilities)))
    if pin is not None:
        able = [agent for agent in able if agent.id == pin]
        if not able:
            return Why("pinned", f"pinned to {pin}, which is no enabled agent with what it needs", (pin,))
    if not able:
        needs = ", ".join(task.spec.needed_capabilities)
        return Why("no_agent", f"no agent has {needs}" if needs else "there is no agent; see `agentcom agent add`")
    allowed = [agent for agent in able if agent.id not in task.status.excluded]
    if not allowed:
        ids = _ids(able)
        return Why("excluded", f"every fitting agent has rejected it: {', '.join(ids)}", ids)
    if pin is not None and pin not in memory.idle:
        return Why("pinned", f"pinned to {pin}, which is {_presence(memory.agents[pin])}", (pin,))
    return _waiting_for(allowed, frozenset(task.spec.needed_capabilities))


def _waiting_for(agents: list[Agent], needs: frozenset[str]) -> Why:
    online = [agent for agent in agents if agent.live.session is not None]
    there = online or agents
    if all(agent.record.parked for agent in there):
        reasons = "; ".join(f"{agent.id}: {agent.record.parked_reason}" for agent in there)
        cure = "mend that and start the sidecar again" if _for_good(there) else "it ends by itself"
        return Why("agents_parked", f"fitting agents are parked ({reasons}); {cure}", _ids(there))
    if online:
        return Why("agents_busy", f"fitting agents are busy: {', '.join(_ids(online))}", _ids(online))
    known = [agent for agent in agents if needs <= agent.capabilities]
    if known or not needs:
        ids = _ids(known or agents)
        return Why("agents_offline", f"fitting agents are offline: {', '.join(ids)}", ids)
    ids = _ids(agents)
    wanted = ", ".join(sorted(needs))
    text = f"no agent here has {wanted}; offline, and not saying in their files what they can: {', '.join(ids)}"
    return Why("agents_offline", text, ids)


def _for_good(agents: list[Agent]) -> bool:
    return any(agent.record.parked_until == PARKED_FOR_GOOD for agent in agents)


def _ids(agents: Iterable[Agent]) -> tuple[str, ...]:
    return tuple(sorted(agent.id for agent in agents))


def _presence(agent: Agent) -> str:
    if agent.record.parked:
        return f"parked ({agent.record.parked_reason})"
    return str(agent.live.state)


def _limit(memory: Memory, repo: str | None) -> Why | None:
    limits = memory.policy.limits
    if limits.total is not None and memory.in_hand_total >= limits.total:
        return Why("limit", f"limits.total: {limits.total} tasks are in hand")
    name = repo or memory.policy.default_repo
    limit = limits.repo.get(name) if name else None
    if limit is None:
        return None
    in_hand = memory.in_hand.get(name, 0)
    if name == memory.policy.default_repo:
        in_hand += memory.in_hand.get(None, 0)
    return Why("limit", f"limits.repo.{name}: {limit} tasks are in hand") if in_hand >= limit else None


def fits(agent: Agent, bucket: Bucket) -> bool:
    """Tell whether an agent may take the tasks of a bucket, idle or not."""
    return (
        bucket.needs <= agent.capabilities and bucket.assignee in (None, agent.id) and agent.id not in bucket.excluded
    )


def choose(memory: Memory) -> tuple[Task, Agent] | None:
    """Return the next assignment: the earliest task of the order that some idle agent fits (S13), or None."""
    if not memory.idle:
        return None
    for order, bucket in memory.ready.heads():
        candidates = [agent for agent in memory.idle_with(bucket.needs) if fits(agent, bucket)]
        if candidates and _limit(memory, bucket.repo) is None:
            task = memory.tasks[order[3]]
            return task, _best(task, candidates)
    return None


def _best(task: Task, candidates: list[Agent]) -> Agent:
    """Among agents idle now: the preferred one, else not the one that just failed, else the one that waited longest."""
    last = task.status.attempts[-1] if task.status.attempts else None
    avoid = last.agent if last is not None and last.end in _TRY_ANOTHER else None
    return min(
        candidates,
        key=lambda agent: (
            agent.id != task.status.preferred,
            agent.id == avoid,
            agent.live.idle_since_mono,
            agent.id,
        ),
    )


def fitting_left(memory: Memory, task: Task, excluded: str) -> bool:
    """Tell whether, once ``excluded`` is out, some enabled agent fits; offline ones count."""
    out = {*task.status.excluded, excluded}
    return any(
        agent.enabled
        and agent.id not in out
        and agent.may_have(frozenset(task.spec.needed_capabilities))
        and task.spec.assignee in (None, agent.id)
        for agent in memory.agents.values()
    )


def find_cycles(memory: Memory) -> dict[str, tuple[str, ...]]:
    """Return, for each open task on a dependency cycle, that cycle; tasks that merely wait for one are not on it."""
    return circles({task.id: task.spec.depends_on for task in memory.open_tasks() if task.spec.depends_on})
