"""What a new observation of the source means: which tasks appear, change, end, which agents are in force.

The observation says everything that people want now; this module compares it with what was wanted before. Seeing
the same observation again changes nothing, and a word that stood there already (a tick, ``cancel: true``) is not said
again.
"""

from collections.abc import Collection
from typing import Any

from coordinator.core import enlisting, guards
from coordinator.core.acting import Step
from coordinator.core.events import Actor, Observed
from coordinator.core.guards import Batch, Kind
from coordinator.core.machine import AgentEvent, AgentState, Event, State
from coordinator.core.policy import Lane
from coordinator.core.task import Answer, Decision, End, Origin, Spec, Task
from coordinator.core.values import evolve

#: Fields of a specification whose change an agent at work hears of (``task_updated``).
_TOLD = ("title", "description", "priority", "deadline", "timeout_s", "labels", "metadata", "acceptance")


def observe(step: Step, seen: Observed) -> None:
    """Bring the memory in line with what people want."""
    memory = step.memory
    policy_changed = memory.policy != seen.policy
    memory.policy = seen.policy
    enlisting.look(step, seen)
    confirmed = _release(step, seen)
    open_before = sum(not task.status.held for task in memory.open_tasks())
    held = _hold_new(step, seen)
    for task_id in sorted(seen.specs):
        _task(step, seen, seen.specs[task_id], held=task_id in held)
    kept = _take_away(step, seen, open_before, confirmed)
    _keep_what_waits(step, seen)
    memory.wanted = frozenset(seen.specs) | (memory.wanted & seen.undecided) | kept
    step.circles_stale = True
    for task in list(memory.open_tasks()) if policy_changed else []:
        step.refresh(task)


# --- guards ----------------------------------------------------------------------------------------------------------


def _release(step: Step, seen: Observed) -> frozenset[str]:
    """Let go of what a person has confirmed; return the tasks whose disappearance is confirmed."""
    memory = step.memory
    removed: set[str] = set()
    for batch in memory.waiting():
        if guards.confirms(seen.confirms, batch):
            removed |= confirm(step, batch, seen.by, seen.specs.keys())
    return frozenset(removed)


def confirm(step: Step, batch: Batch, by: Actor, wanted: Collection[str]) -> frozenset[str]:
    """Let a batch go that a person has looked at; return the tasks whose disappearance is confirmed by that.

    ``wanted`` are the tasks that people's files ask for.
    """
    memory = step.memory
    memory.held = tuple(one for one in memory.held if one is not batch)
    if batch.kind is Kind.REMOVED:
        return frozenset(batch.ids)
    for task in (memory.tasks[name] for name in batch.ids if name in memory.tasks):
        if task.status.held and (task.id in wanted or batch.kind is Kind.PROPOSED):
            step.apply(Event.HOLD, task, by, what="unheld", held=False, reason=f"confirmed by {by.name}")
    return frozenset()


def _keep_what_waits(step: Step, seen: Observed) -> None:
    """Drop from what is held the tasks that have ended, go on by another word, or are wanted again."""
    memory = step.memory
    names = {name for batch in memory.held for name in batch.ids}
    goes_on = {name for name in names if not _open(step, name) or not memory.tasks[name].status.held}
    memory.held = guards.without(memory.held, {Kind.ADDED, Kind.EXISTING}, goes_on)
    settled = {name for name in names if not _open(step, name) or name in seen.specs}
    memory.held = guards.without(memory.held, {Kind.REMOVED}, settled)


def _open(step: Step, name: str) -> bool:
    task = step.memory.tasks.get(name)
    return task is not None and task.open


