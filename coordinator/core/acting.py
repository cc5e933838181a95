"""One step of the core: the only place where a task or an agent changes.

Every change goes through the table: look up the cell, run its rule, check the state reached, record it, then keep
timers, the ready queue and the agent's slot in step. Which event applies is decided by the callers.
"""

from typing import Any

from coordinator.core import scheduler
from coordinator.core.agent import PARKED_FOR_GOOD, AgentRecord, AgentSpec
from coordinator.core.errors import Bug
from coordinator.core.events import (
    HUB,
    Actor,
    Assign,
    Cancelled,
    Close,
    Effect,
    Message,
    Orphan,
    Record,
    Send,
    Updated,
)
from coordinator.core.machine import AGENT, TASK, AgentEvent, AgentState, Event, State
from coordinator.core.policy import Lane
from coordinator.core.rules import RULES, Cause
from coordinator.core.state import Memory
from coordinator.core.task import End, Spec, Status, Task
from coordinator.core.timers import Now
from coordinator.core.values import evolve

#: How long a client without features may take to accept, in seconds (old sidecars block while git runs).
ACCEPT_OLD_CLIENT = 240.0
#: The name of each event in a commit's trailer, where it is not the event's own (DECISIONS 7).
TRAILER = {
    Event.ASSIGN: "assigned",
    Event.COMPLETE: "completed",
    Event.ANSWER: "answered",
    Event.STUCK_TIMEOUT: "stuck",
    Event.CANCEL: "cancelled",
    Event.RECOVERING: "recovered",
    Event.NEW_HUB: "rescued",
}


