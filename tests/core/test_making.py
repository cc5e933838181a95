"""Tasks without a file: made, edited and spoken of by request; every request has an outcome."""

from dataclasses import replace

import pytest
from support.world import ALL, PERSON, World

from coordinator.core import events
from coordinator.core.agent import AgentSpec
from coordinator.core.events import (
    Accepted,
    Ack,
    Asked,
    Assign,
    Blocked,
    Complete,
    Confirmed,
    Edited,
    Failed,
    Made,
    Outcome,
    Progress,
    Record,
    Reply,
    Request,
    Spoken,
    Updated,
    agent_actor,
)
from coordinator.core.guards import Kind
from coordinator.core.machine import FINISHED, OPEN, Event, State
from coordinator.core.policy import Policy
from coordinator.core.task import Origin, Spec

T = "t-1"


def spec(name: str = T, blob: str = "1", **more: object) -> Spec:
    where = f"tasks/api/{name}.yaml"
    return replace(Spec(name, "Write it", origin=Origin.API, blob=blob * 40, where=where), **more)


def ask(world: World, what: object) -> Outcome:
    seen = world.handle(Request("7", what))  # type: ignore[arg-type]
    (reply,) = (effect for effect in seen if isinstance(effect, Reply))
    assert reply.ticket == "7"
    return reply.outcome


def made(world: World, **more: object) -> World:
    assert ask(world, Made(spec(**more), PERSON)).refused == ""
    return world


def world_with(*agents: str, features: frozenset[str] = ALL) -> World:
    world = World()
    for agent in agents:
        world.add_agents(agent)
        world.connect(agent, features)
    return world


def at(state: State) -> World:
    """Return a world in which agent ``a`` brought a task of the API into a state."""
    world = world_with("a")
    made(world, review=state is State.IN_REVIEW, hold=state is State.QUEUED)
    match state:
        case State.WORKING:
            world.say("a", Accepted(T, 1))
        case State.BLOCKED:
            world.say("a", Accepted(T, 1))
            world.say("a", Blocked(T, 1, "which?"))
        case State.IN_REVIEW | State.DONE:
            world.say("a", Complete(T, 1, {"summary": "ok"}))
        case State.FAILED:
            world.say("a", Failed(T, 1, events.FailureClass.BUDGET, "too dear"))
        case State.REJECTED:
            world.say("a", events.Rejected(T, 1, "cannot"))
        case State.CANCELLED:
            ask(world, Asked(Event.CANCEL, T, PERSON))
    assert world.state() is state
    return world


# --- making and editing ----------------------------------------------------------------------------------------------


def test_a_task_that_is_asked_for_is_created_and_handed_out_at_once() -> None:
    world = world_with("a")
    outcome = ask(world, Made(spec(), PERSON))
    assert (outcome.refused, outcome.task.id, outcome.task.status.created_by) == ("", T, "Pat")
    assert [record.what for record in world.records()] == ["created", "assigned"]
    assert isinstance(world.said_to("a")[-1], Assign)


def test_an_id_is_given_once_also_after_the_end_of_its_task() -> None:
    world = at(State.DONE)
    assert ask(world, Made(spec(title="Other work"), PERSON)).refused == "exists"
    world.core.forget(T)
    assert ask(world, Made(spec(title="Other work"), PERSON)).refused == "exists"


def test_a_pin_to_an_agent_that_nobody_knows_is_refused() -> None:
    world = world_with("a")
    assert ask(world, Made(spec(assignee="b"), PERSON)).refused == "unknown_agent"
    assert ask(world, Made(spec(assignee="a"), PERSON)).refused == ""
    assert ask(world, Edited(spec(blob="2", assignee="b"), PERSON, "1" * 40)).refused == "unknown_agent"


def test_it_may_depend_on_what_does_not_exist_yet_and_never_waits_for_itself_unseen() -> None:
    world = made(world_with("a"), depends_on=("t-2",))
    assert world.core.why(world.task(), world.now).code == "dependency"
    made(world, name="t-2", depends_on=(T,))
    assert world.core.why(world.task(), world.now).code == "cycle"
    assert ask(world, Edited(spec("t-2", "3"), PERSON, "1" * 40)).refused == ""
    assert world.state("t-2") is State.ASSIGNED


@pytest.mark.parametrize("state", sorted(OPEN))
def test_an_edit_of_an_open_task_is_in_force_and_its_owner_hears_of_it(state: State) -> None:
    world = at(state)
    task = world.task()
    outcome = ask(world, Edited(replace(task.spec, title="Write it well", blob="2" * 40), PERSON, task.spec.blob))
    assert (outcome.refused, world.task().spec.title, world.state()) == ("", "Write it well", state)
    assert [record.what for record in world.records()] == ["spec_edited"]
    told = [message.changed for message in world.said_to("a") if isinstance(message, Updated)]
    assert told == ([{"title": "Write it well"}] if task.owned else [])


def test_an_edit_by_somebody_who_saw_another_version_changes_nothing() -> None:
    world = at(State.WORKING)
    assert ask(world, Edited(spec(blob="3", title="x"), PERSON, "2" * 40)).refused == "changed"
    assert not world.records()