def _hold_new(step: Step, seen: Observed) -> frozenset[str]:
    """Return which of the items that become tasks now must wait for a person: too many at once, or older than init."""
    memory = step.memory
    born = [
        name
        for name, spec in sorted(seen.specs.items())
        if name not in memory.tasks and name not in memory.closed and spec.origin is Origin.BACKLOG
        and seen.places.get(name, (Lane.READY, 0))[0] is Lane.READY
    ]  # fmt: skip
    existing = tuple(name for name in born if name in seen.existing)
    added = tuple(name for name in born if name not in seen.existing)
    if seen.confirmed:
        return frozenset()
    if existing:
        memory.held += (Batch(seen.commit, Kind.EXISTING, existing),)
    if not guards.too_many_new(len(added)):
        return frozenset(existing)
    memory.held += (Batch(seen.commit, Kind.ADDED, added),)
    return frozenset(existing + added)


def _take_away(step: Step, seen: Observed, open_before: int, confirmed: frozenset[str]) -> frozenset[str]:
    """End what nobody wants any more; return the ids that stay, because too many would disappear at once."""
    memory = step.memory
    waiting = {name for batch in memory.held if batch.kind is Kind.REMOVED for name in batch.ids}
    absent = memory.wanted - seen.specs.keys() - seen.undecided
    gone = [name for name in sorted(absent - waiting) if _open(step, name) and _by_people(memory.tasks[name])]
    doubtful = [name for name in gone if name not in confirmed and not memory.tasks[name].status.held]
    if guards.too_many_removed(len(doubtful), open_before) and not seen.confirmed:
        memory.held += (Batch(seen.commit, Kind.REMOVED, tuple(doubtful)),)
        waiting.update(doubtful)
    for name in (name for name in gone if name not in waiting):
        gone_for(step, memory.tasks[name], seen.people.get(name, seen.by))
    return frozenset(waiting)


def _by_people(task: Task) -> bool:
    """Tell whether a task stands in a file of people, as far as is known: only then can it disappear from there."""
    return task.spec.origin is not Origin.API and not task.status.orphaned


# --- tasks -----------------------------------------------------------------------------------------------------------


def _task(step: Step, seen: Observed, spec: Spec, *, held: bool) -> None:
    task = step.memory.tasks.get(spec.id)
    before = task.spec if task is not None else Spec(spec.id, spec.title)
    by = seen.people.get(spec.id, seen.by)
    lane, position = seen.places.get(spec.id, (Lane.READY, 0))
    if task is None:
        if spec.id in step.memory.closed:
            return
        step.create(step.born(spec, by, lane, position, held=held), by)
    elif (task.lane, task.position) != (lane, position):
        step.memory.put(evolve(task, lane=lane, position=position))
        step.refresh(step.memory.tasks[spec.id])
    if task is not None and task.status.orphaned:
        step.apply(Event.PUT_BACK, task, by, reason="it is wanted again")
    edited(step, spec, by)
    _words(step, before, spec, by)


def edited(step: Step, spec: Spec, by: Actor, *, released: bool = False) -> None:
    """Take a changed specification over; ``released``: it waits no longer for a person's confirmation."""
    task = step.memory.tasks[spec.id]
    if task.finished:
        step.memory.later[spec.id] = spec  # it keeps the words under which it ended, until a rerun
    if task.spec.blob == spec.blob and task.spec.origin is spec.origin:
        if task.spec != spec:
            step.memory.put(evolve(task, spec=spec))
        return
    if task.finished:
        return
    changed = _changes(task.spec, spec)
    held = task.spec.hold != spec.hold
    #: A hold in review has no row of its own: it is recorded like any other edit.
    only_hold = held and evolve(task.spec, hold=spec.hold, blob=spec.blob) == spec and task.state is not State.IN_REVIEW
    if task.spec.origin is not Origin.FILE and spec.origin is Origin.FILE:
        what = "taken_over"
    elif only_hold:
        what = "held" if spec.hold else "unheld"
    else:
        what = "spec_edited"
    event = Event.HOLD if only_hold else Event.SPEC_EDITED
    explicit = False if (released or what == "taken_over") and task.status.held else None
    after = step.apply(event, task, by, what=what, spec=spec, held=explicit, reason=task.status.reason)
    owner = task.status.assigned_to
    if after is not None and changed and owner is not None:
        step.tell_owner(owner, task, changed, None)


