"""Why a task waits, in words that say what to do next."""

from support.world import World

from coordinator.core.agent import AgentSpec
from coordinator.core.events import Failed, FailureClass
from coordinator.core.task import Spec

T = "t-1"


def why(world: World, task: str = T):
    return world.core.why(world.task(task), world.now)


def test_a_date_is_named() -> None:
    world = World()
    world.want(Spec(T, "x", not_before=1_800_086_400_000))
    assert why(world).text == "waits until 2027-01-16 08:00 UTC (not_before)"


def test_agents_that_do_not_say_what_they_can_are_not_called_fitting() -> None:
    world = World()
    world.add_agents("a", AgentSpec("b", capabilities=("web",)))
    world.want(Spec(T, "x", needed_capabilities=("cobol",)))
    assert why(world).code == "agents_offline"
    assert why(world).text == "no agent here has cobol; offline, and not saying in their files what they can: a"


def test_a_parked_agent_is_named_with_its_reason_whether_it_is_there_or_not() -> None:
    world = World()
    world.add_agents("a")
    world.connect("a")
    world.want(Spec(T, "x"))
    world.say("a", Failed(T, 1, FailureClass.ENVIRONMENT, "not logged in"))
    said = why(world)
    assert said.code == "agents_parked"
    assert said.text == ("fitting agents are parked (a: not logged in); mend that and start the sidecar again")
    world.disconnect("a")
    assert why(world) == said
