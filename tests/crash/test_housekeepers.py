"""A real hub under load beside somebody who keeps house in its repository all the time."""

import time

import pytest
from support.crashes import BESIDE_S, ENGINES, CrashStage, beside, wait_until


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hub_loses_nothing_beside_loops_of_repack_gc_and_pack_refs(own_stage: CrashStage, engine: str) -> None:
    stage = own_stage
    stage.set_up(2, engine)
    end = time.monotonic() + BESIDE_S

    commands = [["repack", "-adq"], ["gc", "--quiet"], ["pack-refs", "--all", "--prune"]]
    with beside(stage.repo, *commands) as went:
        while time.monotonic() < end or any(went[command[0]] < 4 for command in commands):
            stage.want(12)
            wait_until(lambda: stage.wanted - len(stage.ends()) < 6, "the end of most tasks")

    assert stage.hub is not None
    assert stage.hub.poll() is None
    stage.every_task_was_done_once()
    stage.repository_is_sound()