def _changes(before: Spec, after: Spec) -> dict[str, Any]:
    """Return the changed fields that an agent at work should know."""
    return {name: getattr(after, name) for name in _TOLD if getattr(before, name) != getattr(after, name)}


def _words(step: Step, before: Spec, spec: Spec, by: Actor) -> None:
    """Act on the words that a specification says now and did not say before."""
    task = step.memory.tasks[spec.id]
    if task.status.deleted:
        return
    if spec.rerun > task.status.rerun:
        step.apply(Event.RERUN, task, by, spec=spec, reason=f"rerun {spec.rerun} asked by {by.name}")
        task = step.memory.tasks[spec.id]
    if spec.answer is not None and spec.answer != before.answer:
        answer(step, task, by, spec.answer)
        task = step.memory.tasks[spec.id]
    if task.finished:
        return
    if spec.done and not before.done:
        done_by_hand(step, task, by, f"ticked in {spec.where}")
    elif spec.cancel and not before.cancel:
        cancel(step, task, by, f"cancelled in {spec.where}")
    elif spec.decision is not None and spec.decision != before.decision:
        decide(step, task, by, spec.decision)


def cancel(step: Step, task: Task, by: Actor, reason: str) -> None:
    """Cancel a task on a person's word; its owner is told."""
    step.apply(Event.CANCEL, task, by, tell=reason, end=End.CANCELLED, reason=reason)


def done_by_hand(step: Step, task: Task, by: Actor, reason: str) -> None:
    """Take a task for done on a person's word; its owner is told."""
    step.apply(Event.DONE_BY_HAND, task, by, tell=reason, end=End.DONE_BY_HAND, reason=reason)


def answer(step: Step, task: Task, by: Actor, text: Answer) -> None:
    """Give an answer to the question of an attempt; one for another generation is only recorded."""
    owner = task.status.assigned_to
    agent = step.memory.agents.get(owner) if owner else None
    current = text.generation == task.status.generation
    if task.state is State.BLOCKED and not current:
        return
    keeps = agent is not None and agent.live.slot == task.id and agent.live.state is AgentState.BLOCKED
    keeps = keeps and agent is not None and "updates" in agent.features
    after = step.apply(
        Event.ANSWER,
        task,
        by,
        answer=text,
        keeps_slot=keeps,
        end=End.HANDED_BACK,
        reason="answered" if keeps or task.state is not State.BLOCKED else "answered; its agent had let go",
    )
    if after is None or owner is None or after.status.assigned_to != owner:
        return
    if task.state is State.BLOCKED:
        step.take_slot(owner, after, AgentEvent.ANSWER)
    if current and task.state in (State.BLOCKED, State.WORKING):
        step.tell_answer(owner, after)


def decide(step: Step, task: Task, by: Actor, decision: Decision, merged: str | None = None) -> None:
    """Take a verdict on a result in review; one on another generation, or the same again, changes nothing."""
    if task.state is not State.IN_REVIEW or decision.generation != task.status.generation:
        return
    if decision in task.status.reviews:
        return
    event = Event.APPROVED if decision.approve else Event.CHANGES_ASKED
    reason = decision.note or ("approved" if decision.approve else "")
    step.apply(event, task, by, decision=decision, merged=merged, reason=reason)


def gone_for(step: Step, task: Task, by: Actor) -> None:
    """End what nobody wants any more (DESIGN 4: cancel, orphaned)."""
    if task.spec.origin is Origin.FILE:
        cancel(step, task, by, f"{task.spec.where or task.id} was deleted")
    elif task.spec.origin is Origin.BACKLOG and not task.status.orphaned:
        reason = "its line in BACKLOG.md is gone"
        step.apply(Event.ORPHANED, task, by, tell=reason, end=End.CANCELLED, reason=reason)
