"""A task whose file or line was right once and is wrong now: people are told so where they ask about the task."""

import json
import time

import pytest

from coordinator.demo.stage import LOOK_EVERY, START_WITHIN, Stage, StageError

pytestmark = pytest.mark.slow


def problems(stage: Stage, count: int) -> list[dict]:
    """Wait until the hub reports so many problems."""
    end = time.monotonic() + START_WITHIN
    while time.monotonic() < end:
        found = stage.client.get("/api/problems")["problems"]
        if len(found) == count:
            return found
        time.sleep(LOOK_EVERY)
    raise AssertionError(f"there are no {count} problems: {found}")


def test_task_why_names_the_mistake_with_and_without_a_hub(make_stage) -> None:
    stage = make_stage(0)
    (stage.repo / "tasks/t-1.yaml").write_text("title: From a file\n", encoding="utf-8")
    (stage.repo / "BACKLOG.md").write_text("## Ready\n\n- From a line\n", encoding="utf-8")
    stage.commit("Want two things", "tasks/t-1.yaml", "BACKLOG.md")
    end = time.monotonic() + START_WITHIN
    while len(tasks := stage.tasks()) < 2 and time.monotonic() < end:
        time.sleep(LOOK_EVERY)
    (line,) = (task["id"] for task in tasks if task["origin"] == "backlog")

    (stage.repo / "tasks/t-1.yaml").write_text("title: From a file\npriorty: high\n", encoding="utf-8")
    (stage.repo / "tasks/t-2.yaml").write_text("title:\n", encoding="utf-8")
    (stage.repo / "BACKLOG.md").write_text("## Ready\n\n- From a line due:never\n", encoding="utf-8")
    stage.commit("Slip three times", "tasks", "BACKLOG.md")
    assert {one["task_id"] for one in problems(stage, 3)} == {"t-1", "t-2", line}

    for live in (True, False):
        if not live:
            stage.kill_hub()
        said = stage.agentcom("task", "why", "t-1").splitlines()
        assert said[0].startswith("no_agent")
        assert said[1:] == [
            "tasks/t-1.yaml:2:1: priorty: unknown key, did you mean priority?",
            "until that is mended, its last good version is in force",
        ]
        assert stage.agentcom("task", "why", line).splitlines()[1].startswith("BACKLOG.md:3:15: due: expected a time")
        why = json.loads(stage.agentcom("task", "why", "t-1", "--json"))
        assert [one["field"] for one in why["problems"]] == ["priorty"]
        with pytest.raises(StageError, match=r"no task t-2 yet, because something is wrong: tasks/t-2\.yaml:1:7"):
            stage.agentcom("task", "why", "t-2")
