"""Agents that the hub makes, tokens, invites, revocation: what the core decides of them."""

from dataclasses import replace

from support.world import PERSON, World

from coordinator.core.agent import AgentSpec, Role, Token
from coordinator.core.enlisting import INVITES_KEPT, REVOKED_KEPT
from coordinator.core.events import Accepted, AgentAsked, Close, Invited, Record, TokenIssued, TokensRevoked
from coordinator.core.machine import State
from coordinator.core.task import Origin, Spec

HOUR = 3600 * 1000
MADE = AgentSpec("x", "Xe", ("python",), where="agents/api/x.yaml")
HELLO = Spec("t-hello", "Say hello", origin=Origin.API, blob="d" * 40)


def token(number: int, not_after: int | None = None) -> Token:
    return Token(f"{number:064x}", "ac_abcde", not_after)


def issue(world: World, number: int, **more: object) -> bool:
    """Ask for a token of x; tell whether it was issued."""
    world.handle(TokenIssued(MADE, token(number), PERSON, **more))
    return "x" in world.core.memory.agents and token(number) in world.core.memory.agents["x"].record.tokens


def opens(world: World) -> list[int]:
    return [int(one.sha256, 16) for one in world.core.memory.agents["x"].open_tokens(world.now.wall)]


def test_a_token_for_an_agent_that_nobody_wrote_makes_it_in_one_record():
    world = World()
    assert issue(world, 1)
    (record,) = [effect for effect in world.seen if isinstance(effect, Record)]
    assert (record.enlisted, record.record.tokens, record.by) == (MADE, (token(1),), PERSON)
    assert world.core.memory.agents["x"].enabled


def test_an_agent_that_a_file_names_is_not_made_again():
    world = World()
    world.add_agents(AgentSpec("x", role=Role.COORDINATOR))
    assert issue(world, 1)
    assert (world.core.memory.enlisted, world.core.memory.agents["x"].spec.role) == ({}, Role.COORDINATOR)


def test_an_observation_leaves_an_agent_that_the_hub_made_alone():
    world = World()
    issue(world, 1)
    assert world.observe() == []
    assert world.core.memory.agents["x"].spec == MADE


def test_a_persons_file_takes_over_and_takes_the_agent_along_when_it_goes():
    world = World()
    issue(world, 1)
    world.add_agents(AgentSpec("x", "Xavier"))
    (record,) = [effect for effect in world.seen if isinstance(effect, Record)]
    assert (record.discharged, record.note) == (True, "agents/x.yaml took it over")
    assert (world.core.memory.enlisted, world.core.memory.agents["x"].spec.name) == ({}, "Xavier")
    assert opens(world) == [1], "its token goes on"
    del world.agents["x"]
    world.observe()
    assert not world.core.memory.agents["x"].known


def test_what_a_crash_left_of_an_agent_that_was_taken_over_is_taken_away_at_the_next_observation():
    world = World()
    world.add_agents(AgentSpec("x"))
    world.core.memory.enlisted["x"] = MADE
    assert [effect.discharged for effect in world.observe()] == [True]


def test_a_wrong_file_of_the_same_name_takes_nothing_over():
    world = World()
    issue(world, 1)
    assert world.observe(undecided_agents=frozenset({"x"})) == []
    assert world.core.memory.agents["x"].spec == MADE


def test_the_token_before_goes_on_for_the_grace_and_no_third_one_opens():
    world = World()
    for number in (1, 2, 3):
        assert issue(world, number, grace=HOUR)
    assert opens(world) == [2, 3]
    world.advance(3600)
    assert opens(world) == [3]
    issue(world, 4)
    assert opens(world) == [4], "without a grace it ends at once"


def test_a_rotation_never_gives_an_older_token_more_time():
    world = World()
    issue(world, 1)
    issue(world, 2, grace=HOUR)
    ends = world.core.memory.agents["x"].record.tokens[0].not_after
    world.advance(60)
    world.handle(TokensRevoked("nobody", PERSON))
    issue(world, 3, grace=10 * HOUR)
    assert ends == world.now.wall - 60_000 + HOUR
    assert [one.not_after for one in world.core.memory.agents["x"].record.tokens] == [world.now.wall + 10 * HOUR, None]


def test_revoking_ends_the_tokens_of_the_file_and_of_the_hub_and_every_invite():
    world = World()
    world.add_agents(AgentSpec("x", tokens=(token(1),)))
    issue(world, 2)
    world.handle(Invited("x", token(9), PERSON))
    world.handle(TokensRevoked("x", PERSON))
    assert opens(world) == []
    assert not issue(world, 3, invite=token(9).sha256)
    world.add_agents(AgentSpec("x", "Other words", tokens=(token(1), token(2), token(4))))
    assert opens(world) == [4], "a revocation wins over the file, a new token does not know it"


