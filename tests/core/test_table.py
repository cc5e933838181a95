"""Every (event, state) cell of the task table, walked through the core's front door.

The expectations are written down here a second time, by hand, in the order queued, assigned, working, blocked,
in_review, finished; ``=`` is no change of state. A queued task is one that the hub took from agent ``a`` ("late").
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.world import ALL, PERSON, QUIET, World

from coordinator.core.agent import AgentSpec
from coordinator.core.events import (
    Accepted,
    Asked,
    Blocked,
    Complete,
    Failed,
    FailureClass,
    Progress,
    Recovering,
    Rejected,
    Released,
    Started,
)
from coordinator.core.machine import FINISHED, TASK, Event, State
from coordinator.core.task import Answer, Decision, Origin

T = "t-1"


def _edit(world: World, **changes: object) -> None:
    world.want(replace(world.specs[T], **changes))


def _gone(world: World) -> None:
    del world.specs[T]
    world.observe()


def _put_back(world: World) -> None:
    line = world.specs[T]
    _gone(world)
    world.specs[T] = line
    world.observe()


def _spec_word(**changes: object) -> Callable[[World], None]:
    return lambda world: _edit(world, **changes)


def _ask(event: Event, text: str = "") -> Callable[[World], None]:
    return lambda world: world.handle(Asked(event, T, PERSON, text))


def _say(word: Callable[[int], object]) -> Callable[[World], None]:
    return lambda world: world.say("a", word(world.generation()))


def _lease(world: World) -> None:
    world.disconnect("a")
    world.advance(121)


#: event -> how it comes about.
PROVOKE: dict[Event, Callable[[World], None]] = {
    Event.ACCEPTED: _say(lambda g: Accepted(T, g)),
    Event.BUSY: _say(lambda g: Rejected(T, g, "busy")),
    Event.REJECTED: _say(lambda g: Rejected(T, g, "no such tool")),
    Event.PROGRESS: _say(lambda g: Progress(T, g, 50.0)),
    Event.COMPLETE: _say(lambda g: Complete(T, g, {"summary": "done"})),
    Event.FAILED: _say(lambda g: Failed(T, g, FailureClass.ERROR, "broken")),
    Event.PARKING: _say(lambda g: Failed(T, g, FailureClass.ENVIRONMENT, "not logged in")),
    Event.BUDGET: _say(lambda g: Failed(T, g, FailureClass.BUDGET, "too dear")),
    Event.BLOCKED: _say(lambda g: Blocked(T, g, "what now?")),
    Event.ANSWER: lambda w: _edit(w, answer=Answer(w.generation(), "the left one")),
    Event.BLOCKED_TIMEOUT: lambda w: w.advance(86_401),
    Event.LEASE_ENDED: _lease,
    Event.NOT_ACCEPTED: lambda w: w.advance(61),
    Event.ATTEMPT_TIMEOUT: lambda w: w.advance(7_201),
    Event.STUCK: lambda w: w.advance(301),
    Event.STUCK_TIMEOUT: lambda w: w.advance(901),
    Event.DEADLINE: lambda w: w.advance(11),
    Event.CANCEL: _spec_word(cancel=True),
    Event.ORPHANED: _gone,
    Event.PUT_BACK: _put_back,
    Event.DONE_BY_HAND: _spec_word(done=True),
    Event.HOLD: _spec_word(hold=True),
    Event.SPEC_EDITED: _spec_word(title="Another title"),
    Event.RERUN: _spec_word(rerun=1),
    Event.APPROVED: lambda w: _edit(w, decision=Decision(w.generation(), True)),
    Event.CHANGES_ASKED: lambda w: _edit(w, decision=Decision(w.generation(), False, "shorter")),
    Event.AGENT_DISABLED: lambda w: w.add_agents(AgentSpec("a", disabled=True)),
    Event.RECOVERING: _say(lambda g: Recovering(T, g, "working")),
    Event.HUB_RESTART: lambda w: w.handle(Started()),
    Event.NEW_HUB: lambda w: w.handle(Started(anew="a new hub took over")),
    Event.HANDED_BACK: _say(lambda g: Released(T, g, unfinished=True)),
    Event.DELETED: _ask(Event.DELETED),
}

#: event -> state reached from queued, assigned, working, blocked, in_review, finished.
EXPECTED: dict[Event, str] = {
    Event.ACCEPTED: "working working = = = =",
    Event.BUSY: "= queued = = = =",
    Event.REJECTED: "rejected rejected rejected rejected = =",
    Event.PROGRESS: "working working = = = =",
    Event.COMPLETE: "done done done done = =",
    Event.FAILED: "queued queued queued queued = =",
    Event.PARKING: "= queued queued queued = =",
    Event.BUDGET: "failed failed failed failed = =",
    Event.BLOCKED: "blocked blocked blocked = = =",
    Event.ANSWER: "= = = working = =",
    Event.BLOCKED_TIMEOUT: "? ? ? queued = =",
    Event.LEASE_ENDED: "= queued queued queued = =",
    Event.NOT_ACCEPTED: "? queued = = = =",
    Event.ATTEMPT_TIMEOUT: "? ? queued = = =",
    Event.STUCK: "? ? = = = =",
    Event.STUCK_TIMEOUT: "? ? queued = = =",
    Event.DEADLINE: "failed failed failed failed = =",
    Event.CANCEL: "cancelled cancelled cancelled cancelled cancelled =",
    Event.ORPHANED: "cancelled cancelled = = = =",
    Event.PUT_BACK: "? ? = = = =",
    Event.DONE_BY_HAND: "done done done done done =",
    Event.HOLD: "= = = = = =",
    Event.SPEC_EDITED: "= = = = = =",
    Event.RERUN: "= = = = queued queued",
    Event.APPROVED: "= = = = done =",
    Event.CHANGES_ASKED: "= = = = queued =",
    Event.AGENT_DISABLED: "= queued queued queued = =",
    Event.RECOVERING: "working working = = = =",
    Event.HUB_RESTART: "= = = = = =",
    Event.NEW_HUB: "= queued queued queued = =",
    Event.HANDED_BACK: "= queued queued queued = =",
    Event.DELETED: "cancelled cancelled cancelled cancelled cancelled =",
}

_COLUMNS = (State.QUEUED, State.ASSIGNED, State.WORKING, State.BLOCKED, State.IN_REVIEW)
CELLS = [
    (event, state, expected)
    for event, row in EXPECTED.items()
    for states, expected in zip((*((c,) for c in _COLUMNS), sorted(FINISHED)), row.split(), strict=True)
    for state in states
    if expected != "?"  # another event comes about first; it has cells of its own
]


def _world(event: Event, state: State) -> World:
    world = World()
    spec: dict[str, object] = {}
    if event is Event.DEADLINE:
        deadline = world.now.wall + (124_000 if state is State.QUEUED else 10_000)
        spec["deadline"] = deadline
    if event in (Event.ORPHANED, Event.PUT_BACK):
        spec["origin"] = Origin.BACKLOG
    features = ALL if event in (Event.STUCK, Event.STUCK_TIMEOUT) else QUIET
    return world.reach(state, features=features, **spec)


@pytest.mark.parametrize(("event", "state", "expected"), CELLS)
def test_every_cell_leads_where_the_design_says(event: Event, state: State, expected: str) -> None:
    world = _world(event, state)
    PROVOKE[event](world)

    edits = {"spec_edited"} if event is not Event.SPEC_EDITED else set()
    changes = [record for record in world.records() if record.before is not None and record.what not in edits]
    reached = changes[0].after.state if changes else state
    assert reached == (state if expected == "=" else State(expected))


@pytest.mark.parametrize("event", sorted(set(Event) - {Event.ASSIGN}))
def test_every_row_of_the_table_is_walked(event: Event) -> None:
    assert event in EXPECTED
    assert event in PROVOKE


@pytest.mark.parametrize(("event", "state"), [(e, s) for e in Event for s in State])
def test_no_cell_lets_a_finished_task_change_unless_asked(event: Event, state: State) -> None:
    cell = TASK[event].get(state)
    if state in FINISHED and cell is not None and event is not Event.RERUN:
        assert cell.to == {state}


def test_only_assign_and_rescue_raise_the_generation() -> None:
    for event, state, _ in CELLS:
        world = _world(event, state)
        before = world.generation()
        PROVOKE[event](world)
        for record in world.records():
            raised = record.after.status.generation - (record.before.status.generation if record.before else 0)
            allowed = {"assigned": 1, "rescued": 1_000}.get(record.what, 0)
            assert raised == allowed, (event, state, record.what, before)