@pytest.mark.parametrize("state", sorted(FINISHED))
def test_a_finished_task_is_not_edited(state: State) -> None:
    world = at(state)
    assert ask(world, Edited(spec(blob="3", title="x"), PERSON, "1" * 40)).refused == "invalid_state"
    assert not world.records()


def test_what_stands_in_a_file_of_people_is_not_edited_here() -> None:
    world = World().reach(State.WORKING)
    outcome = ask(world, Edited(spec(blob="3"), PERSON, world.task().spec.blob))
    assert (outcome.refused, outcome.text) == ("has_file", "t-1 stands in tasks/t-1.yaml")


def test_a_file_with_its_id_takes_it_over_and_its_deletion_cancels_it() -> None:
    world = at(State.WORKING)
    world.want(Spec(T, "By a person"))
    assert [record.what for record in world.records()] == ["taken_over"]
    assert (world.task().spec.origin, world.state()) == (Origin.FILE, State.WORKING)
    del world.specs[T]
    world.observe()
    assert world.state() is State.CANCELLED


def test_tasks_without_files_never_count_as_gone_from_the_source() -> None:
    world = world_with("a")
    for number in range(20):
        made(world, name=f"t-{number}")
    world.core.restore_wanted(frozenset(f"t-{number}" for number in range(20)))  # as after a start
    world.observe()
    assert not [effect for effect in world.seen if isinstance(effect, Record)]
    assert world.core.memory.held == ()


# --- words of people -------------------------------------------------------------------------------------------------

#: event -> the states in which it changes something.
HEARD = {
    Event.CANCEL: OPEN,
    Event.DONE_BY_HAND: OPEN,
    Event.DELETED: frozenset(State),
    Event.ANSWER: {State.BLOCKED},
    Event.APPROVED: {State.IN_REVIEW},
    Event.CHANGES_ASKED: {State.IN_REVIEW},
    Event.RERUN: FINISHED | {State.IN_REVIEW},
}


@pytest.mark.parametrize("state", sorted(State))
@pytest.mark.parametrize("event", sorted(HEARD))
def test_a_word_is_heard_where_it_changes_something_and_refused_elsewhere(event: Event, state: State) -> None:
    world = at(state)
    outcome = ask(world, Asked(event, T, PERSON, "a word"))
    assert (outcome.refused == "") == (state in HEARD[event]), outcome
    assert bool(world.records()) == (state in HEARD[event])
    assert outcome.refused in ("", "invalid_state")
    assert outcome.task.id == T


def test_a_word_for_another_attempt_is_stale() -> None:
    world = at(State.BLOCKED)
    assert ask(world, Asked(Event.ANSWER, T, PERSON, "left", 2)).refused == "stale_generation"
    assert ask(world, Asked(Event.ANSWER, T, PERSON, "left", 1)).refused == ""


def test_a_deleted_task_is_not_there_any_more_and_never_comes_back() -> None:
    world = World().reach(State.DONE)
    assert ask(world, Asked(Event.DELETED, T, PERSON)).refused == ""
    for event in HEARD:
        assert ask(world, Asked(event, T, PERSON, "a word")).refused == "not_found"
    assert ask(world, Spoken("a", Progress(T, 1))).refused == "not_found"
    world.want(replace(world.specs[T], rerun=1))
    assert world.state() is State.DONE


def test_a_finished_task_whose_file_is_gone_is_not_run_again() -> None:
    world = World().reach(State.DONE)
    del world.specs[T]
    world.observe()
    assert ask(world, Asked(Event.RERUN, T, PERSON)).refused == "gone"


# --- words of agents -------------------------------------------------------------------------------------------------


def test_an_agent_does_its_whole_task_by_requests_as_by_frames() -> None:
    world = world_with("a")
    made(world)
    assert ask(world, Spoken("a", Accepted(T, 1))).ack == "accepted"
    assert ask(world, Spoken("a", Progress(T, 1, 50.0, "half"))) == Outcome(task=world.task())
    assert ask(world, Spoken("a", Blocked(T, 1, "which?"))).ack == "blocked"
    ask(world, Asked(Event.ANSWER, T, PERSON, "left"))
    assert ask(world, Spoken("a", Complete(T, 1, {"summary": "ok"}))).ack == "complete"
    assert world.state() is State.DONE
    assert ask(world, Spoken("a", Complete(T, 1, {"summary": "ok"}))).ack == "complete", "the same twice, the same ack"
    assert not world.records()


def test_the_answer_to_a_request_is_not_said_in_the_session_but_what_follows_is() -> None:
    world = world_with("a")
    made(world)
    made(world, name="t-2")
    ask(world, Spoken("a", Complete(T, 1, {})))
    assert not [message for message in world.said_to("a") if isinstance(message, Ack)]
    assert [message.task.id for message in world.said_to("a") if isinstance(message, Assign)] == ["t-2"]


