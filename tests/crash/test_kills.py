"""kill -9 of a real hub at every named step of a transition, once and twice in a row, and at random under load.

``make test`` takes the steps that leave something different behind and six random kills (marked slow); ``make crash``
takes all (marked crash).
"""

import random
import subprocess
from collections.abc import Callable, Iterator

import pytest
from support.crashes import ENGINES, KILLS, CrashStage
from support.deadly import DECIDE, NOTE, PACK, PLAIN, UPDATE_REF, steps_of

#: The steps that are taken in ``make test``.
TELLING = {
    "pack": ("keep written", "pack renamed", "ref renamed", "frame sent"),
    "plain": ("fast-import fed", "update-ref begun"),
}
#: The steps of the first flush of all, whose ref is left to git.
BIRTH = {
    "pack": (*DECIDE, *(step for step in PACK if step.startswith(("keep", "pack", "index"))), *UPDATE_REF, *NOTE),
    "plain": (*DECIDE, *PLAIN, *NOTE),
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], CrashStage]]:
    """One stage for each engine, shared by all deaths: what one of them left behind, the next ones find."""
    made: dict[str, CrashStage] = {}

    def stage_of(engine: str) -> CrashStage:
        if engine not in made:
            made[engine] = CrashStage(tmp_path_factory.mktemp(engine) / "stage", delay=0.0)
            made[engine].set_up(engine=engine)
        made[engine].end_hub()
        made[engine].want()
        return made[engine]

    yield stage_of
    for stage in made.values():
        stage.close()


def each_step(*kinds: str) -> list[tuple[str, str, str]]:
    """Return (engine, kind, step) for every step of these kinds of events."""
    return [(engine, kind, step) for engine in ("pack", "plain") for kind in kinds for step in steps_of(engine, kind)]


def marked(engine: str, kind: str, step: str) -> object:
    """Return a step with the mark that says when it is taken."""
    telling = step in TELLING[engine]
    return pytest.param(engine, kind, step, marks=pytest.mark.slow if telling else pytest.mark.crash)


@pytest.mark.parametrize(("engine", "kind", "step"), [marked(*step) for step in each_step("completed")])
def test_a_hub_killed_at_a_step_and_again_while_it_recovers_loses_and_doubles_nothing(
    stages: Callable[[str], CrashStage], engine: str, kind: str, step: str
) -> None:
    stage = stages(engine)

    stage.die_at(step, kind)
    stage.nothing_acknowledged_is_lost()
    again = step if step in steps_of(stage.engine, "started") else "flush ended"
    stage.die_at(again, "started")
    stage.nothing_acknowledged_is_lost()
    stage.recover()

    stage.every_task_was_done_once()
    stage.repository_is_sound()


@pytest.mark.crash
@pytest.mark.parametrize(("engine", "kind", "step"), each_step("started", "observed", "accepted", "completed"))
def test_a_hub_killed_once_at_a_step_loses_and_doubles_nothing(
    stages: Callable[[str], CrashStage], engine: str, kind: str, step: str
) -> None:
    stage = stages(engine)

    stage.die_at(step, kind)
    stage.nothing_acknowledged_is_lost()
    stage.recover()

    stage.every_task_was_done_once()
    stage.repository_is_sound()


@pytest.mark.crash
@pytest.mark.parametrize("engine", ["pack", "plain"])
def test_a_hub_killed_while_it_makes_the_branch_makes_it_once(own_stage: CrashStage, engine: str) -> None:
    stage = own_stage
    stage.prepare(1, engine)
    stage.want()

    for step in BIRTH[engine]:
        for ref in stage.clone.git(
            "for-each-ref", "--format=%(refname)", "refs/heads/agentcom", "refs/agentcom"
        ).split():
            stage.clone.git("update-ref", "-d", ref)
        stage.die_at(step, "started")
        stage.recover()
        stage.end_hub()
        assert stage.clone.git("rev-list", "--max-parents=0", "agentcom/state") == stage.clone.git(
            "rev-list", "--max-parents=0", "main"
        )
        stage.repository_is_sound()

    stage.go()
    stage.every_task_was_done_once()


@pytest.mark.slow
def test_every_call_by_which_a_flush_changes_the_disk_is_a_named_step(stages: Callable[[str], CrashStage]) -> None:
    stage = stages("pack")

    assert set(stage.moments("completed")) == {"flush begun", "writers lock made", *PACK, *NOTE}

    stage.every_task_was_done_once()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hub_killed_at_random_under_load_loses_and_doubles_nothing(own_stage: CrashStage, engine: str) -> None:
    stage, seed = own_stage, random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  a seed to tell, no secret
    stage.set_up(2, engine)

    for kill in range(KILLS):
        if stage.wanted - len(stage.ends()) < 10:
            stage.want(12)
        if kill % 10 == 5:
            stage.recover()
        elif kill:
            stage.begin_hub()
        assert stage.hub is not None
        with pytest.raises(subprocess.TimeoutExpired):  # it does not end by itself, wherever in its life it is
            stage.hub.wait(chance.uniform(0, 1.5))
        stage.kill_hub()
        stage.nothing_acknowledged_is_lost()

    stage.recover()
    stage.every_task_was_done_once()
    stage.repository_is_sound()
