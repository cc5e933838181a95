"""What is asked for by name and not through a file: new tasks, edits, words of people and agents, confirmations.

Each request has an outcome that somebody waits for: it was done, or it would change nothing and a code says why. What
becomes of a task then is the business of ``observing`` and ``words``, as if a file or a frame had said so. Who may ask
for what is decided before.
"""

from typing import assert_never

from coordinator.core import guards, observing, words
from coordinator.core.acting import Step
from coordinator.core.events import (
    Ack,
    Asked,
    Cancelled,
    Confirmed,
    Edited,
    Made,
    Message,
    Outcome,
    Refused,
    Spoken,
)
from coordinator.core.guards import Kind
from coordinator.core.machine import Event, State
from coordinator.core.task import Answer, Decision, End, Origin, Spec, Task

#: Codes of ``Outcome.refused`` besides those of PROTOCOL 1.1.
EXISTS = "exists"
KEY_REUSED = "idempotency_key_reused"
CHANGED = "changed"
UNSEEN = "precondition_required"
HAS_FILE = "has_file"
GONE = "gone"
NO_AGENT = "unknown_agent"
PROPOSALS_REFUSED = "proposals_refused"
NOT_FOUND = "not_found"
INVALID_STATE = "invalid_state"
STALE = "stale_generation"
NOT_OWNER = "not_owner"


def answer(step: Step, what: Asked | Made | Edited | Spoken | Confirmed) -> Outcome:
    """Let one request happen; return what came of it."""
    match what:
        case Asked():
            return ask(step, what)
        case Made():
            return _make(step, what)
        case Edited():
            return _edit(step, what)
        case Spoken():
            return _speak(step, what)
        case Confirmed():
            return _confirm(step, what)
        case _:
            assert_never(what)


# --- specifications --------------------------------------------------------------------------------------------------


def _make(step: Step, event: Made) -> Outcome:
    memory, spec = step.memory, event.spec
    if spec.id in memory.tasks or spec.id in memory.closed:
        return Outcome(EXISTS, f"there is a task {spec.id} already", memory.tasks.get(spec.id))
    if refusal := _no_agent(step, spec):
        return refusal
    if event.proposal and memory.policy.proposals == "refuse":
        return Outcome(PROPOSALS_REFUSED, "agentcom.yaml says proposals: refuse")
    held = event.proposal and memory.policy.proposals == "hold"
    step.create(step.born(spec, event.by, held=held), event.by)
    step.circles_stale = True
    return Outcome(task=memory.tasks[spec.id])


def _edit(step: Step, event: Edited) -> Outcome:
    task = step.memory.tasks.get(event.spec.id)
    if task is None or task.status.deleted:
        return _unknown(event.spec.id)
    if task.spec.origin is not Origin.API:
        return Outcome(HAS_FILE, f"{task.id} stands in {task.spec.where}", task)
    if task.finished:
        return Outcome(INVALID_STATE, f"{task.id} is {task.state}: run it again first", task)
    if event.revision != task.spec.blob:
        return Outcome(CHANGED, f"{task.id} was changed meanwhile, it is {task.spec.blob} now", task)
    if event.spec.assignee != task.spec.assignee and (refusal := _no_agent(step, event.spec)):
        return refusal
    if event.released and task.status.held and event.spec.blob == task.spec.blob:
        reason = f"released by {event.by.name}"
        step.apply(Event.HOLD, task, event.by, what="unheld", held=False, reason=reason)
    else:
        observing.edited(step, event.spec, event.by, released=event.released)
    step.circles_stale = True
    return Outcome(task=step.memory.tasks[task.id])


def _no_agent(step: Step, spec: Spec) -> Outcome | None:
    """Refuse a pin to an agent that nobody knows: that would be a mistake in spelling, not a wish."""
    agent = step.memory.agents.get(spec.assignee or "")
    if spec.assignee is None or (agent is not None and agent.known):
        return None
    return Outcome(NO_AGENT, f"there is no agent {spec.assignee}")


# --- words of people -------------------------------------------------------------------------------------------------


