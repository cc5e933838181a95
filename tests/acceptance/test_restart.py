"""The hub dies in the middle and comes back: agents that kept working lose nothing."""

import time

import pytest

from coordinator.demo.measure import measure
from coordinator.demo.run import ENDED, follow

pytestmark = pytest.mark.slow


def test_a_killed_hub_costs_no_task_and_no_retry(make_stage) -> None:
    stage = make_stage(2, delay=0.5)
    committed = stage.write_backlog(10)
    begin = time.monotonic()
    killed: list[str] = []

    def look(tasks: list[dict]) -> bool:
        done = [task for task in tasks if task["status"] in ENDED]
        at_work = [task["id"] for task in tasks if task["status"] == "working"]
        if not killed and len(done) >= 3 and at_work:
            stage.kill_hub()
            killed.extend(at_work)
            stage.start_hub()
        return len(done) == 10

    tasks = follow(stage, 10, look)

    stage.close()
    report = measure(stage, 10, tasks, committed, stage.head(), time.monotonic() - begin, killed)
    assert killed
    assert (report.done, report.lost, report.duplicates, report.retries) == (10, 0, 0, 0)
    assert report.fsck_clean
    assert report.source_untouched
    assert all(task["generation"] == 1 for task in tasks), "nobody was assigned a second time"


def test_a_hub_killed_again_and_again_still_ends_every_task_once(make_stage) -> None:
    stage = make_stage(2, delay=0.3)
    committed = stage.write_backlog(8)
    begin = time.monotonic()
    kills: list[int] = []

    def look(tasks: list[dict]) -> bool:
        done = len([task for task in tasks if task["status"] in ENDED])
        if done < 8 and len(kills) < 3 and done >= 2 * len(kills) + 1:
            kills.append(stage.kill_hub())
            stage.start_hub()
        return done == 8

    tasks = follow(stage, 8, look)

    stage.close()
    report = measure(stage, 8, tasks, committed, stage.head(), time.monotonic() - begin, ())
    assert kills
    assert (report.done, report.lost, report.duplicates, report.retries) == (8, 0, 0, 0)
    assert report.fsck_clean
