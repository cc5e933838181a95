"""How much is too much at once, and what a confirmation confirms."""

from dataclasses import replace

import pytest
from support.world import World

from coordinator.core.guards import Batch, Kind, confirms, too_many_new, too_many_removed, without
from coordinator.core.machine import State
from coordinator.core.task import Origin, Spec

BATCH = Batch("c0ffee1234567890", Kind.REMOVED, ("t-1", "t-2"))


def test_up_to_twenty_five_new_items_run_at_once() -> None:
    assert not too_many_new(25)
    assert too_many_new(26)


@pytest.mark.parametrize(
    ("removed", "open_tasks", "held"), [(5, 5, False), (6, 6, True), (6, 20, False), (7, 20, True), (30, 100, False)]
)
def test_five_tasks_or_thirty_percent_may_disappear_at_once(removed: int, open_tasks: int, held: bool) -> None:
    assert too_many_removed(removed, open_tasks) is held


@pytest.mark.parametrize(
    ("name", "good"),
    [("c0ffee1", True), ("C0FFEE1234567890", True), ("c0ffee", False), ("", False), ("c0ffee2", False)],
)
def test_a_confirmation_names_the_commit_by_at_least_seven_characters(name: str, good: bool) -> None:
    assert confirms([name], BATCH) is good


def test_a_batch_of_nobody_is_no_batch() -> None:
    assert without([BATCH], {Kind.REMOVED}, {"t-1"}) == (Batch(BATCH.commit, Kind.REMOVED, ("t-2",)),)
    assert without([BATCH], {Kind.REMOVED}, {"t-1", "t-2"}) == ()
    assert without([BATCH], {Kind.ADDED}, {"t-1", "t-2"}) == (BATCH,)


# --- in the core -----------------------------------------------------------------------------------------------------


def item(number: int) -> Spec:
    return Spec(
        f"t-{number}", f"Item {number}", blob=f"{number:040x}", origin=Origin.BACKLOG, where=f"BACKLOG.md:{number}"
    )


def world_with(count: int, **more: object) -> World:
    world = World()
    world.specs = {spec.id: spec for spec in map(item, range(count))}
    world.observe("aaaaaaaaaa", **more)
    return world


def held(world: World) -> list[str]:
    return [task.id for task in world.core.memory.open_tasks() if task.status.held]


def test_many_new_items_at_once_wait_until_their_commit_is_confirmed() -> None:
    world = world_with(26)
    assert len(held(world)) == 26
    assert [batch.kind for batch in world.core.memory.held] == [Kind.ADDED]
    assert world.core.why(world.task("t-3"), world.now).code == "held"

    world.observe("bbbbbbbbbb", confirms=("aaaaaaaa",))

    assert held(world) == []
    assert world.core.memory.held == ()


def test_what_is_confirmed_in_the_same_look_is_never_held() -> None:
    assert held(world_with(26, confirmed=True)) == []


def test_a_confirmation_of_something_else_releases_nothing() -> None:
    world = world_with(26)
    world.observe("bbbbbbbbbb", confirms=("cccccccccc", "aaa"))
    assert len(held(world)) == 26


def test_items_that_stood_there_before_init_wait_and_newer_ones_run() -> None:
    world = world_with(3, existing=frozenset({"t-0", "t-1"}))
    assert held(world) == ["t-0", "t-1"]
    assert [batch.kind for batch in world.core.memory.held] == [Kind.EXISTING]


def test_a_person_s_own_file_for_a_held_item_releases_it() -> None:
    world = world_with(26)
    world.want(replace(world.specs["t-5"], origin=Origin.FILE))
    assert "t-5" not in held(world)
    world.observe()
    assert "t-5" not in world.core.memory.held[0].ids


def test_tasks_that_would_disappear_together_stay_until_that_is_confirmed() -> None:
    world = world_with(20)
    world.specs = {name: spec for name, spec in world.specs.items() if name in ("t-0", "t-1")}
    world.observe("bbbbbbbbbb")
    assert world.state("t-9") is State.QUEUED
    assert [(batch.kind, len(batch.ids)) for batch in world.core.memory.held] == [(Kind.REMOVED, 18)]

    world.observe("bbbbbbbbbb")
    assert world.state("t-9") is State.QUEUED

    world.observe("cccccccccc", confirms=("bbbbbbbbbb",))
    assert world.state("t-9") is State.CANCELLED
    assert world.state("t-1") is State.QUEUED
    assert world.core.memory.held == ()


def test_what_is_put_back_is_held_no_more_and_has_lost_nothing() -> None:
    world = world_with(20)
    all_of_them, world.specs = world.specs, {}
    world.observe("bbbbbbbbbb")
    world.specs = all_of_them
    assert world.observe("cccccccccc") == []
    assert world.core.memory.held == ()


def test_a_few_more_that_go_later_go_at_once_while_the_many_wait() -> None:
    world = world_with(40, confirmed=True)
    world.specs = {name: spec for name, spec in world.specs.items() if int(name[2:]) < 20}
    world.observe("bbbbbbbbbb")
    del world.specs["t-3"]
    world.observe("cccccccccc")
    assert world.state("t-3") is State.CANCELLED
    assert world.state("t-30") is State.QUEUED


def test_a_paste_that_is_taken_back_goes_at_once_and_a_late_confirmation_starts_none_of_it() -> None:
    world = world_with(5)
    few = dict(world.specs)
    world.specs |= {spec.id: spec for spec in map(item, range(10, 40))}
    world.observe("bbbbbbbbbb")
    assert len(held(world)) == 30
    world.specs = few
    world.observe("cccccccccc", confirms=("bbbbbbbbbb",))
    assert world.core.memory.held == ()
    assert [world.state(f"t-{n}") for n in (10, 39, 0)] == [State.CANCELLED, State.CANCELLED, State.QUEUED]
    assert not any(record.what == "unheld" for record in world.records("t-10"))


def test_a_held_task_that_has_ended_and_runs_again_is_held_no_more() -> None:
    world = world_with(26)
    world.want(replace(world.specs["t-5"], cancel=True))
    world.want(replace(world.specs["t-5"], cancel=False, rerun=1))
    assert world.state("t-5") is State.QUEUED
    assert "t-5" not in held(world)
    assert "t-5" not in world.core.memory.held[0].ids
