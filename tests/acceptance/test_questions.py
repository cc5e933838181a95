"""An agent asks, a person answers, the work goes on: a real hub, real sidecars, programs that use agentcom-report."""

import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from support.crashes import wait_until

from coordinator.demo.run import ENDED
from coordinator.demo.stage import Stage

pytestmark = pytest.mark.slow

ASK = ['agentcom-report progress 40 "half the floor"', 'agentcom-report done "$(agentcom-report ask "which?" --wait)"']
#: Ends with a question; the next attempt finds the answer in its packet.
BLOCK = [
    'grep -q "the left one" "$AGENTCOM_TASK_FILE" || exec agentcom-report block "which?"',
    "agentcom-report done",
]


def runs(*commands: str) -> dict[str, Any]:
    return {"name": "shell", "argv": ["sh", "-ec", "\n".join(commands)]}


@pytest.fixture
def at_work(make_stage) -> Any:
    """Give one agent that runs these commands one task; return the stage."""

    def start(*commands: str) -> Stage:
        stage = make_stage(0)
        stage.add_agent("mind-1", runtime=runs(*commands), reconnect_max="0.3s", resend_every="1s")
        stage.start_sidecar("mind-1")
        stage.wait_for_agents()
        stage.write_backlog(1)
        return stage

    return start


def task_of(stage: Stage) -> dict[str, Any]:
    """Return the only task as the hub tells it, empty before there is one."""
    found = stage.tasks()
    return stage.client.get(f"/api/tasks/{found[0]['id']}") if found else {}


def wait_for(stage: Stage, status: str) -> dict[str, Any]:
    wait_until(lambda: task_of(stage).get("status") in {status, *ENDED}, status)
    task = task_of(stage)
    assert task["status"] == status
    return task


def test_an_agent_that_waits_goes_on_with_the_answer_in_the_same_attempt(at_work) -> None:
    stage = at_work(*ASK)
    task = wait_for(stage, "blocked")
    assert task["question"] == "which?"

    stage.agentcom("task", "answer", task["id"], "the left one")

    task = wait_for(stage, "done")
    assert (task["generation"], task["result"]["summary"]) == (1, "the left one")


def test_a_task_that_ended_with_a_question_goes_on_in_another_attempt_and_spends_no_retry(at_work) -> None:
    stage = at_work(*BLOCK)
    task = wait_for(stage, "blocked")
    wait_until(lambda: [agent["status"] for agent in stage.agents()] == ["online"], "an agent with its hands free")

    stage.agentcom("task", "answer", task["id"], "the left one")

    task = wait_for(stage, "done")
    assert (task["generation"], task["retry_count"]) == (2, 0)


@pytest.mark.parametrize("commands", [ASK, BLOCK])
def test_a_question_outlives_the_sidecar_and_the_hub(at_work, commands) -> None:
    stage = at_work(*commands)
    wait_for(stage, "blocked")
    stage.kill_sidecar("mind-1")
    stage.kill_hub()
    stage.start_hub()
    stage.start_sidecar("mind-1")
    stage.wait_for_agents()
    task = wait_for(stage, "blocked")

    stage.agentcom("task", "answer", task["id"], "the left one")

    if commands is ASK:  # the attempt that waited is dead; the next one asks anew, and gets the same answer
        wait_until(lambda: task_of(stage)["generation"] == 2 and task_of(stage)["status"] == "blocked", "it asks again")
        stage.agentcom("task", "answer", task["id"], "the right one")
    assert wait_for(stage, "done")["retry_count"] == 0


async def test_an_agent_without_a_token_writes_to_itself_and_reads_it(at_work) -> None:
    stage = at_work("sleep 600")
    task = wait_for(stage, "working")
    folder = Path(stage.sidecars["mind-1"].folder, "results", f"{task['id']}.1")
    environment = {"AGENTCOM_TASK_FILE": str(folder / "task.md")}
    argv = ["-m", "sidecar", "mcp"]
    async with Client(StdioServerParameters(command=sys.executable, args=argv, env=environment)) as client:
        sent = await client.call_tool("send_message", {"to": "mind-1", "text": "a note to myself"})
        assert not sent.is_error, sent
        listed = await client.call_tool("mailbox_list", {})
    assert "a note to myself" in listed.content[0].text
