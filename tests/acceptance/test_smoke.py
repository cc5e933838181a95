"""Two agents, ten tasks: the main job."""

import time

import pytest

from coordinator.demo.measure import measure
from coordinator.demo.run import ENDED, follow

pytestmark = pytest.mark.slow


def test_two_agents_do_ten_tasks_each_assigned_at_once_at_little_overhead(make_stage) -> None:
    stage = make_stage(2)
    committed = stage.write_backlog(10)
    begin = time.monotonic()

    tasks = follow(stage, 10, lambda seen: len([t for t in seen if t["status"] in ENDED]) == 10)

    stage.close()
    report = measure(stage, 10, tasks, committed, stage.head(), time.monotonic() - begin, ())
    assert (report.done, report.lost, report.duplicates) == (10, 0, 0)
    assert report.assignment_latency_ms["max"] < 5000
    assert 0 < report.overhead_tokens < 500
    assert report.retries == 0
    assert report.fsck_clean
    assert report.source_untouched
    assert sum(report.per_agent.values()) == 10
