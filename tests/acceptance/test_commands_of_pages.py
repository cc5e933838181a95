"""The commands that the pages offer, run as they stand there: each ends the waiting beside which it is shown."""

import re
import shlex
from html import unescape
from pathlib import Path

import pytest
from support.browsing import base_of, staged
from support.fetching import fetch
from support.waiting import until

from coordinator.demo.stage import Stage

pytestmark = pytest.mark.slow

START = "agentcom-sidecar run --config FILE"


def offered(stage: Stage, task: str) -> list[str]:
    """Return the commands beside the reason why a task waits."""
    _, _, text = fetch(f"{base_of(stage)}/dashboard/task/{task}")
    found = re.search(r'<section class="health.*?</section>', text, re.DOTALL)
    return [] if found is None else [unescape(one) for one in re.findall(r'data-copy="([^"]*)"', found[0])]


def run(stage: Stage, command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "agentcom"
    stage.agentcom(*words)


def test_each_command_that_is_offered_ends_the_waiting(tmp_path: Path) -> None:
    with staged(tmp_path / "stage") as stage:
        stage.sidecars["loash"].settings["runtime"]["script"] = ["not-logged-in", "ok", "fail", "ok"]
        files = {
            "held": "title: Held\nhold: true\nassignee: gcu\n",
            "parked": "title: For an agent that is not logged in\nassignee: loash\nreview: required\n",
            "after": "title: After the review\ndepends_on: [parked]\nassignee: loash\nmax_retries: 0\n",
            "last": "title: After a failure\ndepends_on: [after]\nassignee: gcu\n",
        }
        for name, text in files.items():
            (stage.repo / "tasks" / f"{name}.yaml").write_text(text)
        stage.commit("Want something", "tasks")
        stage.start_sidecar("loash")

        def waits_with(task: str, *commands: str) -> None:
            until(lambda: offered(stage, task) == list(commands), say=lambda: offered(stage, task))

        waits_with("held", "agentcom task release held")
        run(stage, "agentcom task release held")
        waits_with("held", START, "agentcom task edit held")

        waits_with("parked", "agentcom agent resume loash", "agentcom task edit parked")
        run(stage, "agentcom agent resume loash")
        waits_with("after", "agentcom task approve parked", 'agentcom task reject parked --note "WHAT TO CHANGE"')
        run(stage, "agentcom task approve parked")
        waits_with("last", "agentcom task rerun after")
        run(stage, "agentcom task rerun after")
        waits_with("last", START, "agentcom task edit last")

        lines = "".join(f"- [ ] One of many, number {number} @gcu\n" for number in range(300))
        (stage.repo / "BACKLOG.md").write_text(f"# Backlog\n\n## Ready\n\n{lines}")
        stage.commit("Want very much", "BACKLOG.md")
        until(lambda: len(stage.tasks()) > 300, say=lambda: len(stage.tasks()))
        one = next(task["id"] for task in stage.tasks() if task["title"].startswith("One of many"))
        waits_with(one, "agentcom confirm --show", "agentcom confirm")
        run(stage, "agentcom confirm")
        waits_with(one, START, f"agentcom task edit {one}")
