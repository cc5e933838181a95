"""kill -9 of a real hub at every named step of a transition, once and twice in a row, and at random under load.

``make test`` takes the steps that leave something different behind and ten random kills; ``make crash`` takes all.
"""

import random
import subprocess
from collections.abc import Callable, Iterator

import pytest
from support.crashes import KILLS, CrashStage
from support.deadly import PACK, steps_of

pytestmark = pytest.mark.slow

#: The steps that are taken in ``make test``.
TELLING = {
    "pack": ("event decided", "keep written", "pack renamed", "reflog written", "ref renamed", "frame sent"),
    "plain": ("fast-import fed", "update-ref begun"),
}
#: The kinds of events whose every step is taken in ``make crash``.
KINDS = ("started", "observed", "accepted", "completed") if KILLS else ()
ENGINES = ("pack", "plain")


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


def each_step(*kinds: str) -> list[object]:
    """Return (engine, kind, step) for all steps of these kinds of events: those that tell something, or every one."""
    return [
        pytest.param(engine, kind, step, id=f"{engine}-{kind}-{step.replace(' ', '_')}")
        for engine in ENGINES
        for kind in kinds
        for step in (steps_of(engine, kind) if KILLS else TELLING[engine])
    ]


@pytest.mark.parametrize(("engine", "kind", "step"), each_step("completed"))
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


@pytest.mark.parametrize(("engine", "kind", "step"), each_step(*KINDS))
def test_a_hub_killed_once_at_a_step_loses_and_doubles_nothing(
    stages: Callable[[str], CrashStage], engine: str, kind: str, step: str
) -> None:
    stage = stages(engine)

    stage.die_at(step, kind)
    stage.nothing_acknowledged_is_lost()
    stage.recover()

    stage.every_task_was_done_once()
    stage.repository_is_sound()


def test_every_call_by_which_a_flush_changes_the_disk_is_a_named_step(stages: Callable[[str], CrashStage]) -> None:
    stage = stages("pack")

    assert set(stage.moments("completed")) == {"flush begun", "writers lock made", *PACK, "flush ended"}

    stage.every_task_was_done_once()


@pytest.mark.parametrize("engine", ENGINES if KILLS else ["pack"])
def test_a_hub_killed_at_random_under_load_loses_and_doubles_nothing(own_stage: CrashStage, engine: str) -> None:
    stage, seed = own_stage, random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  a seed to tell, no secret
    stage.set_up(2, engine)

    for kill in range(KILLS or 10):
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
