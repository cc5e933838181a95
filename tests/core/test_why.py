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


def test_what_is_said_of_many_tasks_at_once_is_what_is_said_of_each() -> None:
    world = World()
    world.add_agents("a", AgentSpec("b", capabilities=("web",)))
    world.connect("a", capabilities=("python",))
    world.want(
        Spec("t-1", "in hand"),
        Spec("t-2", "like the next"),
        Spec("t-3", "like the one before"),
        Spec("t-4", "held", hold=True),
        Spec("t-5", "waits for the first", depends_on=("t-1",)),
        Spec("t-6", "for nobody", needed_capabilities=("cobol", "web")),
        Spec("t-7", "pinned", assignee="b"),
    )
    tasks = list(world.core.memory.tasks.values())
    each = {task.id: world.core.why(task, world.now) for task in tasks}
    assert world.core.whys(tasks, world.now) == {name: said for name, said in each.items() if said is not None}
    assert len({said.code for said in each.values() if said is not None}) > 3
