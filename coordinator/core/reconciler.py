"""The core's front: one event in, the effects in order out.

``Core.handle`` dispatches events, keeps sessions and leases, and hands out work after every event. What a word means
stands in ``words``, what an observation means in ``observing``, how anything changes in ``acting``. No I/O, no clock.
"""

from collections.abc import Iterable
from typing import assert_never

from coordinator.core import enlisting, making, observing, words
from coordinator.core.acting import Step
from coordinator.core.agent import AgentRecord, AgentSpec, Session
from coordinator.core.events import (
    HUB,
    AgentAsked,
    Asked,
    Close,
    Connected,
    Disconnected,
    Drain,
    Effect,
    Happening,
    Invited,
    Observed,
    Reply,
    Request,
    Resumed,
    Said,
    Started,
    Tick,
    TokenIssued,
    TokensRevoked,
)
from coordinator.core.guards import Batch
from coordinator.core.machine import AgentEvent, AgentState, Event, State
from coordinator.core.scheduler import Why, find_cycles, why, whys
from coordinator.core.state import Memory
from coordinator.core.task import End, Spec, Task
from coordinator.core.timers import Key, Now
from coordinator.core.values import evolve

#: How long a returning sidecar may take to say what it holds before it gets work, in seconds (PROTOCOL 1.4).
SETTLE = 2.0


class Core:
    """The life of all tasks. Single-threaded; every method takes the time as an argument."""

    def __init__(self) -> None:
        self.memory = Memory()

    def restore(self, task: Task) -> None:
        """Take a task from the branch into memory (at start, or a finished one that somebody speaks of)."""
        self.memory.put(task)

    def forget(self, task_id: str) -> None:
        """Take a finished task out of memory; its id stays known, and ``restore`` brings it back."""
        self.memory.forget(task_id)

    def restore_record(self, record: AgentRecord) -> None:
        """Take an agent's record from the branch into memory."""
        self.memory.put_record(record)

    def restore_enlisted(self, spec: AgentSpec) -> None:
        """Take an agent that the hub made from the branch into memory."""
        self.memory.enlisted[spec.id] = spec
        self.memory.put_spec(spec)

    def restore_closed(self, ids: frozenset[str]) -> None:
        """Name the finished tasks that stay outside memory until somebody speaks of them."""
        self.memory.closed |= ids - self.memory.tasks.keys()

    def restore_wanted(self, ids: frozenset[str]) -> None:
        """Name what the last observation wanted, so that what is gone from the next one is noticed."""
        self.memory.wanted = ids

    def restore_later(self, spec: Spec) -> None:
        """Name the words that are in force once a finished task in memory runs again."""
        self.memory.later[spec.id] = spec

    def restore_held(self, batches: tuple[Batch, ...]) -> None:
        """Name what waits for a person's confirmation."""
        self.memory.held = batches

    def why(self, task: Task, now: Now) -> Why | None:
        """Return why a queued task is not being worked on, None when it is not queued."""
        return why(self.memory, task, now)

    def whys(self, tasks: Iterable[Task], now: Now) -> dict[str, Why]:
        """Return why each queued one of these tasks is not being worked on, by id."""
        return whys(self.memory, tasks, now)

    def next_due(self, now: Now) -> float | None:
        """Return the monotonic instant of the next timer, None when nothing is due ever."""
        mono, wall = self.memory.mono.next_due(), self.memory.wall.next_due()
        instants = [] if mono is None else [mono]
        if wall is not None:
            instants.append(now.mono + max(0.0, (wall - now.wall) / 1000))
        return min(instants, default=None)

    def handle(self, event: Happening, now: Now) -> list[Effect]:
        """Let one event happen; return what is to be recorded and said, in order.

        Nothing that is returned may be said before everything that is to be recorded before it is durable.
        """
        step = Step(self.memory, now)
        match event:
            case Started():
                _started(step, event)
            case Observed():
                observing.observe(step, event)
            case Connected():
                _connected(step, event.agent, event.session)
            case Disconnected():
                _disconnected(step, event.agent, event.session)
            case Said():
                agent = self.memory.agents.get(event.agent)
                if agent is not None and agent.live.session is not None and agent.live.session.id == event.session:
                    words.hear(step, event.agent, event.word)
            case Asked():
                making.ask(step, event)
            case Request():
                step.effects.append(Reply(event.ticket, making.answer(step, event.what)))
            case AgentAsked():
                _agent_asked(step, event)
            case TokenIssued() | Invited() | TokensRevoked():
                enlisting.hear(step, event)
            case Tick():
                _tick(step)
            case Resumed():
                step.memory.mono.shift(event.stood)
                _renew_leases(step)
            case _:
                assert_never(event)
        step.find_cycles()
        step.assign_ready()
        return step.effects