class Step:
    """What one event does: changes to the memory and the effects that they call for, in order."""

    def __init__(self, memory: Memory, now: Now) -> None:
        self.memory = memory
        self.now = now
        self.effects: list[Effect] = []
        #: While an agent speaks outside of its session: who, and what it is answered there.
        self.aside: tuple[str, list[Message]] | None = None
        #: Set where a circle of dependencies may have opened or closed; looked at once, before work is handed out.
        self.circles_stale = False

    # --- tasks

    def apply(
        self,
        event: Event,
        task: Task,
        by: Actor = HUB,
        *,
        what: str | None = None,
        tell: str | None = None,
        **cause: Any,
    ) -> Task | None:
        """Let ``event`` happen to ``task``; return its next value, None where the table has a dash.

        ``what`` overrides the name in the trailer. ``tell`` is the reason that the owner hears when it loses the task.
        ``cause`` are fields of ``rules.Cause``. Raises Bug when the rule leaves the table.
        """
        cell = TASK[event].get(task.state)
        if cell is None:
            return None
        given = Cause(event, self.now, self.memory.policy.retries, **cause)
        after = RULES[cell.rule](task, given)
        if after.state not in cell.to or after.status.generation < task.status.generation:
            raise Bug(f"{event} on {task.id}: {task.state} -> {after.state} by rule {cell.rule} is not in the table")
        if after == task:
            return after
        self.memory.put(after)
        owner = task.status.assigned_to
        self.effects.append(
            Record(
                what or TRAILER.get(event, str(event)),
                by,
                before=task,
                after=after,
                agent=given.agent or owner or after.status.assigned_to,
                note=given.reason,
            )
        )
        if owner is not None and after.status.assigned_to is None:
            self._let_go(owner, task, tell, own_word=given.own_word)
        self._keep_timers(task, after)
        opens, closes = after.open and task.finished, after.finished and task.open
        if (opens and after.spec.depends_on) or (closes and after.id in self.memory.cycles):
            self.circles_stale = True
        self.refresh(after)
        if task.finished != after.finished or task.state != after.state:
            for dependent in self.memory.dependents(after.id):
                self.refresh(self.memory.tasks[dependent])
        return after

    def born(self, spec: Spec, by: Actor, lane: Lane = Lane.READY, position: int = 0, *, held: bool = False) -> Task:
        """Return the task that a specification begins."""
        status = Status(
            created_at=self.now.wall,
            created_by=by.name,
            max_retries=self.memory.policy.retries.max if spec.max_retries is None else spec.max_retries,
            spec=spec.blob,
            rerun=spec.rerun,
            held=held,
        )
        return Task(spec, status, lane, position)

    def create(self, task: Task, by: Actor) -> None:
        """Bring a new task into the world, queued."""
        self.memory.put(task)
        self.effects.append(Record("created", by, after=task))
        self.track(task)
        for dependent in self.memory.dependents(task.id):
            self.refresh(self.memory.tasks[dependent])

    def miss_deadline(self, task: Task) -> None:
        """End an open task whose deadline has passed."""
        reason = "its deadline passed"
        self.apply(Event.DEADLINE, task, tell=reason, end=End.DEADLINE, reason=reason)

    def find_cycles(self) -> None:
        """Note anew which open tasks wait for one another in a circle, where that may have changed."""
        if not self.circles_stale:
            return
        self.circles_stale = False
        cycles = scheduler.find_cycles(self.memory)
        moved = set(cycles) ^ set(self.memory.cycles)
        self.memory.cycles = cycles
        for name in sorted(moved):
            self.refresh(self.memory.tasks[name])

    def track(self, task: Task) -> None:
        """Set the wall-clock timers of a task and judge whether it is ready."""
        if task.open and task.spec.deadline is not None:
            self.memory.wall.set(("deadline", task.id), task.spec.deadline)
        else:
            self.memory.wall.clear(("deadline", task.id))
        if task.open and task.spec.not_before is not None and task.spec.not_before > self.now.wall:
            self.memory.wall.set(("not_before", task.id), task.spec.not_before)
        self.refresh(task)

    def refresh(self, task: Task) -> None:
        scheduler.refresh(self.memory, task, self.now)

    def _keep_timers(self, before: Task, after: Task) -> None:
        mono, times, state = self.memory.mono, self.memory.policy.timeouts, after.state
        if state is not State.ASSIGNED:
            mono.clear(("accept", after.id))
        if state is State.WORKING and before.state is not State.WORKING:
            left = self.memory.attempt_left.pop(after.id, after.spec.timeout_s or times.attempt)
            mono.set(("attempt", after.id), self.now.mono + left)
            self.expect_progress(after)
        if state is not State.WORKING and before.state is State.WORKING:
            due = mono.get(("attempt", after.id))
            for name in ("attempt", "stuck", "stuck_fail"):
                mono.clear((name, after.id))
            if state is State.BLOCKED and due is not None:
                self.memory.attempt_left[after.id] = max(0.0, due - self.now.mono)
        if state is not State.BLOCKED:
            mono.clear(("blocked", after.id))
            self.memory.attempt_left.pop(after.id, None)
        elif before.state is not State.BLOCKED:
            mono.set(("blocked", after.id), self.now.mono + times.blocked)
        self._keep_backoff(after)
        if after.finished != before.finished or after.spec is not before.spec or before.state is State.IN_REVIEW:
            self.track(after)

    def _keep_backoff(self, task: Task) -> None:
        until = task.status.not_before
        if task.state is State.QUEUED and until is not None and until > self.now.wall:
            self.memory.mono.set(("backoff", task.id), self.now.mono + (until - self.now.wall) / 1000)
        else:
            self.memory.mono.clear(("backoff", task.id))

    def resume_timers(self, task: Task) -> None:
        """Set the timers of a task that was loaded from the branch."""
        times = self.memory.policy.timeouts
        self._keep_backoff(task)
        if task.state is State.WORKING:
            ran = max(0.0, (self.now.wall - (task.status.started_at or self.now.wall)) / 1000)
            left = (task.spec.timeout_s or times.attempt) - ran
            self.memory.mono.set(("attempt", task.id), self.now.mono + max(left, times.start_grace))
        if task.state is State.BLOCKED:
            self.memory.mono.set(("blocked", task.id), self.now.mono + times.blocked)
        self.track(task)

    def expect_progress(self, task: Task) -> None:
        """(Re)start the watch over an agent that promised progress; silence of others means nothing."""
        owner = task.status.assigned_to
        for name in ("stuck", "stuck_fail"):
            self.memory.mono.clear((name, task.id))
        if owner is None or owner not in self.memory.agents:
            return
        agent = self.memory.agents[owner]
        if agent.live.stuck and agent.live.slot == task.id:
            self.memory.set_live(owner, stuck=False)
        if task.state is State.WORKING and "progress" in agent.features:
            self.memory.mono.set(("stuck", task.id), self.now.mono + self.memory.policy.timeouts.stuck)

    # --- agents

    def move(self, agent_id: str, event: AgentEvent, **changes: Any) -> None:
        """Move an agent along its table. Raises Bug where the table has no such step."""
        live = self.memory.agents[agent_id].live
        state = AGENT[event].get(live.state)
        if state is None:
            raise Bug(f"agent {agent_id}: {event} is not possible while {live.state}")
        if state is AgentState.IDLE and live.state is not AgentState.IDLE:
            changes.setdefault("idle_since_mono", self.now.mono)
        if state is not live.state:
            changes.setdefault("changed_at", self.now.wall)
        if state is not AgentState.RELEASING:
            self.memory.mono.clear(("release", agent_id))
        self.memory.set_live(agent_id, state=state, **changes)

    def take_slot(self, agent_id: str, task: Task, event: AgentEvent) -> None:
        """Note that a task now keeps this agent busy; one that is away finds it when it comes back."""
        if self.memory.agents[agent_id].live.state is AgentState.OFFLINE:
            return
        self.move(agent_id, event, slot=task.id, stuck=False, progress=None, note="")

    def tell_owner(self, owner: str, task: Task, changed: dict[str, Any], answer: str | None) -> None:
        """Tell whoever works on a task what has changed about it, if it listens to that."""
        agent = self.memory.agents.get(owner)
        if agent is not None and "updates" in agent.features:
            self.send(owner, Updated(task.id, task.status.generation, changed, answer))

    def tell_answer(self, owner: str, task: Task) -> None:
        """Tell the last answer to the attempt in hand, with its number: one that comes again is known by it."""
        answers = [answer.text for answer in task.status.answers if answer.generation == task.status.generation]
        if answers:
            self.tell_owner(owner, task, {"answer_number": len(answers)}, answers[-1])

    def free_slot(self, agent_id: str, task_id: str) -> None:
        """Note that this task does not keep the agent busy any more."""
        live = self.memory.agents[agent_id].live
        if live.slot != task_id:
            return
        gone: dict[str, Any] = {"slot": None, "stuck": False, "progress": None, "note": ""}
        if live.state is AgentState.OFFLINE:
            self.memory.set_live(agent_id, **gone)
        else:
            self.move(agent_id, AgentEvent.FREE, **gone)

    def _let_go(self, owner: str, task: Task, tell: str | None, *, own_word: bool) -> None:
        agent = self.memory.agents.get(owner)
        if agent is None:
            return
        if tell is not None:
            self.send(owner, Cancelled(task.id, task.status.generation, tell))
        if agent.live.slot != task.id:
            return
        busy = agent.live.state in (AgentState.ASSIGNED, AgentState.WORKING, AgentState.BLOCKED)
        if tell is not None and not own_word and busy and "release" in agent.features:
            self.release(owner)
        else:
            self.free_slot(owner, task.id)

    def release(self, agent_id: str) -> None:
        """Wait for the agent's word that its process group is dead."""
        self.move(agent_id, AgentEvent.RELEASE)
        self.memory.mono.set(("release", agent_id), self.now.mono + self.memory.policy.timeouts.release)

    def park(self, agent_id: str, until: int | None, reason: str) -> None:
        """Give an agent no work until ``until`` (ms; None: until somebody resumes it); a longer pause stays."""
        record = self.memory.agents[agent_id].record
        end = PARKED_FOR_GOOD if until is None else until
        if record.parked_until is not None and record.parked_until >= end:
            return
        self.record_agent(evolve(record, parked_until=end, parked_reason=reason), HUB, f"parked: {reason}")
        self.memory.wall.set(("parked", agent_id), end)

    def unpark(self, agent_id: str, by: Actor, reason: str) -> None:
        record = self.memory.agents[agent_id].record
        self.memory.wall.clear(("parked", agent_id))
        self.memory.set_live(agent_id, failures=(), idle_since_mono=self.now.mono)
        self.record_agent(evolve(record, parked_until=None, parked_reason=""), by, reason)

    def record_agent(
        self, record: AgentRecord, by: Actor, note: str, *, enlisted: AgentSpec | None = None, discharged: bool = False
    ) -> None:
        """Store an agent's record; the same record again is no change.

        ``enlisted`` is the agent as the hub makes it now, ``discharged`` ends one that it made.
        """
        known = self.memory.agents.get(record.id)
        if known is not None and known.record == record and enlisted is None and not discharged:
            return
        if enlisted is not None:
            self.memory.enlisted[record.id] = enlisted
            self.memory.put_spec(enlisted)
        elif discharged:
            del self.memory.enlisted[record.id]
        self.memory.put_record(record)
        change = Record("agent_changed", by, record=record, agent=record.id, note=note)
        self.effects.append(evolve(change, enlisted=enlisted, discharged=discharged))

    # --- effects

    def send(self, agent_id: str, message: Message) -> None:
        """Say something to an agent if it is there."""
        if self.aside is not None and self.aside[0] == agent_id:
            self.aside[1].append(message)
            return
        agent = self.memory.agents.get(agent_id)
        if agent is not None and agent.live.session is not None:
            self.effects.append(Send(agent_id, agent.live.session.id, message))

    def orphan(self, task: Task, by: Actor, orphan: Orphan) -> None:
        """Keep a stale result for people; nothing else of the task changes."""
        after = evolve(task, status=evolve(task.status, orphans=(*task.status.orphans, orphan.generation)))
        self.memory.put(after)
        self.effects.append(Record("orphan_result", by, before=task, after=after, agent=orphan.agent, orphan=orphan))

    def send_assign(self, agent_id: str, task: Task, *, ready_mono: float | None = None, again: bool = False) -> None:
        """Hand a task over (again); from now on the agent has a limited time to accept."""
        self.tell_of(agent_id, task)
        self.memory.set_live(agent_id, resent=again)
        waited = 0.0 if ready_mono is None else self.now.mono - ready_mono
        policy = self.memory.policy
        repo = policy.repo_of(task.spec.repo, task.spec.kind)
        target = policy.repos.get(repo) if repo else None
        self.send(agent_id, Assign(task, self.now.wall - round(1000 * waited), repo, target))
        if task.state is State.ASSIGNED:
            accept = self.memory.policy.timeouts.accept
            patience = accept if self.memory.agents[agent_id].features else max(accept, ACCEPT_OLD_CLIENT)
            self.memory.mono.set(("accept", task.id), self.now.mono + patience)

    def tell_of(self, agent_id: str, task: Task) -> None:
        """Note that this session has heard of the current generation."""
        if self.aside is not None:
            return
        told = self.memory.agents[agent_id].live.told
        self.memory.set_live(agent_id, told=told | {(task.id, task.status.generation)})

    def close(self, agent_id: str, code: str) -> None:
        agent = self.memory.agents[agent_id]
        if agent.live.session is not None:
            self.effects.append(Close(agent_id, agent.live.session.id, code))

    def assign_ready(self) -> None:
        """Hand out every ready task that some idle agent fits."""
        while (chosen := scheduler.choose(self.memory)) is not None:
            task, agent = chosen
            if task.spec.deadline is not None and task.spec.deadline <= self.now.wall:
                self.miss_deadline(task)
                continue
            ready = max(self.memory.ready_since.get(task.id, self.now.mono), agent.live.idle_since_mono)
            after = self.apply(Event.ASSIGN, task, agent=agent.id)
            if after is None:
                raise Bug(f"{task.id} stood in the ready queue while {task.state}")
            self.take_slot(agent.id, after, AgentEvent.ASSIGN)
            self.send_assign(agent.id, after, ready_mono=ready)
