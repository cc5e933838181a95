"""The timers, and what a hub that stood still does with them."""

from support.world import World

from coordinator.core.events import Accepted, Resumed
from coordinator.core.machine import AgentState, State
from coordinator.core.timers import Timers


def test_a_timer_that_is_set_again_fires_once_at_its_last_instant() -> None:
    timers = Timers()
    timers.set(("lease", "a"), 5.0)
    timers.set(("lease", "a"), 9.0)
    assert list(timers.pop_due(8.0)) == []
    assert list(timers.pop_due(9.0)) == [("lease", "a")]
    assert timers.next_due() is None


def test_a_shift_puts_every_instant_off_and_forgets_none() -> None:
    timers = Timers()
    for number, at in enumerate((3.0, 1.0, 2.0)):
        timers.set(("lease", str(number)), at)
    timers.clear(("lease", "2"))
    timers.shift(10.0)
    assert timers.next_due() == 11.0
    assert list(timers.pop_due(13.0)) == [("lease", "1"), ("lease", "0")]


def test_timers_stand_still_while_the_hub_does() -> None:
    """An assignment that could not go out while the disk was full has not been ignored by its agent."""
    world = World().reach(State.ASSIGNED)
    world.now = type(world.now)(world.now.mono + 300, world.now.wall + 300_000)
    world.handle(Resumed(300.0))

    world.advance(59)
    assert world.state() is State.ASSIGNED
    assert not world.core.memory.agents["a"].live.unresponsive
    world.say("a", Accepted("t-1", 1))
    assert world.state() is State.WORKING


def test_a_hub_that_was_woken_gives_every_absent_owner_the_whole_grace_again() -> None:
    world = World().reach(State.WORKING)
    world.disconnect("a")
    world.advance(119)
    world.now = type(world.now)(world.now.mono + 3600, world.now.wall + 3_600_000)
    world.handle(Resumed(3600.0))

    world.advance(119)
    assert world.state() is State.WORKING
    world.advance(2)
    assert world.state() is State.QUEUED
    assert world.core.memory.agents["a"].live.state is AgentState.OFFLINE
