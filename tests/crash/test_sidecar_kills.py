"""kill -9 of a real sidecar at every named step of an attempt, a hostile wire, and a killer for two minutes.

``make test`` takes the steps that leave something different behind and a short quarrel with the wire (marked slow);
``make crash`` takes all (marked crash).
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crashes import wait_until
from support.deadlysidecar import RESTORED, STEPS
from support.proxy import Harm, Proxy
from support.sidecardeaths import DeathStage, killer

#: Received, persisted, accepted, waking, running, result written, sent, acked.
TELLING = (
    *("assignment received", "accepted persisted", "task_accepted sent", "results folder fsynced"),
    *("task_progress sent", "end received", "task_complete sent", "ack received"),
)
#: The judged run.
TASKS, SIDECARS, SECONDS = 50, 3, 120.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeathStage]:
    """One hub for all deaths of one sidecar: what one of them left behind, the next ones find."""
    stage = DeathStage(tmp_path_factory.mktemp("deaths") / "stage", delay=0.5)
    stage.put_up(1)
    yield stage
    stage.close()


@pytest.fixture
def stage(shared: DeathStage) -> DeathStage:
    shared.end_sidecars()
    shared.want()
    return shared


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DeathStage]:
    stage = DeathStage(tmp_path / "stage", delay=0.3)
    yield stage
    stage.close()


def marked(step: str) -> object:
    return pytest.param(step, marks=pytest.mark.slow if step in TELLING else pytest.mark.crash)


@pytest.mark.parametrize("step", [marked(step) for step in STEPS])
def test_a_sidecar_killed_at_a_step_does_its_task_once(stage: DeathStage, step: str) -> None:
    stage.sidecar_dies_at("mind-1", step)
    stage.start_sidecar("mind-1")

    stage.every_task_is_done_once()


@pytest.mark.crash
@pytest.mark.parametrize("step", STEPS)
def test_a_sidecar_killed_again_while_it_recovers_does_its_task_once(stage: DeathStage, step: str) -> None:
    stage.sidecar_dies_at("mind-1", step)
    stage.sidecar_dies_at("mind-1", RESTORED)
    stage.start_sidecar("mind-1")

    stage.every_task_is_done_once()


@pytest.mark.crash
@pytest.mark.parametrize("step", STEPS)
def test_a_sidecar_and_then_its_hub_killed_lose_nothing(stage: DeathStage, step: str) -> None:
    stage.sidecar_dies_at("mind-1", step)
    stage.kill_hub()
    stage.start_hub()
    stage.start_sidecar("mind-1")

    stage.every_task_is_done_once()


@pytest.mark.slow
def test_everything_that_an_attempt_makes_durable_says_or_starts_is_a_named_step(stage: DeathStage) -> None:
    log = stage.folder / "moments.log"
    log.unlink(missing_ok=True)
    stage.start_deadly("mind-1", "nothing", log)

    wait_until(lambda: log.exists() and STEPS[-1] in log.read_text().splitlines(), "a whole attempt")

    assert set(log.read_text().splitlines()) == set(STEPS)
    stage.every_task_is_done_once()


HOSTILE = Harm(dropped=0.15, doubled=0.2, delayed=0.4, cuts=0.03)


def quarrel(stage: DeathStage, tasks: int, restarts: int, seed: int) -> dict[str, int]:
    """Let two sidecars work over a hostile wire while the hub is killed now and then; return what the wire did."""
    stage.open()
    stage.start_hub()
    with Proxy(f"ws://127.0.0.1:{stage.port}/ws", HOSTILE, seed) as proxy:
        for agent in ("mind-1", "mind-2"):
            quickly = {"reconnect_max": "0.3s", "resend_every": "0.5s", "progress_every": "0.3s", "kill_grace": "0.5s"}
            stage.add_agent(agent, hub_url=proxy.url, **quickly)
        stage.agentcom("reconcile")
        for agent in stage.sidecars:
            stage.start_sidecar(agent)
        for _ in range(restarts + 1):
            done = len(stage.ends())
            stage.want(tasks // (restarts + 1))
            wait_until(lambda done=done: len(stage.ends()) > done, "some work")
            if restarts:
                stage.kill_hub()
                stage.start_hub()
        stage.every_task_is_ended_once(patience=240)
        return proxy.suffered


@pytest.mark.slow
def test_over_a_wire_that_drops_delays_doubles_and_reorders_every_task_ends_once(own: DeathStage) -> None:
    suffered = quarrel(own, tasks=4, restarts=1, seed=1)
    assert suffered["dropped"] > 0


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(10, 16))
def test_over_a_hostile_wire_and_under_a_hub_that_dies_every_task_ends_once(own: DeathStage, seed: int) -> None:
    suffered = quarrel(own, tasks=40, restarts=4, seed=seed)
    assert all(suffered.values()), suffered


@pytest.mark.crash
def test_with_a_killer_for_two_minutes_fifty_tasks_are_done_none_twice_and_none_is_lost(own: DeathStage) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    own.delay = 5.0
    own.put_up(SIDECARS)
    for agent in own.sidecars:
        own.start_sidecar(agent)
    own.wait_for_agents()
    for _ in range(2):
        own.want(TASKS // 2)

    killed = killer(own, SECONDS, random.Random(seed))  # noqa: S311  a seed to tell, no secret

    print(f"{killed.total()} kills, {len(killed) - ('' in killed)} tasks hit, {list(killed.values()).count(2)} twice")
    own.every_task_is_done_once(patience=240)