def ask(step: Step, event: Asked) -> Outcome:
    """Act on a person's word about one task; one that would change nothing is refused."""
    task = step.memory.tasks.get(event.task)
    if task is None or task.status.deleted:
        return _unknown(event.task)
    refusal = _pointless(step, event, task)
    if refusal is not None:
        return refusal
    generation = task.status.generation
    match event.event:
        case Event.CANCEL:
            observing.cancel(step, task, event.by, event.text or f"cancelled by {event.by.name}")
        case Event.DONE_BY_HAND:
            observing.done_by_hand(step, task, event.by, event.text or f"done by {event.by.name}")
        case Event.DELETED:
            reason = f"deleted by {event.by.name}"
            step.apply(Event.DELETED, task, event.by, tell=reason, end=End.CANCELLED, reason=reason)
        case Event.ANSWER:
            observing.answer(step, task, event.by, Answer(generation, event.text))
        case Event.APPROVED | Event.CHANGES_ASKED:
            approve = event.event is Event.APPROVED
            observing.decide(step, task, event.by, Decision(generation, approve, event.text), event.merged)
        case Event.RERUN:
            spec = step.memory.later.get(task.id)
            step.apply(Event.RERUN, task, event.by, spec=spec, reason=f"rerun asked by {event.by.name}")
        case _:
            raise ValueError(f"{event.event} is not for people to ask")
    return Outcome(task=step.memory.tasks[task.id])


def _pointless(step: Step, event: Asked, task: Task) -> Outcome | None:
    """Return why a word would change nothing, None when it changes something."""
    if event.generation not in (None, task.status.generation):
        text = f"{task.id} is at attempt {task.status.generation}, not {event.generation}"
        return Outcome(STALE, text, task)
    match event.event:
        case Event.CANCEL | Event.DONE_BY_HAND if task.finished:
            return Outcome(INVALID_STATE, f"{task.id} is {task.state} already", task)
        case Event.ANSWER if task.state is not State.BLOCKED:
            return Outcome(INVALID_STATE, f"{task.id} asks nothing: it is {task.state}, not blocked", task)
        case Event.APPROVED | Event.CHANGES_ASKED if task.state is not State.IN_REVIEW:
            return Outcome(INVALID_STATE, f"no result of {task.id} waits: it is {task.state}, not in review", task)
        case Event.RERUN if task.open and task.state is not State.IN_REVIEW:
            return Outcome(INVALID_STATE, f"{task.id} is {task.state}, not finished: it needs no rerun", task)
        case Event.RERUN if task.spec.origin is not Origin.API and task.id not in step.memory.wanted:
            # The next start would find nobody who wants it, and end it.
            return Outcome(GONE, f"what asked for {task.id} is gone: write it again", task)
    return None


def _unknown(task_id: str) -> Outcome:
    return Outcome(NOT_FOUND, f"there is no task {task_id}")


# --- words of agents -------------------------------------------------------------------------------------------------


def _speak(step: Step, event: Spoken) -> Outcome:
    """Act on an agent's word as on its frame: the same rules, but for what only a session can know.

    What would be said in its session is the outcome. While the agent is away its word keeps its lease.
    """
    memory, word = step.memory, event.word
    task, agent = memory.tasks.get(word.task), memory.agents.get(event.agent)
    if task is None or task.status.deleted:
        return _unknown(word.task)
    if agent is None:
        return Outcome(NOT_OWNER, f"{event.agent} is no agent", task)
    said: list[Message] = []
    step.aside = (event.agent, said)
    words.hear(step, event.agent, word)
    step.aside = None
    if agent.live.session is None:
        memory.set_live(event.agent, done_session=0, tokens_session=0)
        if memory.owned_by(event.agent):
            memory.mono.set(("lease", event.agent), step.now.mono + memory.policy.timeouts.lost_after)
    task = memory.tasks[word.task]
    refused = next((one for one in said if isinstance(one, Refused)), None)
    if refused is not None:
        return Outcome(refused.code.rpartition(": ")[2], refused.detail, task)
    ack = next((one.status for one in said if isinstance(one, Ack)), None)
    dropped = next((one for one in said if isinstance(one, Cancelled)), None)
    if ack is None and dropped is not None:
        return Outcome(INVALID_STATE, dropped.reason, task)
    return Outcome(task=task, ack=ack)


# --- what is held ----------------------------------------------------------------------------------------------------


def _confirm(step: Step, event: Confirmed) -> Outcome:
    """Let go on what a person has looked at, also what disappears by that."""
    memory = step.memory
    chosen = [batch for batch in memory.waiting() if not event.names or guards.confirms(event.names, batch)]
    for batch in chosen:
        for name in sorted(observing.confirm(step, batch, event.by, memory.wanted)):
            if (task := memory.tasks.get(name)) is not None and task.open:
                observing.gone_for(step, task, event.by)
        if batch.kind is Kind.REMOVED:
            memory.wanted -= frozenset(batch.ids)
    return Outcome(confirmed=tuple(chosen))
