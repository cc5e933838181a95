"""One of two agents dies for good in the middle: nothing is lost, nothing is done twice."""

import time

import pytest

from coordinator.demo.measure import measure
from coordinator.demo.run import ENDED, follow

pytestmark = pytest.mark.slow


def test_when_one_of_two_agents_is_killed_at_task_five_the_other_does_the_rest(make_stage) -> None:
    stage = make_stage(2, delay=0.5)
    committed = stage.write_backlog(10)
    begin = time.monotonic()
    killed: list[str] = []

    def look(tasks: list[dict]) -> bool:
        done = [task for task in tasks if task["status"] in ENDED]
        if not killed and len(done) >= 4:
            victim = next((t for t in tasks if t["status"] == "working" and t["assigned_to"] == "mind-1"), None)
            if victim is not None:
                stage.kill_sidecar("mind-1")
                killed.append(victim["id"])
        return len(done) == 10

    tasks = follow(stage, 10, look)

    stage.close()
    report = measure(stage, 10, tasks, committed, stage.head(), time.monotonic() - begin, killed)
    assert killed
    assert (report.done, report.lost, report.duplicates) == (10, 0, 0)
    assert report.fsck_clean
    assert report.source_untouched
    victim = next(task for task in tasks if task["id"] == killed[0])
    assert [attempt["end"] for attempt in victim["attempts"]][-1] == "done"
    assert report.retries <= 1