# --- start and leases ------------------------------------------------------------------------------------------------


def _started(step: Step, event: Started) -> None:
    memory = step.memory
    memory.cycles = find_cycles(memory)
    if event.anew:
        for task in sorted(memory.open_tasks(), key=lambda task: task.id):
            step.apply(Event.NEW_HUB, task, end=End.RESCUED, reason=event.anew)
    for task in sorted(memory.tasks.values(), key=lambda task: task.id):
        if task.open:
            step.resume_timers(task)
    for record in [agent.record for agent in memory.agents.values()]:
        if record.parked_until is not None:
            memory.wall.set(("parked", record.id), record.parked_until)
    _renew_leases(step)


def _renew_leases(step: Step) -> None:
    """Give every absent owner the whole grace again."""
    grace = step.memory.policy.timeouts.start_grace
    for owner in step.memory.owners():
        agent = step.memory.agents.get(owner)
        if agent is None or agent.live.session is None:
            step.memory.mono.set(("lease", owner), step.now.mono + grace)


# --- sessions --------------------------------------------------------------------------------------------------------


def _connected(step: Step, agent_id: str, session: Session) -> None:
    memory = step.memory
    agent = memory.agents.get(agent_id)
    if agent is None or agent.spec.disabled:
        step.effects.append(Close(agent_id, session.id, "agent_disabled"))
        return
    if agent.live.session is not None:
        _disconnected(step, agent_id, agent.live.session.id)
    memory.mono.clear(("lease", agent_id))
    task = _slot_task(step, agent_id, session)
    memory.set_live(agent_id, session=session, settled=session.holding is not None, slot=None)
    if task is None:
        step.move(agent_id, AgentEvent.CONNECT)
    else:
        step.move(agent_id, AgentEvent.CONNECT_OWNING, slot=task.id)
        if task.state is State.WORKING:
            step.move(agent_id, AgentEvent.START)
        elif task.state is State.BLOCKED:
            step.move(agent_id, AgentEvent.BLOCK)
    if session.holding is None:
        memory.mono.set(("settle", agent_id), step.now.mono + SETTLE)
    else:
        _judge_holding(step, agent_id, session.holding)


def _slot_task(step: Step, agent_id: str, session: Session) -> Task | None:
    """Return the task that keeps a returning agent busy; a blocked one only when the agent holds on to it."""
    owned = step.memory.owned_by(agent_id)
    for task in owned:
        if task.state in (State.ASSIGNED, State.WORKING):
            return task
    holding = session.holding or frozenset()
    for task in owned:
        if "updates" in session.features and (task.id, task.status.generation) in holding:
            return task
    return None


def _judge_holding(step: Step, agent_id: str, holding: frozenset[tuple[str, int]]) -> None:
    foreign = [pair for pair in sorted(holding) if not words.held(step, agent_id, *pair)]
    _assign_again(step, agent_id)
    agent = step.memory.agents[agent_id]
    if foreign and agent.live.state is AgentState.IDLE and "release" in agent.features:
        names = sorted({task_id for task_id, _ in foreign})
        step.memory.set_live(agent_id, slot=names[0], dying=frozenset(names[1:]))
        step.release(agent_id)


def _assign_again(step: Step, agent_id: str) -> None:
    """Send the task in hand again to an owner that came back without naming it."""
    agent = step.memory.agents[agent_id]
    task = step.memory.tasks.get(agent.live.slot) if agent.live.slot else None
    if task is None or task.status.assigned_to != agent_id:
        return
    if (task.id, task.status.generation) not in agent.live.told:
        step.send_assign(agent_id, task, again=True)
        step.expect_progress(task)


