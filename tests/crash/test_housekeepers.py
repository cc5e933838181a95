"""A real hub under load beside somebody who keeps house in its repository all the time."""

import time

import pytest
from support.crashes import KILLS, CrashStage, beside, wait_until

pytestmark = pytest.mark.slow

#: How long they keep house, in seconds.
HOUSEKEEPING_S = 30.0 if KILLS else 5.0


@pytest.mark.parametrize("engine", ["pack", "plain"] if KILLS else ["pack"])
def test_a_hub_loses_nothing_beside_loops_of_repack_gc_and_pack_refs(own_stage: CrashStage, engine: str) -> None:
    stage = own_stage
    stage.set_up(2, engine)
    end = time.monotonic() + HOUSEKEEPING_S

    commands = [["repack", "-adq"], ["gc", "--quiet"], ["pack-refs", "--all", "--prune"]]
    with beside(stage.repo, *commands) as went:
        while time.monotonic() < end:
            stage.want(12)
            wait_until(lambda: stage.wanted - len(stage.ends()) < 6, "the end of most tasks")

    assert min(went.values()) > 3
    assert stage.hub is not None
    assert stage.hub.poll() is None
    stage.every_task_was_done_once()
    stage.repository_is_sound()
