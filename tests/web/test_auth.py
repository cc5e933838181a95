"""Tokens to principals: found by hash, whatever changes, and never by anything else."""

import contextlib
from dataclasses import replace

import pytest

from coordinator.core.agent import Agent, AgentRecord, AgentSpec, Role, Token
from coordinator.core.state import Memory
from coordinator.web import auth
from coordinator.web.auth import ADMIN, Doorkeeper, Guest, Principal, Refused, digest

NOW = 1_800_000_000_000


def token(text: str, not_after: int | None = None) -> Token:
    return Token(digest(text), text[:8], not_after)


def door(memory: Memory) -> Doorkeeper:
    return Doorkeeper(memory.agents, "the admin", lambda: memory.token_changes)


def who(keeper: Doorkeeper, text: str) -> Principal | Guest | None:
    return keeper.bearer(f"Bearer {text}", NOW)


def test_each_token_opens_for_its_agent_from_the_moment_it_is_there_to_the_moment_it_is_not() -> None:
    memory = Memory()
    keeper = door(memory)
    assert who(keeper, "ac_a") is None
    memory.put_spec(AgentSpec("a", tokens=(token("ac_a"),), where="agents/a.yaml"))
    assert who(keeper, "ac_a") == Principal(Role.AGENT, "a")
    memory.put_record(AgentRecord("a", tokens=(token("ac_b"),)))
    assert who(keeper, "ac_b") == Principal(Role.AGENT, "a")
    memory.put_spec(AgentSpec("a", role=Role.READER, tokens=(token("ac_c"),), where="agents/a.yaml"))
    assert [who(keeper, text) for text in ("ac_a", "ac_c")] == [None, Principal(Role.READER, "a")]
    memory.put_record(AgentRecord("a", tokens=(token("ac_b"),), revoked=(digest("ac_b"), digest("ac_c"))))
    assert [who(keeper, text) for text in ("ac_b", "ac_c")] == [None, None]


def test_what_does_not_touch_a_token_does_not_let_all_of_them_be_looked_through_again() -> None:
    memory = Memory()
    memory.put_spec(AgentSpec("a", tokens=(token("ac_a"),), where="agents/a.yaml"))
    before = memory.token_changes
    memory.put_spec(AgentSpec("a", "Another name", tokens=(token("ac_a"),), where="agents/a.yaml"))
    memory.put_record(AgentRecord("a", parked_until=1, parked_reason="tired"))
    memory.set_live("a", note="working")
    assert memory.token_changes == before


def test_a_token_past_its_end_opens_nothing_and_neither_does_an_invite() -> None:
    memory = Memory()
    memory.put_record(AgentRecord("a", invites=(token("ai_old", NOW), token("ai_new", NOW + 1))))
    memory.put_spec(AgentSpec("a", tokens=(token("ac_old", NOW), token("ac_new", NOW + 1)), where="agents/a.yaml"))
    keeper = door(memory)
    assert [who(keeper, text) for text in ("ac_old", "ac_new")] == [None, Principal(Role.AGENT, "a")]
    assert [who(keeper, text) for text in ("ai_old", "ai_new")] == [None, Guest("a", digest("ai_new"))]


def test_a_hash_that_stands_with_two_agents_opens_for_the_one_that_still_has_it() -> None:
    memory = Memory()
    for name in ("a", "b"):
        memory.put_spec(AgentSpec(name, tokens=(token("ac_x"),), where=f"agents/{name}.yaml"))
    memory.put_record(AgentRecord("a", revoked=(digest("ac_x"),)))
    assert who(door(memory), "ac_x") == Principal(Role.AGENT, "b")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic ac_a", "ac_a", f"Bearer {digest('ac_a')}"])
def test_nothing_but_a_bearer_token_counts_not_even_its_stored_form(header: str | None) -> None:
    memory = Memory()
    memory.put_spec(AgentSpec("a", tokens=(token("ac_a"),), where="agents/a.yaml"))
    assert door(memory).bearer(header, NOW) is None


def test_the_admin_is_the_admin_only_by_its_token_and_no_agent_in_the_door() -> None:
    memory = Memory()
    memory.put_spec(AgentSpec("admin-like", tokens=(token("ac_a"),), where="agents/a.yaml"))
    keeper = door(memory)
    assert who(keeper, "the admin") == ADMIN
    with pytest.raises(Refused, match="invalid_token"):
        keeper.identify("admin-like", "the admin", NOW)


def test_an_unknown_id_a_wrong_token_and_a_right_one_take_as_many_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    memory.put_spec(AgentSpec("a", tokens=(token("ac_a"), token("ac_b")), where="agents/a.yaml"))
    keeper, counts = door(memory), []
    compare = auth.hmac.compare_digest
    monkeypatch.setattr(auth.hmac, "compare_digest", lambda *two: counts.append(1) or compare(*two))
    numbers = []
    for name, text in (("a", "ac_a"), ("a", "ac_wrong"), ("nobody", "ac_wrong"), ("nobody", "ac_a")):
        counts.clear()
        with contextlib.suppress(Refused):
            keeper.identify(name, text, NOW)
        numbers.append(len(counts))
    assert len(set(numbers)) == 1, numbers


def test_an_agent_whose_file_is_gone_is_nobody_though_its_record_stays() -> None:
    memory = Memory()
    memory.put_record(AgentRecord("a", tokens=(token("ac_a"),)))
    keeper = door(memory)
    assert who(keeper, "ac_a") is None
    with pytest.raises(Refused, match="agent_disabled"):
        keeper.identify("a", "ac_a", NOW)


def test_without_a_count_of_changes_every_look_sees_what_is_there_now() -> None:
    agents = {"a": Agent(AgentSpec("a", where="agents/a.yaml"), AgentRecord("a"))}
    keeper = Doorkeeper(agents, "the admin")
    assert who(keeper, "ac_a") is None
    agents["a"] = replace(agents["a"], spec=replace(agents["a"].spec, tokens=(token("ac_a"),)))
    assert who(keeper, "ac_a") == Principal(Role.AGENT, "a")