def _disconnected(step: Step, agent_id: str, session_id: str) -> None:
    memory = step.memory
    agent = memory.agents.get(agent_id)
    if agent is None or agent.live.session is None or agent.live.session.id != session_id:
        return
    step.move(agent_id, AgentEvent.DISCONNECT)
    memory.forget_session(agent_id)
    for name in ("settle", "busy", "release", "leaving"):
        memory.mono.clear((name, agent_id))
    owned = memory.owned_by(agent_id)
    for task in owned:
        for name in ("accept", "stuck", "stuck_fail"):
            memory.mono.clear((name, task.id))
    if agent.live.leaving:
        # It would have accepted before it said that it leaves: what it did not accept it never saw.
        for task in owned:
            if task.state is State.ASSIGNED and not agent.live.resent:
                step.apply(Event.LEASE_ENDED, task, end=End.LEASE_ENDED, reason=f"agent {agent_id} stopped before it")
    if memory.owned_by(agent_id):
        memory.mono.set(("lease", agent_id), step.now.mono + memory.policy.timeouts.lost_after)


# --- people ----------------------------------------------------------------------------------------------------------


def _agent_asked(step: Step, event: AgentAsked) -> None:
    agent = step.memory.agents.get(event.agent)
    if agent is None:
        return
    if event.what == "resume":
        if agent.record.parked:
            step.unpark(event.agent, event.by, f"resumed by {event.by.name}")
        return
    if event.what in ("disable", "enable"):
        enlisting.allow(step, event.agent, event.by, enabled=event.what == "enable")
        return
    draining = event.what == "drain"
    step.record_agent(evolve(agent.record, draining=draining), event.by, event.what)
    if draining:
        step.send(event.agent, Drain(f"asked by {event.by.name}"))


# --- time ------------------------------------------------------------------------------------------------------------


def _tick(step: Step) -> None:
    for key in step.memory.mono.pop_due(step.now.mono):
        _mono_due(step, key)
    for key in step.memory.wall.pop_due(step.now.wall):
        _wall_due(step, key)


def _mono_due(step: Step, key: Key) -> None:
    name, subject = key
    memory, times = step.memory, step.memory.policy.timeouts
    match name:
        case "lease":
            for task in memory.owned_by(subject):
                reason = f"agent {subject} gone for {_spell(times.lost_after)}"
                step.apply(Event.LEASE_ENDED, task, end=End.LEASE_ENDED, reason=reason)
        case "settle":
            memory.set_live(subject, settled=True, idle_since_mono=step.now.mono)
            _assign_again(step, subject)
        case "busy":
            memory.set_live(subject, busy=False, idle_since_mono=step.now.mono)
        case "leaving":
            memory.set_live(subject, leaving=False, idle_since_mono=step.now.mono)
        case "wake":
            if memory.agents[subject].record.parked:
                step.unpark(subject, HUB, "passed a wake check a while ago")
        case "release":
            step.free_slot(subject, memory.agents[subject].live.slot or "")
            memory.set_live(subject, unresponsive=True, dying=frozenset())
        case "backoff":
            step.refresh(memory.tasks[subject])
        case _:
            _task_due(step, name, memory.tasks[subject])


def _task_due(step: Step, name: str, task: Task) -> None:
    times, owner = step.memory.policy.timeouts, task.status.assigned_to or ""
    match name:
        case "accept":
            reason = f"agent {owner} did not accept in {_spell(times.accept)}"
            step.apply(Event.NOT_ACCEPTED, task, end=End.NOT_ACCEPTED, reason=reason)
            step.memory.set_live(owner, unresponsive=True)
        case "attempt":
            reason = f"no end after {_spell(task.spec.timeout_s or times.attempt)}"
            step.apply(Event.ATTEMPT_TIMEOUT, task, tell=reason, end=End.ATTEMPT_TIMEOUT, reason=reason)
        case "stuck":
            step.apply(Event.STUCK, task)
            step.memory.set_live(owner, stuck=True)
            step.memory.mono.set(("stuck_fail", task.id), step.now.mono + times.stuck_fail - times.stuck)
        case "stuck_fail":
            reason = f"no progress for {_spell(times.stuck_fail)}"
            step.apply(Event.STUCK_TIMEOUT, task, tell=reason, end=End.STUCK, reason=reason)
        case "blocked":
            reason = f"no answer in {_spell(times.blocked)}"
            step.apply(Event.BLOCKED_TIMEOUT, task, tell=reason, end=End.BLOCKED_TIMEOUT, reason=reason)


def _wall_due(step: Step, key: Key) -> None:
    name, subject = key
    match name:
        case "deadline":
            step.miss_deadline(step.memory.tasks[subject])
        case "not_before":
            step.refresh(step.memory.tasks[subject])
        case "parked":
            step.unpark(subject, HUB, "its pause is over")


def _spell(seconds: float) -> str:
    """Spell a duration as people write it in agentcom.yaml."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"