@pytest.mark.parametrize(
    ("agent", "word", "refused"),
    [
        ("b", Complete(T, 1, {}), "not_owner"),
        ("b", Progress(T, 1), "not_owner"),
        ("a", Progress(T, 2), "stale_generation"),
        ("a", Failed(T, 3, reason="x"), "stale_generation"),
        ("a", Accepted("t-9", 1), "not_found"),
        ("nobody", Accepted(T, 1), "not_owner"),
    ],
)
def test_a_word_that_does_not_count_is_refused_by_its_code(agent: str, word: events.Word, refused: str) -> None:
    world = world_with("a", "b")
    made(world, assignee="a")
    assert ask(world, Spoken(agent, word)).refused == refused
    assert not world.records()
    assert world.said_to("a") == world.said_to("b") == []


def test_an_agent_that_is_away_keeps_its_lease_by_its_words() -> None:
    world = world_with("a")
    made(world)
    world.disconnect("a")
    assert ask(world, Spoken("a", Accepted(T, 1))).ack == "accepted"
    for _ in range(5):
        world.advance(100)
        assert ask(world, Spoken("a", Progress(T, 1))).refused == ""
    assert world.state() is State.WORKING
    world.advance(121)
    assert world.state() is State.QUEUED


def test_one_that_took_its_task_up_while_away_gets_it_again_when_it_comes_back() -> None:
    world = world_with("a")
    made(world)
    world.disconnect("a")
    world.advance(121)
    assert world.state() is State.QUEUED
    ask(world, Spoken("a", Accepted(T, 1)))
    assert world.state() is State.WORKING
    world.connect("a", ALL, holding=[])
    assert [message.task.status.generation for message in world.said_to("a")] == [1], "it did not name it"


# --- proposals and confirmations -------------------------------------------------------------------------------------


def propose(world: World, name: str = T, blob: str = "1") -> Outcome:
    return ask(world, Made(spec(name, blob), agent_actor("a"), proposal=True))


def test_a_proposal_waits_until_a_person_has_looked_at_just_that() -> None:
    world = world_with("a")
    assert propose(world).task.status.held
    assert world.core.why(world.task(), world.now).code == "held"
    (batch,) = world.core.memory.waiting()
    assert (batch.kind, batch.commit, batch.ids) == (Kind.PROPOSED, "1" * 40, (T,))

    propose(world, "t-2", "2")
    assert ask(world, Confirmed(PERSON, ("1" * 40,))).confirmed == (batch,)
    assert (world.state(), world.task("t-2").status.held) == (State.ASSIGNED, True)
    world.observe(confirms=("2" * 40,))
    assert not world.task("t-2").status.held
    assert world.core.memory.waiting() == ()


@pytest.mark.parametrize(("policy", "held"), [("hold", True), ("queue", False)])
def test_the_policy_says_whether_a_proposal_waits(policy: str, held: bool) -> None:
    world = World(Policy(proposals=policy))
    world.observe()
    assert propose(world).task.status.held is held
    assert not ask(world, Made(spec("t-2"), PERSON)).task.status.held, "what is no proposal does not wait"


def test_the_policy_may_refuse_proposals() -> None:
    world = World(Policy(proposals="refuse"))
    world.observe()
    assert propose(world).refused == "proposals_refused"


def test_a_proposal_is_released_by_an_edit_that_says_so() -> None:
    world = world_with("a")
    task = propose(world).task
    changed = replace(task.spec, title="Better", blob="5" * 40)
    assert ask(world, Edited(changed, PERSON, task.spec.blob)).task.status.held
    assert not ask(world, Edited(changed, PERSON, changed.blob, released=True)).task.status.held
    assert [record.what for record in world.records()] == ["unheld", "assigned"]


def test_a_confirmation_lets_go_on_what_was_held_and_what_disappears() -> None:
    world = World()
    for number in range(30):
        world.specs[f"t-{number}"] = Spec(f"t-{number}", "x", blob=f"{number:040x}", origin=Origin.BACKLOG)
    world.observe("aaaaaaaaaa")
    assert len(ask(world, Confirmed(PERSON)).confirmed[0].ids) == 30
    assert not any(task.status.held for task in world.core.memory.open_tasks())
    for number in range(20):
        del world.specs[f"t-{number}"]
    world.observe("bbbbbbbbbb")
    assert len(list(world.core.memory.open_tasks())) == 30
    assert ask(world, Confirmed(PERSON, ("cccccccccc",))).confirmed == ()
    (batch,) = ask(world, Confirmed(PERSON, ("bbbbbbbb",))).confirmed
    assert batch.kind is Kind.REMOVED
    assert len(list(world.core.memory.open_tasks())) == 10
    assert world.core.memory.held == ()
    assert not [effect for effect in world.observe("bbbbbbbbbb") if isinstance(effect, Record)]


def test_an_agent_that_is_no_worker_can_be_named_but_gets_nothing() -> None:
    world = World()
    world.add_agents(AgentSpec("a", disabled=True))
    assert ask(world, Made(spec(assignee="a"), PERSON)).refused == ""
    assert world.core.why(world.task(), world.now).code == "pinned"
