"""Four agents, twenty tasks: the work is spread evenly."""

import time

import pytest

from coordinator.demo.measure import measure
from coordinator.demo.run import ENDED, follow

pytestmark = pytest.mark.slow


def test_four_agents_share_twenty_tasks_evenly_and_none_stays_idle(make_stage) -> None:
    stage = make_stage(4, delay=0.6)
    committed = stage.write_backlog(20)
    begin = time.monotonic()

    tasks = follow(stage, 20, lambda seen: len([t for t in seen if t["status"] in ENDED]) == 20)

    stage.close()
    report = measure(stage, 20, tasks, committed, stage.head(), time.monotonic() - begin, ())
    assert (report.done, report.lost, report.duplicates) == (20, 0, 0)
    assert len(report.per_agent) == 4
    assert all(3 <= number <= 7 for number in report.per_agent.values()), report.per_agent
