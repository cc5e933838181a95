"""Who is idle, by what it can do: the index says what looking at every agent would say."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.agent import AgentRecord, AgentSpec, Session
from coordinator.core.machine import AgentState
from coordinator.core.state import Memory

NAMES = "abcd"
CAPABILITIES = st.sets(st.sampled_from(["python", "go", "rust"])).map(lambda can: tuple(sorted(can)))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("file"), st.sampled_from(NAMES), CAPABILITIES, st.booleans()),
        st.tuples(st.just("connect"), st.sampled_from(NAMES), CAPABILITIES, st.booleans()),
        st.tuples(st.just("record"), st.sampled_from(NAMES), CAPABILITIES, st.booleans()),
        st.tuples(st.just("leave"), st.sampled_from(NAMES), CAPABILITIES, st.booleans()),
    ),
    max_size=20,
)


@given(STEPS)
def test_whatever_happens_to_agents_the_idle_and_the_able_are_found_by_what_they_can_do_now(steps) -> None:
    memory = Memory()
    for name in NAMES:
        memory.put_spec(AgentSpec(name))
    for step, name, can, flag in steps:
        match step:
            case "file":
                memory.put_spec(AgentSpec(name, capabilities=can, disabled=flag))
            case "connect":
                memory.set_live(name, session=Session("s", can), state=AgentState.IDLE, settled=flag)
            case "record":
                memory.put_record(AgentRecord(name, draining=flag))
            case "leave":
                memory.forget_session(name)
        for needs in (frozenset(), frozenset({"python"}), frozenset({"python", "go"})):
            idle = {agent.id for agent in memory.idle_with(needs)}
            assert idle == {name for name in memory.idle if needs <= memory.agents[name].capabilities}
            able = [agent for agent in memory.agents.values() if agent.enabled and agent.may_have(needs)]
            assert list(memory.able(needs)) == able


def test_thousands_of_idle_agents_that_are_alike_are_judged_once() -> None:
    class Needs(frozenset):
        asked = 0

        def __le__(self, other) -> bool:
            Needs.asked += 1
            return super().__le__(other)

    memory = Memory()
    for number in range(2_000):
        memory.put_spec(AgentSpec(f"a-{number}", capabilities=("go",)))
        memory.set_live(f"a-{number}", session=Session("s"), state=AgentState.IDLE, settled=True)
    assert len(memory.idle) == 2_000
    assert list(memory.idle_with(Needs({"python"}))) == []
    assert Needs.asked == 1