def test_only_so_many_revoked_tokens_are_remembered_and_those_of_the_file_last():
    world = World()
    world.add_agents(AgentSpec("x", tokens=(token(1),)))
    record = world.core.memory.agents["x"].record

    world.core.memory.put_record(replace(record, revoked=tuple(f"{n:064x}" for n in range(1, REVOKED_KEPT + 1))))
    issue(world, 20_000)
    world.handle(TokensRevoked("x", PERSON))
    assert len(world.core.memory.agents["x"].record.revoked) == REVOKED_KEPT
    assert opens(world) == []


def test_of_two_who_show_one_invite_one_gets_a_token():
    world = World()
    world.handle(Invited("x", token(9), PERSON))
    assert not world.core.memory.agents["x"].known, "an invite makes no agent"
    assert issue(world, 1, invite=token(9).sha256)
    assert not issue(world, 2, invite=token(9).sha256)
    assert opens(world) == [1]


def test_an_invite_past_its_end_opens_nothing():
    world = World()
    world.handle(Invited("x", token(9, world.now.wall + HOUR), PERSON))
    world.advance(3600)
    assert not issue(world, 1, invite=token(9).sha256)


def test_of_many_invites_the_newest_are_open():
    world = World()
    for number in range(INVITES_KEPT + 1):
        world.handle(Invited("x", token(100 + number), PERSON))
    assert not issue(world, 1, invite=token(100).sha256)
    assert issue(world, 1, invite=token(101).sha256)


def test_a_first_token_is_refused_to_an_agent_that_has_one_or_is_disabled():
    world = World()
    assert issue(world, 1, first=True)
    assert not issue(world, 2, first=True)
    world.handle(TokensRevoked("x", PERSON))
    assert issue(world, 3, first=True)
    world.handle(TokensRevoked("x", PERSON))
    world.add_agents(AgentSpec("x", disabled=True))
    assert not issue(world, 4, first=True)


def test_the_task_that_comes_with_a_token_is_for_this_agent_alone_and_no_observation_ends_it():
    world = World()
    world.add_agents("a")
    world.connect("a")
    issue(world, 1, task=HELLO)
    assert world.state("t-hello") is State.QUEUED
    world.connect("x", capabilities=("python",))
    assert (world.state("t-hello"), world.task("t-hello").status.assigned_to) == (State.ASSIGNED, "x")
    assert world.observe() == []


def test_a_reader_gets_no_task_with_its_token():
    world = World()
    world.add_agents(AgentSpec("x", role=Role.READER))
    assert issue(world, 1, task=HELLO)
    assert world.core.memory.tasks == {}


def test_to_discharge_an_agent_ends_its_session_its_tokens_and_its_work():
    world = World()
    issue(world, 1, task=HELLO)
    world.connect("x", capabilities=("python",))
    world.say("x", Accepted("t-hello", 1))
    world.handle(TokensRevoked("x", PERSON, discharge=True))
    assert (world.state("t-hello"), opens(world), world.core.memory.enlisted) == (State.QUEUED, [], {})
    assert [effect.code for effect in world.seen if isinstance(effect, Close)] == ["agent_disabled"]
    assert not world.core.memory.agents["x"].known


def test_an_agent_of_a_persons_file_cannot_be_discharged():
    world = World()
    world.add_agents(AgentSpec("x", tokens=(token(1),)))
    assert world.handle(TokensRevoked("x", PERSON, discharge=True)) == []
    assert opens(world) == [1]


def test_an_agent_that_the_hub_made_is_disabled_with_its_work_going_back_uncounted_and_enabled_again():
    world = World()
    issue(world, 1, task=HELLO)
    world.connect("x", capabilities=("python",))
    world.say("x", Accepted("t-hello", 1))
    world.seen.clear()
    world.handle(AgentAsked("disable", "x", PERSON))
    assert [effect.code for effect in world.seen if isinstance(effect, Close)] == ["agent_disabled"]
    (record,) = [effect for effect in world.seen if isinstance(effect, Record) and effect.enlisted is not None]
    assert (record.enlisted.disabled, record.note) == (True, "disabled")
    status = world.core.memory.tasks["t-hello"].status
    assert (status.status, status.retry_count) == (State.QUEUED, 0)
    assert opens(world) == [1]
    assert world.handle(AgentAsked("disable", "x", PERSON)) == []
    world.handle(AgentAsked("enable", "x", PERSON))
    assert world.core.memory.agents["x"].enabled


def test_an_agent_of_a_persons_file_is_not_disabled_by_a_word():
    world = World()
    world.add_agents(AgentSpec("x"))
    assert world.handle(AgentAsked("disable", "x", PERSON)) == []
